package proxy

import (
	"strings"
	"testing"
	"time"

	"signalbox/internal/wire"
	"signalbox/location"
)

const urn1, urn2 = "<urn:uuid:00000000-0000-1000-8000-000a95a0e128>", "<urn:uuid:00000000-0000-1000-8000-aaaaaaaaaaaa>"

// flowOf makes a binding the flow of an instance, refreshed so long ago.
func flowOf(urn string, regID int, age time.Duration) func(*location.Binding) {
	return func(b *location.Binding) {
		b.InstanceID, b.RegID, b.Updated, b.Epoch = urn, regID, time.Now().Add(-age), 1
	}
}

func path(values ...string) func(*location.Binding) {
	return func(b *location.Binding) { b.Path, b.Behind = values, true }
}

func lost(b *location.Binding) { b.Lost = time.Now() }

// binding gives a binding of a user to be changed.
func (w *world) binding(user string, i int) *location.Binding {
	return &w.bindings[wire.AOR{User: user, Host: "example.org"}][i]
}

func (w *world) public(user, urn string) string {
	return string(w.proxy.GRUU.AppendPublic(nil, wire.AOR{User: user, Host: "example.org"}, urn))
}

func (w *world) temporary(user, urn string, epoch uint32) string {
	b, _ := w.proxy.GRUU.AppendTemporary(nil, wire.AOR{User: user, Host: "example.org"}, urn, epoch, 9)
	return string(b)
}

// RFC 5626, 7: one flow of an instance at a time, the newest; the next one when that has failed by its connection, by silence or by 430, and by nothing else.
func TestNextFlow(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(w *world, first *phone, req *wire.Request)
		next bool
		end  string
	}{
		{"430", func(_ *world, p *phone, req *wire.Request) { p.answers(req, 430) }, true, "200"},
		{"408", func(_ *world, p *phone, req *wire.Request) { p.answers(req, 408) }, true, "200"},
		{"480", func(_ *world, p *phone, req *wire.Request) { p.answers(req, 480) }, false, "480"},
		{"busy", func(_ *world, p *phone, req *wire.Request) { p.answers(req, 486) }, false, "486"},
		{"connection lost", func(_ *world, p *phone, _ *wire.Request) { p.flow.close() }, true, "200"},
		{"silence", func(w *world, p *phone, _ *wire.Request) { w.at(33) }, true, "200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				first := w.user("bob", "203.0.113.2:40001", wire.TCP, behindNAT, flowOf(urn1, 1, time.Second))
				second := w.phone("second", "203.0.113.2:40002", wire.TCP)
				third := w.phone("third", "203.0.113.2:40003", wire.TCP)
				w.bind("bob", second, behindNAT, flowOf(urn1, 2, time.Minute))
				w.bind("bob", third, behindNAT, flowOf(urn1, 3, time.Hour))
				alice.invites("sip:bob@example.org")
				req := first.hearsRequest("INVITE")
				second.hearsNothing()
				tt.fail(w, first, req)
				if !first.flow.dead && tt.name != "silence" {
					first.hears("ACK")
				}
				if tt.next {
					second.answers(second.hearsRequest("INVITE"), 200)
				}
				alice.hears(tt.end)
				third.hearsNothing()
			})
		})
	}
}

// All flows fail: 480, never 430, which would say that another flow might work. And a flow known to be lost is not tried at all.
func TestAllFlowsFail(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		first := w.user("bob", "203.0.113.2:40001", wire.TCP, behindNAT, flowOf(urn1, 1, time.Second))
		second := w.phone("second", "203.0.113.2:40002", wire.TCP)
		w.bind("bob", second, behindNAT, flowOf(urn1, 2, time.Minute))
		first.flow.close()
		alice.sends("MESSAGE", "sip:bob@example.org")
		second.answers(second.hearsRequest("MESSAGE"), 430)
		alice.hears("480")
		lost(w.binding("bob", 0))
		lost(w.binding("bob", 1))
		alice.sends("MESSAGE", "sip:bob@example.org")
		alice.hears("480")
	})
}

// RFC 3327, 5.4: the Path is the Route of what goes to the phone. It is followed back to the proxy that the REGISTER came from, and nowhere else: hardening 42.
func TestPath(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		edge := w.phone("edge", "192.0.2.20:5060", wire.UDP)
		w.users["bob"] = true
		w.bind("bob", edge, contact("sip:bob@10.0.0.2"), path("<sip:token@evil.example.net;lr>", "<sip:p2.example.net;lr;ob>"), flowOf(urn1, 1, 0))
		req := alice.invites("sip:bob@example.org")
		invite := edge.hearsRequest("INVITE sip:bob@10.0.0.2 ")
		if got := strings.Join(wire.List(invite, "Route"), ", "); got != "<sip:token@evil.example.net;lr>, <sip:p2.example.net;lr;ob>" {
			t.Errorf("Route %s", got)
		}
		// The edge proxy records its route; the dialog goes over it, and no credentials are asked for.
		edge.answers(invite, 200)
		ok := alice.hearsResponse("200")
		d := alice.dialogOf(req, ok)
		d.routes = append(d.routes, "<sip:token@192.0.2.20;lr>")
		d.sends("ACK")
		ack := edge.hearsRequest("ACK")
		if got := strings.Join(wire.List(ack, "Route"), ", "); got != "<sip:token@192.0.2.20;lr>" {
			t.Errorf("Route %s", got)
		}
		d.sends("INFO")
		edge.answers(edge.hearsRequest("INFO"), 200)
		alice.hears("200")
	})
}

