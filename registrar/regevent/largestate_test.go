package regevent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"signalbox/internal/wire"
	"signalbox/location"
)

// crowd registers so many contacts for alice that no datagram holds the document, with her own at the end.
func (w *world) crowd(own location.Binding) (all []location.Binding) {
	w.t.Helper()
	for i := range 30 {
		b := binding(fmt.Sprintf("sip:%d@192.0.2.9:%d", i, 6000+i), nil)
		b.Params = ";methods=\"" + strings.Repeat("INVITE,", 20) + "\""
		all = append(all, b)
	}
	all = append(all, own)
	w.register(alice, location.Registered, set(all...))
	return all
}

// RFC 3261, 18.1.1: full state that is too large for a datagram goes over TCP to a phone that can be connected to; where nobody listens, in a datagram. RFC 3680, 4.7.2: it is whole, the
// subscriber's own contact first.
func TestLargeState(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		all := w.crowd(binding("sip:alice@192.0.2.1", f))
		w.give(f, w.request("alice", "sip:alice@example.org", ""))
		if got := starts(f.heard()); got != "200" {
			t.Fatalf("heard %q over UDP", got)
		}
		w.mu.Lock()
		var stream *line
		for id, l := range w.flows {
			if id.Proto == wire.TCP && id.Remote == f.id.Remote {
				stream = l
			}
		}
		w.mu.Unlock()
		list := stream.heard()
		if starts(list) != "NOTIFY" || !strings.HasPrefix(list[0].get("Via"), "SIP/2.0/TCP ") || !strings.Contains(list[0].get("Contact"), "transport=tcp") {
			t.Fatalf("heard over TCP: %v", list)
		}
		stream.hangUp()
		list = f.heard()
		if starts(list) != "NOTIFY" || list[0].size < maxDatagram {
			t.Fatalf("heard %q after the connection was refused", starts(list))
		}
		w.answer(f, list[0], 200)
		if r := list[0].reginfo(); r.State != "full" || len(r.Registration.Contacts) != len(all) || r.Registration.Contacts[0].URI != "sip:alice@192.0.2.1" {
			t.Errorf("told %s", r.tells())
		}
		// A small change still goes in a datagram, as everything does until the next SUBSCRIBE.
		w.register(alice, location.Removed, set(all[1:]...))
		if n := w.await(f, 6*time.Second); n.size > maxDatagram || n.reginfo().State != "partial" {
			t.Errorf("%d bytes: %s", n.size, n.reginfo().tells())
		}
	})
}

// RFC 3261, 18.1.1: to a phone behind NAT no connection can be made. It gets full state in one datagram, and changes in datagrams that are not larger than they should be.
func TestLargeStateBehindNAT(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "203.0.113.1:40000")
		own := binding("sip:alice@10.0.0.1", f)
		all := w.crowd(own)
		n, _ := w.subscribe(f, "alice", "sip:alice@example.org", "Contact: <sip:alice@10.0.0.1>")
		if r := n.reginfo(); r.State != "full" || r.Version != 0 || len(r.Registration.Contacts) != len(all) {
			t.Errorf("told %s", r.tells())
		}
		w.register(alice, location.Removed, set(own))
		gone := map[string]bool{}
		for version := 1; len(gone) < len(all)-1; version++ {
			n := w.await(f, 6*time.Second)
			r := n.reginfo()
			if n.size > maxDatagram || r.Version != version || r.State != "partial" {
				t.Fatalf("%d bytes, told %s", n.size, r.tells())
			}
			for _, c := range r.Registration.Contacts {
				gone[c.URI] = true
			}
		}
	})
}

// What is small enough without its optional parts leaves them out over UDP, and has them over TCP.
func TestBriefState(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "203.0.113.1:40000")
		var all []location.Binding
		for i := range 4 {
			b := binding(fmt.Sprintf("sip:%d@10.0.0.%d", i, i), f)
			b.Params = ";methods=\"" + strings.Repeat("INVITE,", 30) + "\""
			all = append(all, b)
		}
		w.register(alice, location.Registered, set(all...))
		n, _ := w.subscribe(f, "alice", "sip:alice@example.org", "Contact: <sip:alice@10.0.0.1>")
		if r := n.reginfo(); n.size > maxDatagram || len(r.Registration.Contacts) != 4 || len(r.Registration.Contacts[0].Params) > 0 {
			t.Errorf("%d bytes: %s", n.size, r.tells())
		}
		g := w.line(wire.TCP, "203.0.113.1:40000")
		n, _ = w.subscribe(g, "alice", "sip:alice@example.org", "Call-ID: 2", "Contact: <sip:alice@10.0.0.1>")
		if r := n.reginfo(); len(r.Registration.Contacts) != 4 || len(r.Registration.Contacts[0].Params) == 0 {
			t.Errorf("over TCP %s", r.tells())
		}
	})
}
