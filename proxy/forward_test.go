package proxy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// RFC 3261, 16.6 step 1: everything but what the steps name arrives as it was sent, in the same order, under the same names.
func TestForwardKeepsTheRest(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		text := alice.request("MESSAGE", "sip:bob@example.org", "sUBJECT:  odd   spacing ", "X-Novel: a, b;c=\"d,e\"", "X-Novel: second", "k: path", ":body\r\nas it is\x00")
		sent := alice.send(text)
		got := bob.hearsRequest("MESSAGE")
		ours := func(h string) bool {
			return strings.HasPrefix(h, "Via: SIP/2.0/UDP 192.0.2.100") || strings.HasPrefix(h, "Max-") || strings.HasPrefix(h, "Proxy-Auth")
		}
		lines := func(m wire.Message) (list []string) {
			for _, h := range m.Headers() {
				if line := h.Name() + ": " + h.Value(); !ours(line) {
					list = append(list, line)
				}
			}
			return list
		}
		if a, b := lines(sent), lines(got); !slices.Equal(a, b) {
			t.Errorf("sent\n%q\narrives\n%q", a, b)
		}
		if string(got.Body()) != "body\r\nas it is\x00" {
			t.Errorf("body %q", got.Body())
		}
		if string(parse(t, text).(*wire.Request).String()) != sent.String() {
			t.Error("the received request was changed")
		}
	})
}

// RFC 3261, 16.6 step 2: what a Request-URI may not have is removed from the Contact.
func TestForwardRequestURI(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP, contact("sip:bob@192.0.2.2:5060;x=y;method=INVITE?Subject=z"))
		alice.sends("MESSAGE", "sip:bob@example.org")
		bob.hears("MESSAGE sip:bob@192.0.2.2:5060;x=y SIP")
	})
}

// RFC 3261, 16.6 step 3
func TestForwardMaxForwards(t *testing.T) {
	for line, want := range map[string]string{"Max-Forwards: 70": "69", "Max-Forwards: 1": "0", "Max-Forwards:-": "70"} {
		play(t, func(w *world) {
			alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
			bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
			alice.sends("MESSAGE", "sip:bob@example.org", line)
			if got := headers(bob.hearsRequest("MESSAGE"), "Max-Forwards"); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %q, want %s", line, got, want)
			}
		})
	}
}

// RFC 3261, 16.6 step 8: our Via on top, with the transport used, a magic cookie, and a branch nobody else gets.
func TestForwardVia(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		seen := map[string]bool{}
		for addr, sentBy := range map[string]string{"192.0.2.2:5060": "UDP 192.0.2.100:5060", "[2001:db8::2]:5060": "UDP [2001:db8::100]:5060"} {
			clear(w.bindings)
			bob := w.user("bob", addr, wire.UDP)
			for range 20 {
				alice.sends("MESSAGE", "sip:bob@example.org")
			}
			for len(bob.inbox) > 0 {
				got := bob.hearsRequest("MESSAGE")
				if !strings.HasPrefix(got.Via.Raw, "SIP/2.0/"+sentBy+";branch=z9hG4bK") || seen[got.Via.Branch] {
					t.Errorf("Via: %s", got.Via.Raw)
				}
				seen[got.Via.Branch] = true
				if n := len(wire.List(got, "Via")); n != 2 {
					t.Errorf("%d Vias", n)
				}
			}
		}
	})
}

// RFC 3261, 16.6 step 7; RFC 3263, 4.3: hop after hop on silence, a broken transport, and 503; each with a branch of its own and a client transaction
// of its own (RFC 3261, 16.6 step 10).
func TestFailover(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		silent := w.phone("silent", "192.0.2.20:5060", wire.UDP)
		busy := w.phone("busy", "192.0.2.21:5060", wire.UDP)
		good := w.phone("good", "192.0.2.22:5060", wire.UDP)
		w.noTCP = true
		w.names["example.net"] = []wire.Hop{
			{Proto: wire.TCP, Addr: netip.MustParseAddrPort("192.0.2.23:5060")}, {Proto: wire.UDP, Addr: silent.addr}, {Proto: wire.UDP, Addr: busy.addr},
			{Proto: wire.UDP, Addr: good.addr}, {Proto: wire.UDP, Addr: netip.MustParseAddrPort("192.0.2.24:5060")},
		}
		alice.invites("sip:carol@example.net")
		first := silent.hearsRequest("INVITE")
		w.at(32)
		silent.inbox = nil
		second := busy.hearsRequest("INVITE")
		busy.answers(second, 503)
		busy.hears("ACK")
		third := good.hearsRequest("INVITE")
		good.answers(third, 200)
		alice.hears("200")
		if first.Via.Branch == second.Via.Branch || second.Via.Branch == third.Via.Branch {
			t.Error("two attempts share a branch")
		}
		if len(w.failed) != 3 {
			t.Errorf("failed: %v", w.failed)
		}
		w.idle()
	})
}

// RFC 3261, 16.6 step 7: when no hop is left the target counts as 408. A name has at most four tries.
func TestFailoverExhausted(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		var peers []*phone
		for i := range 6 {
			p := w.phone("silent", "192.0.2.2"+strconv.Itoa(i)+":5060", wire.UDP)
			peers = append(peers, p)
			w.names["example.net"] = append(w.names["example.net"], wire.Hop{Proto: wire.UDP, Addr: p.addr})
		}
		alice.invites("sip:carol@example.net")
		w.at(4*32 + 0.2)
		alice.hears("408")
		for i, p := range peers {
			if heard := len(p.inbox) > 0; heard != (i < maxHops) {
				t.Errorf("hop %d heard it: %v", i, heard)
			}
			p.inbox = nil
		}
		w.idle()
	})
}