// An edge proxy whose connection is gone is connected to again where its Path says, if that is where it was.
func TestPathConnectsAgain(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		edge := w.phone("edge", "192.0.2.20:40000", wire.TCP)
		listening := w.phone("listening", "192.0.2.20:5060", wire.TCP)
		other := w.phone("other", "192.0.2.21:5060", wire.TCP)
		w.users["bob"] = true
		w.bind("bob", edge, contact("sip:bob@10.0.0.2"), path("<sip:t@edge.example.net;transport=tcp;lr>"))
		edge.flow.close()
		w.names["edge.example.net"] = []wire.Hop{{Proto: wire.TCP, Addr: other.addr}, {Proto: wire.TCP, Addr: listening.addr}}
		alice.sends("MESSAGE", "sip:bob@example.org")
		listening.hears("MESSAGE")
		listening.w.phones[listening.addr].inbox = nil
		w.names["edge.example.net"] = []wire.Hop{{Proto: wire.TCP, Addr: other.addr}}
		alice.sends("MESSAGE", "sip:bob@example.org")
		alice.hears("4")
		other.hearsNothing()
		w.at(40)
		alice.inbox, listening.inbox = nil, nil
	})
}

// A phone registers over UDP and calls over TCP, because its INVITE is large (RFC 3261, 18.1.1): its GRUU still leads to it.
func TestGRUUOverAnotherFlow(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "203.0.113.1:40001", wire.UDP, behindNAT, flowOf(urn2, 1, 0))
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		stream := w.phone("alice", "203.0.113.1:50001", wire.TCP)
		stream.user = "alice"
		_, called := establish(stream, "sip:bob@example.org", bob, "Contact: <"+w.public("alice", urn2)+">")
		stream.flow.close()
		called.sends("BYE")
		alice.answers(alice.hearsRequest("BYE sip:alice@203.0.113.1:40001 "), 200)
		bob.hears("200")
	})
}

// RFC 5626, 4.3 and 5.3.2: a request in a dialog reaches the phone over the flow it has now, whichever that is, for caller and callee; the Request-URI stays.
func TestDialogFollowsThePhone(t *testing.T) {
	for _, tt := range []struct {
		name string
		old  func(*location.Binding)
	}{
		{"outbound", flowOf(urn1, 1, time.Minute)},
		{"an instance", flowOf(urn1, 0, time.Minute)},
		{"a Call-ID", func(b *location.Binding) { b.CallID, b.Updated = "register", time.Now().Add(-time.Minute) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "203.0.113.1:40001", wire.TCP, behindNAT, tt.old)
				bob := w.user("bob", "203.0.113.2:40001", wire.TCP, behindNAT, tt.old)
				caller, called := establish(alice, "sip:bob@example.org", bob)
				// Both lose their connections and register again, one of them by UDP.
				alice.flow.close()
				bob.flow.close()
				move := func(name string, p *phone) {
					b := w.binding(name, 0)
					b.Flow, b.Contact, b.Updated = p.flow.id, uri(p.contact()), time.Now()
				}
				bob2, alice2 := w.phone("bob", "198.51.100.2:40002", wire.UDP), w.phone("alice", "198.51.100.1:40002", wire.TLS)
				move("bob", bob2)
				move("alice", alice2)
				alice2.user, bob2.user, alice2.seq, bob2.seq = "alice", "bob", 100, 100
				caller.p, called.p = alice2, bob2
				caller.sends("INFO")
				info := bob2.hearsRequest("INFO sip:bob@203.0.113.2:40001")
				bob2.answers(info, 200)
				alice2.hears("200")
				called.sends("BYE")
				alice2.answers(alice2.hearsRequest("BYE sip:alice@203.0.113.1:40001"), 200)
				bob2.hears("200")
			})
		})
	}
}

// A phone that is not back cannot be reached, and another phone of the same user is not it.
func TestDialogOfALostPhone(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "203.0.113.2:40001", wire.TCP, contact("sip:bob@10.0.0.2"), behindNAT, flowOf(urn1, 1, time.Minute))
		other := w.phone("other", "203.0.113.2:40002", wire.TCP)
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		caller.target = "sip:bob@10.0.0.2"
		bob.flow.close()
		lost(w.binding("bob", 0))
		w.bind("bob", other, behindNAT, flowOf(urn2, 1, 0))
		caller.sends("INFO")
		alice.hears("480")
	})
}

