package proxy

import (
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// recordRoute keeps us on the path of the dialog that the request may start. Two values where the two sides differ in transport, address or
// scheme, so that each side finds us as it did before (RFC 5658, 5); no response needs rewriting then. RFC 3261, 16.6 step 4
func (b *branch) recordRoute(req *wire.Request, flow transport.Flow) {
	c := b.c
	if !makesDialog(c.req.CSeq.Method) {
		return
	}
	var room [maxTokenText]byte
	text := b.appendToken(room[:0], flow)
	in := side{c.tx.Flow.ID().Proto, c.tx.Flow, c.req.URI.Scheme == "sips"}
	out := side{flow.ID().Proto, flow, req.URI.Scheme == "sips" || topRouteIsSIPS(req)}
	if b.large {
		out.proto = wire.UDP // the size of this one request says nothing about the next. RFC 5658, 6.2
	}
	if !in.same(out) {
		wire.Push(req, "Record-Route", in.recordRoute(text))
	}
	wire.Push(req, "Record-Route", out.recordRoute(text))
}

// makesDialog: INVITE, SUBSCRIBE and REFER start dialogs; a NOTIFY may, when it comes before the response (RFC 6665, 4.3); and what we do not
// know might. RFC 3261, 16.6 step 4
func makesDialog(method string) bool {
	switch method {
	case "MESSAGE", "OPTIONS", "INFO", "BYE", "PRACK", "UPDATE", "PUBLISH", "REGISTER", "ACK":
		return false
	}
	return true
}

// appendToken signs what later requests of the dialog need. Within a dialog it is the token that its members have already.
func (b *branch) appendToken(dst []byte, flow transport.Flow) []byte {
	c := b.c
	if c.dialog.valid {
		return append(dst, c.dialog.text...)
	}
	t := token{
		caller: leg{foreign: c.stranger, flow: c.tx.Flow.ID(), routed: c.vias > 1, member: c.caller()},
		callee: leg{foreign: b.t.foreign, flow: flow.ID(), routed: b.t.routed, member: c.callee(b.t)},
	}
	if b.large {
		t.callee.flow = b.t.flow // not the connection made for this one request
	}
	return c.p.signer.sign(dst, t, c.req.CallID, c.req.From.Tag)
}

func topRouteIsSIPS(req *wire.Request) bool {
	a, err := wire.ParseAddress(wire.First(req, "Route"))
	return err == nil && a.URI.Scheme == "sips"
}

// side is how one side of a dialog reaches us.
type side struct {
	proto wire.Proto
	flow  transport.Flow
	sips  bool
}

func (s side) same(o side) bool {
	return s.proto == o.proto && s.sips == o.sips && s.flow.SentBy() == o.flow.SentBy()
}

// recordRoute is the value for that side. A transport parameter stands where the plain URI would mean UDP.
//
// RFC 5658, 6.2: not done, transport=tls is written where the call is not a sips one: a sips value would promise more than we keep (RFC 3261, 16.6
// step 4 forbids it), and a plain one would lead phones off their TLS connection.
func (s side) recordRoute(token []byte) string {
	var room [maxTokenText + 100]byte
	b := append(room[:0], '<')
	if s.sips {
		b = append(b, "sips:"...)
	} else {
		b = append(b, "sip:"...)
	}
	b = append(b, token...)
	b = append(b, '@')
	b = s.flow.SentBy().AppendTo(b)
	switch {
	case s.proto == wire.TCP:
		b = append(b, ";transport=tcp"...)
	case s.proto == wire.TLS && !s.sips:
		b = append(b, ";transport=tls"...)
	case s.proto == wire.WS, s.proto == wire.WSS:
		b = append(b, ";transport=ws"...) // RFC 7118, 5.2
	}
	return string(append(b, ";lr>"...))
}
