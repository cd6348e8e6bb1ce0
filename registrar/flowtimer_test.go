package registrar

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// alive lets seconds pass, in each of which a phone on that flow is heard if it is one of heard. It returns when OPTIONS were sent to it, and answers them if answer.
func (w *world) alive(t *testing.T, l *line, seconds int, heard func(second int) bool, answer bool) string {
	t.Helper()
	var asked []string
	for s := 1; s <= seconds; s++ {
		if heard != nil && heard(s) {
			w.reg.KeptAlive(l.id)
		}
		n := len(l.all())
		time.Sleep(time.Second)
		synctest.Wait()
		for _, b := range l.all()[n:] {
			req, ok := parse(t, string(b)).(*wire.Request)
			if !ok || req.Method != "OPTIONS" {
				t.Fatalf("%s", b)
			}
			asked = append(asked, fmt.Sprint(s))
			if answer {
				w.layer.ReceiveResponse(l, parse(t, string(wire.Append(nil, wire.NewResponse(req, 486, "", "x")))).(*wire.Response))
			}
		}
	}
	return strings.Join(asked, " ")
}

// RFC 5626, 4.4.2 and 5.4: a phone that keeps its flow alive is left alone; one that is silent for longer than Flow-Timer is asked, and lost when it does not answer: its flow of
// whichever address (RFC 5626, 7), not its other flows. A REGISTER brings it back.
func TestFlowTimerMissed(t *testing.T) {
	var w *world
	lines := map[wire.FlowID]*line{}
	play(t, func(w *world) {
		first, second := w.phone("alice", "203.0.113.1:40000"), w.phone("alice", "203.0.113.1:40001")
		bob := w.phone("bob", "203.0.113.1:40000")
		bob.line = first.line
		lines[first.line.id], lines[second.line.id] = first.line, second.line
		want(t, first.register(flow("sip:alice@10.0.0.1:5062", urn1, 1), outboundPhone), 200, "Flow-Timer: 29")
		want(t, second.register(flow("sip:alice@10.0.0.1:5062", urn1, 2), outboundPhone), 200)
		want(t, bob.register(flow("sip:bob@10.0.0.1:5062", urn1, 1), outboundPhone), 200)
		keep := func(s int) bool { w.reg.KeptAlive(second.line.id); return s%29 == 0 }
		if got := w.alive(t, first.line, 100, keep, false); got != "" {
			t.Errorf("asked at %q, though it kept alive", got)
		}
		// The last keep-alive was at the beginning of the 87th second. 33 s later it is asked: OPTIONS at 0, 0.5, 1.5 and 3.5 s; then it is lost.
		if got := w.alive(t, first.line, 29, func(int) bool { w.reg.KeptAlive(second.line.id); return false }, false); got != "19 20 21 23" {
			t.Errorf("asked at %q", got)
		}
		if got := fmt.Sprint(w.flowsOf()); got != "[10.0.0.1:5062 1 lost 10.0.0.1:5062 2]" {
			t.Error(got)
		}
		if b := w.location.Lookup(wire.AOR{User: "bob", Host: "example.org"}); len(b) != 1 || b[0].Usable() {
			t.Errorf("bob's binding on the same flow: %+v", b)
		}
		if w.reg.KeptAlive(first.line.id) || !w.reg.KeptAlive(second.line.id) {
			t.Error("the dead flow is not told that it is, or the living one is")
		}
		want(t, first.register(flow("sip:alice@10.0.0.1:5062", urn1, 1), outboundPhone), 200)
		if got := fmt.Sprint(w.flowsOf()); got != "[10.0.0.1:5062 1 10.0.0.1:5062 2]" || !w.reg.KeptAlive(first.line.id) {
			t.Error(got)
		}
	}, keeping(&w, lines))
}

// A phone that sends no keep-alives but answers is not lost: whatever it answers, and however long that goes on.
func TestFlowTimerCareless(t *testing.T) {
	var w *world
	lines := map[wire.FlowID]*line{}
	play(t, func(w *world) {
		p := w.phone("alice", "203.0.113.1:40000")
		lines[p.line.id] = p.line
		p.register(flow("sip:alice@10.0.0.1:5062", urn1, 1), outboundPhone)
		if got := w.alive(t, p.line, 110, nil, true); got != "33 66 99" {
			t.Errorf("asked at %q", got)
		}
		if got := fmt.Sprint(w.flowsOf()); got != "[10.0.0.1:5062 1]" {
			t.Error(got)
		}
		p.register(flow("sip:alice@10.0.0.1:5062", urn1, 1)+";expires=0", outboundPhone)
		if got := w.alive(t, p.line, 40, nil, true); got != "" {
			t.Errorf("asked at %q after it has left", got)
		}
		if len(w.reg.watch.flows) > 0 || w.reg.watch.running {
			t.Error("something is left on the wheel")
		}
	}, keeping(&w, lines))
}

