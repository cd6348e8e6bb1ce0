package proxy

import (
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// edge is a world in which we stand in front of example.com, whose registrar is at 192.0.2.50.
func edge(c *Config) { c.Edge = wire.NewDomains([]string{"example.com"}, nil) }

func (w *world) registrar() *phone {
	r := w.phone("registrar", "192.0.2.50:5060", wire.UDP)
	w.names["example.com"] = []wire.Hop{{Proto: wire.UDP, Addr: r.addr}}
	return r
}

const (
	dave      = "From: <sip:dave@example.com>;tag=dave"
	daveFlow  = "Contact: <sip:dave@10.0.0.4>;+sip.instance=\"<urn:uuid:4>\";reg-id=1"
	plainDave = "Contact: <sip:dave@10.0.0.4>"
)

// registers sends a REGISTER through us and returns the Path that the registrar sees.
func registers(w *world, p, registrar *phone, lines ...string) string {
	w.t.Helper()
	p.sends("REGISTER", "sip:example.com", append([]string{dave, "To: <sip:dave@example.com>"}, lines...)...)
	req := registrar.hearsRequest("REGISTER")
	registrar.answers(req, 200)
	p.hears("200")
	return wire.Get(req, "Path")
}

// RFC 5626, 5.1 and RFC 3327, 5.2: which REGISTER gets a Path, and with what.
func TestEdgeRegister(t *testing.T) {
	play(t, func(w *world) {
		registrar := w.registrar()
		p := w.phone("dave", "203.0.113.4:40004", wire.TCP)
		const supported = "Supported: path, outbound"
		path := registers(w, p, registrar, daveFlow, supported)
		if !strings.HasPrefix(path, "<sip:A") || !strings.HasSuffix(path, "@192.0.2.100:5060;lr;ob>") {
			t.Errorf("outbound: Path %q", path)
		}
		if path := registers(w, p, registrar, plainDave, "Supported: path"); !strings.HasPrefix(path, "<sip:A") || strings.Contains(path, "ob") {
			t.Errorf("a phone that knows Path: %q", path)
		}
		if path := registers(w, p, registrar, plainDave); path != "" {
			t.Errorf("a phone that does not: %q", path)
		}
		p.sends("REGISTER", "sip:example.com", dave, daveFlow, "Supported: outbound")
		if got := wire.Get(p.hearsResponse("421"), "Require"); got != "path" {
			t.Errorf("Require: %q", got)
		}
		// RFC 5626, 5.1: who is not the first hop does not claim to keep the flow.
		if path := registers(w, p, registrar, daveFlow, supported, "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKfirst"); path != "" {
			t.Errorf("not the first hop: %q", path)
		}
	}, edge)
}

// RFC 5626, 5.3 and 5.3.1: what comes back finds the phone by its flow token; the dialog stays on it; a lost flow is 430, a token of somebody else 403.
func TestEdgeForwards(t *testing.T) {
	for _, proto := range []wire.Proto{wire.UDP, wire.TCP} {
		play(t, func(w *world) {
			registrar := w.registrar()
			p := w.phone("dave", "203.0.113.4:40004", proto)
			path := registers(w, p, registrar, daveFlow, "Supported: path, outbound")
			const uri = "sip:dave@10.0.0.4"
			req := registrar.invites(uri, "Route: "+path)
			invite := p.hearsRequest("INVITE sip:dave@10.0.0.4 ")
			if wire.Has(invite, "Route") {
				t.Errorf("Route %s", wire.Get(invite, "Route"))
			}
			res := p.answers(invite, 200)
			caller, called := registrar.dialogOf(req, registrar.hearsResponse("200")), p.dialogAsked(invite, res)
			caller.sends("ACK")
			p.hears("ACK")
			called.sends("BYE")
			registrar.answers(registrar.hearsRequest("BYE"), 200)
			p.hears("200")
			// The phone calls: nobody but its domain asks who it is.
			p.invites("sip:erin@example.com", dave)
			out := registrar.hearsRequest("INVITE sip:erin@example.com ")
			registrar.answers(out, 486)
			p.hears("486")
			registrar.hears("ACK")

			forged := strings.Replace(path, "@", "A@", 1)
			registrar.sends("MESSAGE", uri, "Route: "+forged)
			registrar.hears("403")
			if proto == wire.TCP {
				p.flow.close()
				registrar.sends("MESSAGE", uri, "Route: "+path)
				registrar.hears("430")
			}
		}, edge)
	}
}

// An edge proxy is no open relay: it serves the people of its domains, towards their domain. hardening 40
func TestEdgeIsNoRelay(t *testing.T) {
	play(t, func(w *world) {
		w.registrar()
		p := w.phone("dave", "203.0.113.4:40004", wire.UDP)
		for _, tt := range [][]string{
			{"sip:victim@example.net", dave},
			{"sip:erin@example.com", "From: <sip:dave@example.net>;tag=dave"},
			{"sip:erin@example.com", dave, "Route: <sip:victim.example.net;lr>"},
			{"sip:erin@example.com;maddr=192.0.2.66", dave},
			{"sip:bob@example.org", dave},
		} {
			p.sends("MESSAGE", tt[0], tt[1:]...)
			p.hears("407")
		}
		p.sends("REGISTER", "sip:example.com", "From: <sip:dave@example.net>;tag=dave")
		p.hears("407")
	}, edge)
	play(t, func(w *world) { // and without an Edge it serves nobody
		w.registrar()
		p := w.phone("dave", "203.0.113.4:40004", wire.UDP)
		p.sends("REGISTER", "sip:example.com", dave)
		p.hears("407")
	})
}

// RFC 5626, 5.2: a flow token names the flow and cannot be altered, nor made from a token of another kind.
func TestEdgeToken(t *testing.T) {
	s := newSigner(make([]byte, 32))
	for _, flow := range []wire.FlowID{
		{Proto: wire.UDP, Local: listeners[wire.UDP], Remote: listener6},
		{Proto: wire.WSS, Local: listener6, Remote: listeners[wire.TCP], Serial: 1<<64 - 1},
	} {
		text := string(s.signFlow(nil, flow))
		if got, ok := s.verifyFlow(text); !ok || got != flow || !looksLikeEdgeToken(text) || looksLikeToken(text) {
			t.Errorf("%s: %+v, %v", text, got, ok)
		}
		if _, _, ok := s.verify(text, "", "", ""); ok {
			t.Error("a flow token opens a dialog")
		}
		for i := range len(text) {
			letter := "A"
			if text[i] == 'A' {
				letter = "B"
			}
			if _, ok := s.verifyFlow(text[:i] + letter + text[i+1:]); ok {
				t.Errorf("letter %d of %s means nothing", i, text)
			}
		}
	}
	dialog := string(s.sign(nil, token{}, "", "tag"))
	if _, ok := s.verifyFlow(dialog); ok || looksLikeEdgeToken(dialog) {
		t.Error("a dialog's token is one of a flow")
	}
}

func FuzzEdgeToken(f *testing.F) {
	s := newSigner(make([]byte, 32))
	f.Add(string(s.signFlow(nil, wire.FlowID{Proto: wire.UDP, Local: listeners[wire.UDP], Remote: listener6})))
	f.Add("A_____________________")
	f.Fuzz(func(t *testing.T, text string) {
		if flow, ok := s.verifyFlow(text); ok && string(s.signFlow(nil, flow)) != text {
			t.Errorf("%q is read as %+v", text, flow)
		}
	})
}
