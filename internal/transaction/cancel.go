package transaction

import (
	"strconv"
	"strings"

	"signalbox/internal/wire"
)

// cancels makes a CANCEL's transaction part of what it cancels: same owner, so that it comes after the INVITE and never beside it. nil means there is nothing to cancel.
func (m *server) cancels(target *server) {
	if m.target = target; target != nil {
		m.owner = target.owner
		m.timer.owner = target.owner
	}
}

// serveCANCEL answers a CANCEL and tells the INVITE (RFC 3261, 9.2).
func (m *server) serveCANCEL() {
	tx, target := m.handle, m.target
	if target == nil || target.state == terminated {
		tx.Reply(481, "")
		return
	}
	// The To tag is that of the responses to the request to be cancelled.
	tag := target.tag
	if tag == "" && target.handle != nil {
		tag = target.ourTag(target.handle.Request)
	}
	if tag == "" {
		tag = m.ourTag(tx.Request)
	}
	tx.Respond(wire.NewResponse(tx.Request, 200, "", tag))
	if invite := target.handle; target.invite && invite != nil {
		invite.cancelled(tx.Request)
	}
}

// OnCancel sets what a matching CANCEL does (RFC 3261, 9.2 and 16.10); the layer has answered the CANCEL with 200 by then. A CANCEL that came before is told after the running event.
// fn is not called after a final response, and once at most.
func (tx *Server) OnCancel(fn func(cancel *wire.Request)) {
	if tx.Responded() {
		return
	}
	tx.onCancel = fn
	if tx.cancel != nil && fn != nil {
		tx.machine.owner.Do(func() {
			if !tx.Responded() {
				tx.cancelled(tx.cancel)
			}
		})
	}
}

// cancelled tells the user, or keeps the CANCEL until there is someone to tell.
func (tx *Server) cancelled(cancel *wire.Request) {
	fn := tx.onCancel
	if fn == nil {
		tx.cancel = cancel
		return
	}
	tx.onCancel, tx.cancel = nil, nil
	fn(cancel)
}

// Cancel sends a CANCEL for this INVITE (RFC 3261, 9.1): at once if a provisional response came, else when one comes; never after a final one, never twice, never for another method.
// reason is the value of its Reason header (RFC 3326), "" for none. If no final response follows within 64*T1 the user gets ErrTimeout.
func (c *Client) Cancel(reason string) {
	m := c.machine
	if !m.invite || m.cancelling || m.state != calling && m.state != proceeding {
		return
	}
	m.cancelling, m.reason = true, reason
	if m.state == proceeding {
		m.sendCANCEL()
	}
}

// sendCANCEL starts the CANCEL's own transaction, to where the INVITE went (RFC 3261, 9.1). Its response says nothing, so it has no user.
func (m *client) sendCANCEL() {
	l, req := m.layer, m.handle.Request
	b := l.exact(func(dst []byte) []byte { return appendHopByHop(dst, req, "CANCEL", req.To.Raw, m.reason) })
	l.startClient(m.owner, "CANCEL", m.slot.id, b, m.flow)
	m.deadline = l.wheel.in(cancelled)
	m.timer.start(m.deadline)
}

// appendHopByHop writes the ACK to a 3xx-6xx (RFC 3261, 17.1.1.3) or the CANCEL (RFC 3261, 9.1) of an INVITE: its Request-URI, top Via, From, Call-ID, CSeq number and
// Route, and nothing else of it: no Require, no body.
func appendHopByHop(b []byte, invite *wire.Request, method, to, reason string) []byte {
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, invite.URI.Raw...)
	b = append(b, " SIP/2.0\r\nVia: "...)
	b = append(b, invite.Via.Raw...)
	b = append(b, "\r\nMax-Forwards: 70\r\n"...)
	for _, h := range invite.Headers() {
		if strings.EqualFold(h.Name(), "Route") {
			b = appendHeader(b, "Route", h.Value())
		}
	}
	b = appendHeader(b, "From", invite.From.Raw)
	b = appendHeader(b, "To", to)
	b = appendHeader(b, "Call-ID", invite.CallID)
	b = append(b, "CSeq: "...)
	b = strconv.AppendUint(b, uint64(invite.CSeq.Seq), 10)
	b = append(b, ' ')
	b = append(b, method...)
	b = append(b, "\r\n"...)
	if reason != "" {
		b = appendHeader(b, "Reason", reason) // RFC 3326, 2
	}
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}
