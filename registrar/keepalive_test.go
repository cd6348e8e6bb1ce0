package registrar

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// keeping lets the registrar keep flows open: those of lines are found.
func keeping(w **world, lines map[wire.FlowID]*line) func(*Config) {
	return func(c *Config) {
		*w = c.Local.(*world)
		(*w).find = func(id wire.FlowID) (transport.Flow, bool) { l, ok := lines[id]; return l, ok }
		c.Network = *w
	}
}

// pings waits and tells in which seconds a line was sent an OPTIONS.
func pings(t *testing.T, l *line, seconds int) string {
	t.Helper()
	var list []string
	for s := 1; s <= seconds; s++ {
		n := len(l.all())
		time.Sleep(time.Second)
		synctest.Wait()
		for _, b := range l.all()[n:] {
			req, ok := parse(t, string(b)).(*wire.Request)
			if !ok || req.Method != "OPTIONS" {
				t.Fatalf("%s", b)
			}
			list = append(list, fmt.Sprint(s))
		}
	}
	return strings.Join(list, " ")
}

// Phones behind NAT on UDP that do not keep their flow themselves are sent an OPTIONS, others are not (RFC 5626, 4.4).
func TestWhoIsPinged(t *testing.T) {
	const behind = "Contact: <sip:alice@10.0.0.1:5062>"
	for _, tt := range []struct {
		name  string
		proto wire.Proto
		lines []string
		want  string
	}{
		{"behind NAT", wire.UDP, []string{behind}, "25 50"},
		{"with an instance", wire.UDP, []string{behind + ";" + urn1}, "25 50"},
		{"not behind NAT", wire.UDP, []string{"Contact: <sip:alice@203.0.113.1:40000>"}, ""},
		{"by TCP", wire.TCP, []string{behind}, ""},
		{"behind an edge proxy", wire.UDP, []string{behind, "Supported: path", "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx", "Path: <sip:203.0.113.1;lr>"}, ""},
		{"two contacts of one flow", wire.UDP, []string{behind, "Contact: <sip:alice@10.0.0.1:5064>"}, "25 50"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w *world
			lines := map[wire.FlowID]*line{}
			play(t, func(w *world) {
				p := w.phone("alice", "203.0.113.1:40000")
				if tt.proto != wire.UDP {
					p.connect(7, tt.proto)
				}
				lines[p.line.id] = p.line
				want(t, p.register(tt.lines...), 200)
				if got := pings(t, p.line, 60); got != tt.want {
					t.Errorf("pinged at %q, want %q", got, tt.want)
				}
			}, keeping(&w, lines))
		})
	}
}

// It goes on over refreshes without growing, follows the phone to another port, and ends with the binding.
func TestPingsEnd(t *testing.T) {
	var w *world
	lines := map[wire.FlowID]*line{}
	play(t, func(w *world) {
		p := w.phone("alice", "203.0.113.1:40000")
		lines[p.line.id] = p.line
		for range 5 {
			p.register("Contact: <sip:alice@10.0.0.1:5062?x=y>;expires=60")
		}
		if got := pings(t, p.line, 30); got != "25" {
			t.Error(got)
		}
		ping := parse(t, string(p.line.last())).(*wire.Request)
		if ping.URI.Raw != "sip:alice@10.0.0.1:5062" || ping.To.URI.Raw != ping.URI.Raw || ping.Via.Host != "192.0.2.7" || !ping.Via.HasRPort || ping.MaxForwards != 70 {
			t.Errorf("%s", ping)
		}
		moved := w.phone("alice", "203.0.113.1:40001")
		lines[moved.line.id] = moved.line
		moved.callID, moved.cseq = p.callID, p.cseq
		moved.register("Contact: <sip:alice@10.0.0.1:5062?x=y>;expires=60")
		old := len(p.line.all())
		if got := pings(t, moved.line, 80); got != "25 50" { // and then it has expired
			t.Error(got)
		}
		if len(p.line.all()) != old {
			t.Error("the old flow is still pinged")
		}
		if n := len(w.reg.pings.flows); n > 0 || w.reg.pings.running {
			t.Errorf("%d flows are left on the wheel", n)
		}
		moved.register("Contact: <sip:alice@10.0.0.1:5062>")
		moved.register("Contact: *", "Expires: 0")
		if got := pings(t, moved.line, 60); got != "" {
			t.Error(got)
		}
	}, keeping(&w, lines))
}

// Nobody keeps a registration alive but the phone with its password: not by an answer to our OPTIONS, nor by requests in its name.
func TestNobodyElseKeepsAlive(t *testing.T) {
	var w *world
	lines := map[wire.FlowID]*line{}
	play(t, func(w *world) {
		p := w.phone("alice", "203.0.113.1:40000")
		lines[p.line.id] = p.line
		p.register("Contact: <sip:alice@10.0.0.1:5062>;expires=60")
		before := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})[0].Expires
		time.Sleep(26 * time.Second)
		synctest.Wait()
		ping := parse(t, string(p.line.last())).(*wire.Request)
		w.layer.ReceiveResponse(p.line, parse(t, string(wire.Append(nil, wire.NewResponse(ping, 200, "", "x")))).(*wire.Response))
		stranger := w.phone("alice", "203.0.113.1:40000")
		stranger.pass = "guessed"
		stranger.line = p.line // from the same address even
		stranger.cseq = 100
		want(t, stranger.register("Contact: <sip:alice@10.0.0.1:5062>;expires=3600"), 401)
		if after := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})[0].Expires; !after.Equal(before) {
			t.Errorf("prolonged by %v", after.Sub(before))
		}
		time.Sleep(35 * time.Second)
		if got := w.flowsOf(); len(got) > 0 {
			t.Error(got)
		}
	}, keeping(&w, lines))
}

// After a restart everybody is on the wheel again; what is due at once leaves over several seconds.
func TestPingsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		sent := 0
		k := &keepAlive{network: w, timers: w.layer.NewOwner()}
		for i := range maxPings + 500 {
			k.add(wire.FlowID{Proto: wire.UDP, Serial: uint64(i)}, wire.AOR{}, func() {})
		}
		var perSecond []int
		for range pingInterval + 2 {
			due := k.next(func() {})
			if len(due) > 0 {
				perSecond = append(perSecond, len(due))
			}
			sent += len(due)
			for i, id := range due {
				k.again(id, i%2 == 0)
			}
		}
		if sent != maxPings+500 || len(perSecond) != 2 || perSecond[0] != maxPings {
			t.Errorf("%d in portions of %v", sent, perSecond)
		}
		if len(k.flows) != sent/2 {
			t.Errorf("%d are left of %d", len(k.flows), sent)
		}
	})
}

func TestPingsAfterRestart(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "203.0.113.1:40000")
		p.register("Contact: <sip:alice@10.0.0.1:5062>")
		w.find = func(wire.FlowID) (transport.Flow, bool) { return p.line, true }
		c := w.reg.Config
		c.Network = w
		if _, err := New(c); err != nil {
			t.Fatal(err)
		}
		if got := pings(t, p.line, 30); got != "25" {
			t.Error(got)
		}
	})
}

func BenchmarkPing(b *testing.B) {
	l := &line{id: wire.FlowID{Proto: wire.UDP, Local: listener}}
	binding := location.Binding{}
	binding.Contact, _ = wire.ParseURI("sip:alice@10.0.0.1:5062")
	b.ReportAllocs()
	for b.Loop() {
		appendPing(nil, l, binding.Contact, "example.org")
	}
}
