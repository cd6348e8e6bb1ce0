package transaction

import (
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// respondINVITE is what the user may do in each state of RFC 6026, 8.6.
func (m *server) respondINVITE(tx *Server, res *wire.Response) {
	code := res.StatusCode
	switch {
	case m.state == proceeding && code < 200:
		m.progress(res)
	case m.state == proceeding && code < 300:
		m.accept(tx, res)
	case m.state == proceeding:
		m.complete(tx, res)
	case m.state == accepted && code >= 200 && code < 300:
		// Another 2xx of a fork, or the same again: the UAS is its only retransmitter (RFC 6026, 7.1).
		if b := m.layer.encode(res); res.To.Tag != m.tag || m.affords(len(b)) {
			m.send(b)
		}
	default:
		m.forbid(code)
	}
}

// sendTrying is the layer's own 100: the user has not answered at once, and nobody knows whether it will within 200 ms (RFC 3261, 17.2.1).
func (m *server) sendTrying() {
	if m.last == nil {
		wire.LendResponse(m.handle.Request, 100, "", "", m.provisional)
	}
}

// progress sends a provisional response. To a stranger it must leave room for a final one, which is about as large as what was sent before.
func (m *server) progress(res *wire.Response) {
	if m.last != nil && !m.affords(sizeOf(res)+len(m.last)) {
		m.forbid(res.StatusCode)
		return
	}
	m.provisional(res)
}

// accept enters Accepted for Timer L: retransmissions of the INVITE are absorbed without an answer (RFC 6026, 7.1).
func (m *server) accept(tx *Server, res *wire.Response) {
	m.final(tx, res)
	m.state, m.last = accepted, nil
	m.deadline = m.layer.wheel.leisurely(timerL)
	m.timer.start(m.deadline)
	m.report(tx, res.StatusCode)
}

// complete enters Completed, with Timer H and, on unreliable transports, G (RFC 3261, 17.2.1).
func (m *server) complete(tx *Server, res *wire.Response) {
	unquenched := m.last == nil // without a provisional response the client goes on sending its INVITE
	m.final(tx, res)
	if m.stateless {
		m.forget(tx, res)
		return
	}
	m.state = completed
	m.deadline = m.layer.wheel.in(timerH)
	if m.reliable || unquenched && !m.trusted {
		// To a stranger we are a stateless UAS: it hears the answer again each time it sends its INVITE again, and nothing besides (RFC 3261, 8.2.7 and 26.3.2.4). Whoever
		// forges a source must not make us send eleven answers to it.
		m.timer.start(m.deadline)
	} else {
		m.interval = ticks(T1)
		m.timer.start(m.layer.wheel.in(T1))
	}
	m.report(tx, res.StatusCode)
}

// expireINVITE is Timer G before the deadline, else H, I or L.
func (m *server) expireINVITE() {
	switch {
	case m.state == completed && m.timer.due < m.deadline:
		if m.affords(len(m.last)) {
			m.send(m.last)
		}
		m.interval = backOff(m.interval)
		m.timer.start(min(m.timer.due+m.interval, m.deadline))
	case m.state == completed:
		m.inform(errNotAcknowledged)
		m.terminate()
	default:
		m.terminate()
	}
}

// acknowledged is an ACK with the flow it came on.
type acknowledged struct {
	*wire.Request
	flow transport.Flow
}

// acknowledge is an ACK with the INVITE's branch.
func (m *server) acknowledge(ack *acknowledged) {
	switch m.state {
	case completed:
		if !compliant(ack.Via.Branch) && ack.To.Tag != m.tag {
			m.layer.passACK(ack.flow, ack.Request) // RFC 3261, 17.2.3: an old client's ACK, but to another response
			return
		}
		m.confirm()
	case accepted:
		m.layer.passACK(ack.flow, ack.Request) // RFC 6026, 7.1: not absorbed
	}
}

// confirm enters Confirmed, where Timer I absorbs more ACKs on unreliable transports (RFC 3261, 17.2.1).
func (m *server) confirm() {
	m.state, m.last = confirmed, nil
	if m.reliable {
		m.terminate()
		return
	}
	m.timer.start(m.layer.wheel.leisurely(timerI))
}

// passACK gives the user an ACK to a 2xx. It makes no transaction: none answers it and nothing is kept (RFC 3261, 17).
func (l *Layer) passACK(f transport.Flow, ack *wire.Request) {
	m := &server{layer: l, flow: f, state: passingOnly}
	m.handle = &Server{Request: ack, Flow: f, machine: m}
	m.own = Owner{layer: l, server: m}
	m.owner = &m.own
	m.slot.method = "ACK"
	m.owner.post(event{to: m})
}

func (m *server) serveACK() {
	if err := m.layer.config.Handler.ServeSIP(m.handle); err != nil {
		m.debug("transaction: ACK refused", "err", err)
	}
}