// RFC 3261, 16.9: a transport error counts as 503, and a 503 alone becomes 500. A phone of ours that cannot be reached is 480.
func TestTransportError(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		w.noTCP = true
		alice.sends("INVITE", "sip:carol@192.0.2.20;transport=tcp")
		alice.hears("100")
		alice.hears("500")
		w.user("bob", "192.0.2.2:5060", wire.UDP, contact("sip:bob@192.0.2.2:5060;transport=tcp"))
		alice.sends("MESSAGE", "sip:bob@example.org")
		alice.hears("480")
		w.idle()
	})
	play(t, func(w *world) { // while it rings
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:40000", wire.TCP)
		alice.invites("sip:bob@example.org")
		bob.answers(bob.hearsRequest("INVITE"), 180)
		alice.hears("180")
		bob.flow.close()
		alice.hears("480")
		w.idle()
	})
}

// RFC 3261, 18.1.1: a request of more than 1300 bytes goes over TCP, and over UDP when there is no TCP at the other end.
func TestLargeRequest(t *testing.T) {
	large := ":" + strings.Repeat("x", 1300)
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:40000", wire.TCP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.invites("sip:bob@example.org", large)
		m, on := bob.hearsOn("INVITE")
		invite := m.(*wire.Request)
		if on.Proto != wire.TCP || invite.Via.Transport != "TCP" {
			t.Errorf("came over %v with Via %s", on, invite.Via.Raw)
		}
		if list := headers(invite, "Record-Route"); strings.Contains(list[0], "transport=tcp") { // RFC 5658, 6.2
			t.Errorf("Record-Route: %q", list)
		}
		bob.flow = w.conns[on.Serial]
		bob.answers(invite, 486)
		bob.hears("ACK")
		alice.hears("486")
		if len(w.failed) > 0 {
			t.Errorf("failed: %v", w.failed)
		}
		w.idle()
	})
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:40000", wire.TCP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		w.noTCP = true
		for _, method := range []string{"MESSAGE", "INVITE"} {
			alice.sends(method, "sip:bob@example.org", large)
			m, on := bob.hearsOn(method)
			if got := m.(*wire.Request); on.Proto != wire.UDP || got.Via.Transport != "UDP" {
				t.Errorf("came over %v with Via %s", on, got.Via.Raw)
			} else {
				bob.answers(got, 200)
			}
			if method == "INVITE" {
				alice.hears("100")
			}
			alice.hears("200")
		}
		w.idle()
	})
	play(t, func(w *world) { // over a phone's flow through NAT there is no choice
		alice := w.user("alice", "192.0.2.1:40000", wire.TCP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP, behindNAT)
		alice.sends("MESSAGE", "sip:bob@example.org", large)
		if _, on := bob.hearsOn("MESSAGE"); on != bob.flow.id {
			t.Errorf("came over %v", on)
		}
	})
	play(t, func(w *world) { // TCP led there, and 503 came: the next hop, not the same one again
		alice := w.user("alice", "192.0.2.1:40000", wire.TCP)
		one, two := w.phone("one", "192.0.2.20:5060", wire.UDP), w.phone("two", "192.0.2.21:5060", wire.UDP)
		w.names["example.net"] = []wire.Hop{{Proto: wire.UDP, Addr: one.addr}, {Proto: wire.UDP, Addr: two.addr}}
		alice.sends("MESSAGE", "sip:carol@example.net", large)
		m, on := one.hearsOn("MESSAGE")
		one.flow = w.conns[on.Serial]
		one.answers(m.(*wire.Request), 503)
		two.hears("MESSAGE")
	})
}

// A name that is not found: the resolver's answer, and its reason in the log.
func TestUnknownDomain(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		alice.sends("MESSAGE", "sip:carol@nowhere.example.net")
		if res := alice.hearsResponse("502"); res.Reason != "No Such Host" {
			t.Errorf("reason %q", res.Reason)
		}
	})
}

// RFC 5393, 5.3.3: every forwarded request has one Max-Breadth; parallel branches share what came in, and none gets more
// (RFC 5393, 5.3.2).
func TestMaxBreadth(t *testing.T) {
	for _, test := range []struct {
		line string
		want []string // what the targets get, those that are tried at once
	}{
		{"X: no Max-Breadth", []string{"20", "20", "20"}},
		{"Max-Breadth: 100", []string{"20", "20", "20"}},
		{"Max-Breadth: 8", []string{"2", "3", "3"}},
		{"Max-Breadth: 3", []string{"1", "1", "1"}},
		{"Max-Breadth: 2", []string{"1", "1"}},
		{"Max-Breadth: 1", []string{"1"}},
	} {
		t.Run(test.line, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				bobs := []*phone{w.user("bob", "192.0.2.2:5060", wire.UDP)}
				for _, addr := range []string{"192.0.2.3:5060", "192.0.2.4:5060"} {
					p := w.phone("bob", addr, wire.UDP)
					w.bind("bob", p)
					bobs = append(bobs, p)
				}
				alice.invites("sip:bob@example.org", test.line)
				var got []string
				for _, p := range bobs {
					if len(p.inbox) > 0 {
						invite := p.hearsRequest("INVITE")
						got = append(got, headers(invite, "Max-Breadth")...)
						p.answers(invite, 486) // RFC 5393, 5.3.3.1: makes room for one that waits
						p.hears("ACK")
					}
				}
				if slices.Sort(got); len(test.want) == 3 && !slices.Equal(got, test.want) || len(got) != 3 {
					t.Errorf("Max-Breadth %q, want %q", got, test.want)
				}
				alice.hears("486")
				w.idle()
			})
		})
	}
}
