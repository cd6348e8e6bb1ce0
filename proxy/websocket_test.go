package proxy

import (
	"strings"
	"testing"

	"signalbox/internal/wire"
	"signalbox/location"
)

// page is a user whose phone is a web page: it is reached over its connection only.
func (w *world) page(name, addr string) *phone {
	return w.user(name, addr, wire.WSS, func(b *location.Binding) { b.Behind = true })
}

// RFC 7118, 8.2: a page calls a phone; each side finds its way back by a Record-Route value of its own transport (RFC 5658, 5), and the page, whose
// Contact leads nowhere, over its connection.
func TestPageCallsPhone(t *testing.T) {
	play(t, func(w *world) {
		alice := w.page("alice", "192.0.2.1:50001")
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		req := alice.invites("sip:bob@example.org")
		invite := bob.hearsRequest("INVITE sip:bob@192.0.2.2:5060")
		if via := headers(invite, "Via"); len(via) != 2 || !strings.HasPrefix(via[0], "SIP/2.0/UDP 192.0.2.100:5060;") || !strings.HasPrefix(via[1], "SIP/2.0/WSS ") {
			t.Errorf("Via: %q", via)
		}
		routes := headers(invite, "Record-Route")
		if len(routes) != 2 || strings.Contains(routes[0], "transport") || !strings.Contains(routes[1], "@192.0.2.100:8443;transport=ws;lr>") || strings.Contains(routes[1], "sips") {
			t.Errorf("Record-Route: %q", routes)
		}
		res := bob.answers(invite, 200)
		called := bob.dialogAsked(invite, res)
		caller := alice.dialogOf(req, alice.hearsResponse("200"))
		caller.sends("ACK")
		if ack := bob.hearsRequest("ACK sip:bob@192.0.2.2:5060"); wire.Has(ack, "Route") {
			t.Errorf("ACK with Route %q", headers(ack, "Route"))
		}
		called.sends("BYE")
		bye, flow := alice.hearsOn("BYE sip:alice@df7jal23ls0d.invalid;transport=ws")
		if via := wire.First(bye, "Via"); flow != alice.flow.id || !strings.HasPrefix(via, "SIP/2.0/WSS 192.0.2.100:8443;") || wire.Has(bye, "Route") {
			t.Errorf("BYE came over %v with Via %s", flow, via)
		}
	})
}

// A phone calls a page: its Contact is no name to be asked for.
func TestPhoneCallsPage(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.TCP)
		bob := w.page("bob", "192.0.2.2:50001")
		caller, called := establish(alice, "sip:bob@example.org", bob)
		caller.sends("INFO")
		bob.hears("INFO sip:bob@df7jal23ls0d.invalid;transport=ws")
		called.sends("BYE")
		alice.hears("BYE sip:alice@192.0.2.1:5060;transport=tcp")
	})
}

// A page that has gone is not there, and no name server hears of its Contact. RFC 5626, 5.3
func TestPageIsGone(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.page("bob", "192.0.2.2:50001")
		w.names["df7jal23ls0d.invalid"] = []wire.Hop{{Proto: wire.UDP, Addr: alice.addr}}
		bob.flow.close()
		alice.sends("MESSAGE", "sip:bob@example.org")
		alice.hears("480")
		alice.hearsNothing()
	})
}

// RFC 7118, 8.2 F1: a page may name the web server it is connected to in a Route, and that may be one in front of us whose name we do not know. By any other
// transport such a Route is somebody else's.
func TestPageNamesItsServer(t *testing.T) {
	for _, route := range []string{"<sip:proxy.example.com:443;transport=ws;lr>", "<sip:proxy.example.com;transport=ws;lr>", "<sips:proxy.example.com;transport=ws;lr>"} {
		play(t, func(w *world) {
			alice := w.page("alice", "192.0.2.1:50001")
			bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
			alice.sends("MESSAGE", "sip:bob@example.org", "Route: "+route)
			if got := bob.hearsRequest("MESSAGE"); wire.Has(got, "Route") {
				t.Errorf("%s: arrives with Route %q", route, headers(got, "Route"))
			}
			bob.sends("MESSAGE", "sip:alice@example.org", "Route: "+route)
			if res := bob.hears("").(*wire.Response); res.StatusCode < 400 {
				t.Errorf("%s over UDP: %s", route, res)
			}
		})
	}
}
