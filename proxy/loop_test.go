package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// mirror is the server of another domain that sends what it gets back to us, with the user of the Request-URI mapped.
func (w *world) mirror(alias map[string]string) (turn func() int) {
	p := w.phone("mirror", "192.0.2.20:5060", wire.UDP)
	w.names["example.net"] = []wire.Hop{{Proto: wire.UDP, Addr: netip.MustParseAddrPort("192.0.2.20:5060")}}
	return func() (requests int) {
		for len(p.inbox) > 0 {
			text := p.inbox[0].text
			p.inbox = p.inbox[1:]
			m := parse(w.t, text)
			req, ok := m.(*wire.Request)
			if !ok {
				res := m.(*wire.Response)
				wire.Pop(res, "Via")
				if res.StatusCode > 100 {
					p.responds(res)
				}
				continue
			}
			requests++
			if req.Method == "ACK" {
				continue
			}
			req.SetURI(uri("sip:" + alias[req.URI.User] + "@example.org"))
			req.SetMaxForwards(req.MaxForwards - 1)
			wire.Push(req, "Via", "SIP/2.0/UDP 192.0.2.20:5060;branch="+wire.NewBranch())
			p.send(req.String())
		}
		return requests
	}
}

// RFC 5393, 4.2.2: a request that comes back unchanged has looped and gets 482.
func TestLoop(t *testing.T) {
	play(t, func(w *world) {
		eve := w.phone("eve", "192.0.2.9:5060", wire.UDP)
		w.users["bob"] = true
		w.bindings[wire.AOR{User: "bob", Host: "example.org"}] = append(w.bindings[wire.AOR{User: "bob", Host: "example.org"}], bindingAt("sip:bob@192.0.2.20"))
		turn := w.mirror(map[string]string{"bob": "bob"})
		eve.sends("MESSAGE", "sip:bob@example.org")
		if n := turn(); n != 1 {
			t.Errorf("%d requests sent round, want 1", n)
		}
		eve.hears("482")
		w.idle()
	}, anybody)
}

// RFC 5393, 4.2.2: a request that comes back for somebody else is a spiral, which is legal. hardening 44
func TestHardening44Spiral(t *testing.T) {
	play(t, func(w *world) {
		eve := w.phone("eve", "192.0.2.9:5060", wire.UDP)
		carol := w.user("carol", "192.0.2.3:5060", wire.UDP)
		w.users["bob"] = true
		w.bindings[wire.AOR{User: "bob", Host: "example.org"}] = append(w.bindings[wire.AOR{User: "bob", Host: "example.org"}], bindingAt("sip:bob@192.0.2.20"))
		turn := w.mirror(map[string]string{"bob": "carol"})
		invite := eve.invites("sip:bob@example.org")
		turn()
		got := carol.hearsRequest("INVITE")
		if n := len(headers(got, "Record-Route")); n != 2 {
			t.Fatalf("Record-Route: %q", headers(got, "Record-Route"))
		}
		if got.MaxForwards != 67 {
			t.Errorf("Max-Forwards: %d", got.MaxForwards)
		}
		res := carol.answers(got, 200)
		turn()
		ok := eve.hearsResponse("200")

		// The mirror did not record its route, so both of ours stand one after the other, and one pass through us will do.
		caller, called := eve.dialogOf(invite, ok), carol.dialogAsked(got, res)
		caller.sends("ACK")
		carol.hears("ACK")
		called.sends("INFO")
		carol.hears("407") // towards another domain, and not from the side of ours that the other half of the spiral knows
		caller.sends("BYE")
		carol.answers(carol.hearsRequest("BYE"), 200)
		eve.hears("200")
		w.idle()
	}, anybody)
}

// hardening 44; RFC 5393, 3: two accounts that fork to each other by another server. Every loop ends at its first return.
func TestHardening44Amplification(t *testing.T) {
	play(t, func(w *world) {
		eve := w.phone("eve", "192.0.2.9:5060", wire.UDP)
		for _, user := range []string{"a", "b"} {
			w.users[user] = true
			aor := wire.AOR{User: user, Host: "example.org"}
			w.bindings[aor] = append(w.bindings[aor], bindingAt("sip:a@192.0.2.20"), bindingAt("sip:b@192.0.2.20"))
		}
		turn := w.mirror(map[string]string{"a": "a", "b": "b"})
		eve.invites("sip:a@example.org")
		total := 0
		for {
			n := turn()
			if n == 0 {
				break
			}
			total += n
		}
		if total > 20 {
			t.Errorf("%d messages", total)
		}
		eve.hears("482")
		time64(w)
	}, anybody)
}

func time64(w *world) { w.idle(); w.phones[netip.MustParseAddrPort("192.0.2.20:5060")].inbox = nil }

// RFC 5393, 4.2.1: the mark depends on what decides the way and not on the method.
func TestLoopMark(t *testing.T) {
	w := newWorld(t)
	defer w.layer.Close()
	alice := w.phone("alice", "192.0.2.1:5060", wire.UDP)
	base := alice.request("INVITE", "sip:bob@example.org", "Route: <sip:192.0.2.50;lr>", "Proxy-Require: x", "To: <sip:bob@example.org>;tag=t")
	mark := func(text string) loopMark {
		req := parse(t, text).(*wire.Request)
		c := &call{p: w.proxy, req: req, uri: req.URI}
		c.facts, c.vias = survey(req.Headers())
		return c.loopMark()
	}
	for name, change := range map[string][2]string{
		"Request-URI": {"INVITE sip:bob", "INVITE sip:carol"}, "Call-ID": {"call1", "call2"}, "From tag": {"tag=alice", "tag=alicia"}, "To tag": {"tag=t", "tag=u"},
		"CSeq": {"CSeq: 1 ", "CSeq: 2 "}, "Route": {"192.0.2.50", "192.0.2.51"}, "Proxy-Require": {"Require: x", "Require: y"},
	} {
		if mark(base) == mark(strings.Replace(base, change[0], change[1], 1)) {
			t.Errorf("does not depend on %s", name)
		}
	}
	if mark(base) != mark(strings.ReplaceAll(base, "INVITE", "ACK")) {
		t.Error("depends on the method")
	}
	if mark(base) != mark(strings.Replace(base, "branch=z9hG4bKalice1", "branch=z9hG4bKx", 1)) {
		t.Error("depends on the Via, which differs at every turn")
	}
}

// A Via of somebody else with our mark in it is no loop; nor do odd Via values of others disturb. RFC 5393, 4.2.4
func TestForeignVias(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		probe := alice.request("MESSAGE", "sip:bob@example.org", "Via: SIP/2.0/UDP 192.0.2.50")
		req := parse(t, probe).(*wire.Request)
		c := &call{p: w.proxy, req: req, uri: req.URI}
		mark := c.loopMark()
		for _, via := range []string{"SIP/2.0/UDP 192.0.2.50;branch=z9hG4bKx" + string(mark[:]), `SIP/2.0/UDP 192.0.2.50;novel="` + string(mark[:]) + `, ;x";flag`, "SIP / 2.0 / UDP [2001:db8::9] ; hidden"} {
			alice.send(strings.Replace(strings.Replace(probe, "SIP/2.0/UDP 192.0.2.50", via, 1), "z9hG4bKalice1", wire.NewBranch(), 1))
			bob.hears("MESSAGE")
		}
		alice.send(strings.Replace(probe, "SIP/2.0/UDP 192.0.2.50", "SIP/2.0/UDP 192.0.2.50, SIP/2.0/UDP 192.0.2.100:5060;branch=z9hG4bKx"+string(mark[:]), 1))
		alice.hears("482")
	})
}
