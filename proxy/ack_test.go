package proxy

import (
	"testing"

	"signalbox/internal/wire"
)

// The ACK to a 2xx follows the route without a transaction: each one that arrives is sent on, once. RFC 3261, 16.11 and 13.2.2.4
func TestACK(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:40000", wire.TLS, behindNAT)
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		for range 3 {
			caller.sends("ACK", ":v=0\r\n", "Proxy-Authorization: x", alice.credentials())
			got := bob.hearsRequest("ACK " + bob.contact())
			if string(got.Body()) != "v=0\r\n" || got.MaxForwards != 69 || wire.Has(got, "Record-Route") || len(headers(got, "Max-Breadth")) != 1 {
				t.Errorf("arrives as\n%s", got)
			}
			if list := headers(got, "Proxy-Authorization"); len(list) != 1 || list[0] != "x" {
				t.Errorf("Proxy-Authorization: %q", list)
			}
		}
		if n := w.layer.Counts(); n.Servers+n.Clients > 2 {
			t.Errorf("%+v", n)
		}
		w.idle()
	})
}

// What fails a check is dropped: nothing answers an ACK. RFC 3261, 17
func TestACKDropped(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		caller.sends("ACK", "Max-Forwards: 0")
		caller.sends("ACK", "Max-Breadth: 0")
		caller.target = "tel:+15550100"
		caller.sends("ACK")
	})
}

// To another domain the ACK goes where its route leads, if that is no address of the inside.
func TestACKForeign(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		server := w.phone("server", "192.0.2.20:5060", wire.UDP)
		w.names["example.net"] = []wire.Hop{{Proto: wire.UDP, Addr: server.addr}}
		caller, _ := establish(alice, "sip:carol@example.net", server)
		for _, target := range []string{"sip:carol@127.0.0.1", "sip:carol@nowhere.example.net", "sip:carol@10.0.0.1"} {
			caller.target = target
			caller.sends("ACK")
		}
		caller.target = "sip:carol@192.0.2.20"
		caller.sends("ACK")
		server.hears("ACK")
	})
}
