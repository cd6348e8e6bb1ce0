package transaction

import "signalbox/internal/wire"

// Whoever sends an INVITE over UDP under a forged address makes us the amplifier of its attack, if we answer it with a provisional response, a final one and ten copies of that.
// So a sender that has not been authenticated hears at most returnShare bytes for each that came in its name: the first answers always, copies as long as they fit. What it sends
// again, it may hear again. RFC 3261, 26.3.2.4

// capped tells whether what is sent is counted: responses to an INVITE over UDP of somebody who has proved nothing.
func (m *server) capped() bool { return m.invite && !m.reliable && !m.trusted }

// grant counts what has come.
func (m *server) grant(req *wire.Request) {
	if m.capped() {
		m.allowance = min(m.allowance, maxAllowance) + returnShare*int32(sizeOf(req))
	}
}

// affords tells whether a copy of n bytes may be sent.
func (m *server) affords(n int) bool { return !m.capped() || int(m.allowance) >= n }

// sizeOf is about what a message takes on the wire, a request rather less.
func sizeOf(msg wire.Message) int {
	n := len("INVITE  SIP/2.0\r\n\r\n") + len(msg.Body())
	for _, h := range msg.Headers() {
		n += len(h.Name()) + len(h.Value()) + len(": \r\n")
	}
	return n
}