// RFC 5627, 6.1: a GRUU leads to one phone, and the answers tell the unknown from the absent.
func TestGRUU(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP, flowOf(urn1, 0, 0))
		desk := w.phone("desk", "192.0.2.3:5060", wire.UDP)
		w.bind("bob", desk, flowOf(urn2, 0, 0))
		for _, uri := range []string{w.public("bob", urn1), w.temporary("bob", urn1, 1), strings.Replace(w.public("bob", urn1), "bob@", "b%6fb@", 1)} {
			alice.sends("MESSAGE", uri)
			bob.answers(bob.hearsRequest("MESSAGE sip:bob@192.0.2.2:5060 "), 486) // and nobody else is asked
			alice.hears("486")
		}
		pub := w.public("bob", urn1)
		for uri, want := range map[string]string{
			w.public("bob", "<urn:uuid:another>"):       "480", // ours, and nobody is there
			pub[:len(pub)-1] + "0":                      "404",
			strings.Replace(pub, "bob", "alice", 1):     "404", // somebody else's
			w.temporary("bob", urn1, 2):                 "404", // void
			w.temporary("bob", "<urn:uuid:another>", 1): "404",
			w.public("nobody", urn1):                    "404",
			"sip:bob@example.org;gr":                    "404",
			"sip:bob@example.org;gr=urn:uuid:0000":      "404",
		} {
			alice.sends("MESSAGE", uri)
			if got := alice.hearsResponse("4"); want != strings.Fields(string(wire.Append(nil, got)))[1] {
				t.Errorf("%s: %d, want %s", uri, got.StatusCode, want)
			}
		}
		lost(w.binding("bob", 0))
		alice.sends("MESSAGE", pub)
		alice.hears("480")
		alice.sends("MESSAGE", w.temporary("bob", urn1, 1))
		alice.hears("480") // it waits for the phone
	})
}

// A stranger does not learn which GRUUs exist: hardening 25.
func TestGRUUStranger(t *testing.T) {
	play(t, func(w *world) {
		mallory := w.phone("mallory", "198.51.100.66:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP, flowOf(urn1, 0, 0))
		for _, uri := range []string{"sip:bob@example.org;gr=urn:uuid:0000", "sip:nobody@example.org;gr", w.temporary("bob", urn1, 2), w.public("bob", urn2)} {
			mallory.sends("MESSAGE", uri)
			mallory.hears("480")
		}
		mallory.sends("MESSAGE", w.public("bob", urn1))
		bob.answers(bob.hearsRequest("MESSAGE"), 200)
		mallory.hears("200")
	}, func(c *Config) { c.Inbound = Any })
}

// RFC 5627, 6.1 and 6.2: both sides name themselves by their GRUUs in the dialog. It is translated on the way, follows the phone, and opens no way to anybody else.
func TestGRUUInDialog(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP, flowOf(urn2, 0, 0))
		bob := w.user("bob", "203.0.113.2:40001", wire.TCP, behindNAT, flowOf(urn1, 1, 0))
		carol := w.user("carol", "192.0.2.3:5060", wire.UDP, flowOf(urn1, 0, 0))
		caller, called := establish(alice, "sip:bob@example.org", bob, "Contact: <"+w.public("alice", urn2)+">")
		caller.target = w.temporary("bob", urn1, 1)
		caller.sends("INFO")
		bob.answers(bob.hearsRequest("INFO sip:bob@203.0.113.2:40001"), 200)
		alice.hears("200")
		called.sends("INFO")
		alice.answers(alice.hearsRequest("INFO sip:alice@192.0.2.1:5060 "), 200)
		bob.hears("200")
		// The same call must not reach carol, whatever it writes.
		desk := w.phone("desk", "192.0.2.4:5060", wire.UDP)
		w.bind("bob", desk, flowOf(urn2, 0, 0))
		for _, uri := range []string{w.public("carol", urn1), w.public("bob", urn2), w.public("bob", urn1) + "x", "sip:bob@example.org;gr"} {
			caller.target = uri
			caller.sends("INFO")
			alice.hears("404")
		}
		caller.target = w.public("bob", urn1)
		bob.flow.close()
		lost(w.binding("bob", 0))
		caller.sends("INFO")
		alice.hears("480")
		back := w.phone("back", "203.0.113.9:40009", wire.TCP)
		*w.binding("bob", 0) = location.Binding{Contact: uri(back.contact()), Flow: back.flow.id, Behind: true, InstanceID: urn1, RegID: 1, Updated: time.Now()}
		caller.sends("INFO")
		back.answers(back.hearsRequest("INFO sip:back@203.0.113.9"), 200)
		alice.hears("200")
		carol.hearsNothing()
		// RFC 5627, 6.2: nobody begins a dialog with somebody else's GRUU.
		alice.sends("INVITE", "sip:carol@example.org", "Contact: <"+w.public("bob", urn1)+">", "Call-ID: other")
		alice.hears("403")
	})
}