// Who is watched: flows over UDP that end here. After a restart too; what was lost before is dead.
func TestWhoIsWatched(t *testing.T) {
	for _, tt := range []struct {
		name  string
		proto wire.Proto
		lines []string
		want  int
	}{
		{"a flow", wire.UDP, []string{flow("sip:alice@10.0.0.1:5062", urn1, 1), outboundPhone}, 1},
		{"by TCP", wire.TCP, []string{flow("sip:alice@10.0.0.1:5062", urn1, 1), outboundPhone}, 0},
		{"no reg-id", wire.UDP, []string{"Contact: <sip:alice@10.0.0.1:5062>;" + urn1, outboundPhone}, 0},
		{"by an edge proxy", wire.UDP, []string{flow("sip:alice@10.0.0.1:5062", urn1, 1), outboundPhone, "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx", "Path: <sip:p@203.0.113.1;lr;ob>"}, 0},
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
				again, err := New(w.reg.Config)
				if n, m := len(w.reg.watch.flows), len(again.watch.flows); err != nil || n != tt.want || m != tt.want {
					t.Errorf("%d flows are watched, %d after a restart, want %d; %v", n, m, tt.want, err)
				}
				if tt.want == 0 {
					return
				}
				w.alive(t, p.line, 60, nil, false)
				if again, err = New(w.reg.Config); err != nil || again.KeptAlive(p.line.id) {
					t.Error("the dead flow is alive after a restart", err)
				}
			}, keeping(&w, lines))
		})
	}
}

// The number of flows that are watched is bounded.
func TestWatchBounded(t *testing.T) {
	w := flowWatch{running: true}
	for i := range maxWatched + 10 {
		w.add(&location.Binding{Flow: wire.FlowID{Proto: wire.UDP, Serial: uint64(i)}}, wire.AOR{User: "alice"}, nil)
	}
	if len(w.flows) != maxWatched {
		t.Error(len(w.flows))
	}
}

// keeper is a connection that is told of promised keep-alives.
type keeper struct {
	*line
	within time.Duration
}

func (k *keeper) ExpectKeepAlive(within time.Duration) { k.within = within }

// RFC 5626, 5.4: a connection whose phone is asked for keep-alives ends without them, some time after Flow-Timer. RFC 7118, 6: a browser is not asked.
func TestFlowTimerOfConnections(t *testing.T) {
	for proto, wanted := range map[wire.Proto]string{wire.TCP: "120", wire.TLS: "120", wire.WS: "", wire.WSS: ""} {
		play(t, func(w *world) {
			p := w.phone("alice", "203.0.113.1:40000")
			k := &keeper{line: p.connect(7, proto)}
			req := func(lines ...string) *wire.Response {
				p.cseq++
				w.layer.ReceiveRequest(k, p.request(append(lines, flow("sip:alice@10.0.0.1:5062", urn1, 1), outboundPhone)...))
				synctest.Wait()
				return parse(t, string(p.line.last())).(*wire.Response)
			}
			res := req()
			if k.within != 0 {
				t.Error("expected of somebody who was not proven")
			}
			res = req(p.authorization(wire.Get(res, "WWW-Authenticate"), 1))
			want(t, res, 200, "Require: outbound", "Flow-Timer: "+wanted)
			if (k.within > 120*time.Second) != (wanted != "") {
				t.Errorf("%v: ends after %v", proto, k.within)
			}
		})
	}
}

// BenchmarkKeptAlive is what a keep-alive costs, of a flow among many.
func BenchmarkKeptAlive(b *testing.B) {
	r := &Registrar{watch: flowWatch{running: true}}
	for i := range 10_000 {
		r.watch.add(&location.Binding{Flow: wire.FlowID{Proto: wire.UDP, Serial: uint64(i)}}, wire.AOR{User: "alice"}, nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.KeptAlive(wire.FlowID{Proto: wire.UDP, Serial: 77})
	}
}

var (
	_ transaction.User = asked{}
	_ transport.Flow   = (*keeper)(nil)
)

// Thousands of addresses over one flow, as a gateway registers them, are each found at once, and lost together.
func TestManyUsersOfAFlow(t *testing.T) {
	w := flowWatch{running: true}
	b := &location.Binding{Flow: wire.FlowID{Proto: wire.UDP, Serial: 1}}
	for range 2 {
		for i := range 1000 {
			w.add(b, wire.AOR{User: fmt.Sprint(i)}, nil)
		}
	}
	w.judge(b.Flow, []wire.AOR{{User: "7"}, {User: "8"}})
	if n := len(w.kill(b.Flow)); n != 2 {
		t.Errorf("%d addresses are left of two", n)
	}
}
