package transaction

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// failing is a log that no error may reach: a panic would.
type failing struct{ slog.Handler }

func (failing) Enabled(context.Context, slog.Level) bool { return true }

func (h failing) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		r.Attrs(func(a slog.Attr) bool { panic(a.String()) })
	}
	return nil
}

// each leads a machine of RFC 3261, 17.1.1, 17.1.2, 17.2.1 or 17.2.2 into a state.
var each = []struct {
	name string
	lead func(s *stage, f *fakeFlow)
}{
	{"no transaction", func(*stage, *fakeFlow) {}},
	{"server INVITE proceeding", func(s *stage, f *fakeFlow) { s.in(f, request("INVITE")) }},
	{"server INVITE accepted", func(s *stage, f *fakeFlow) { s.in(f, request("INVITE")); s.respond(200, "b") }},
	{"server INVITE completed", func(s *stage, f *fakeFlow) { s.in(f, request("INVITE")); s.respond(486, "b") }},
	{"server INVITE confirmed", func(s *stage, f *fakeFlow) {
		s.in(f, request("INVITE"))
		s.respond(486, "b")
		s.in(f, request("ACK"))
	}},
	{"server INVITE cancelled", func(s *stage, f *fakeFlow) { s.in(f, request("INVITE")); s.in(f, request("CANCEL")) }},
	{"server other trying", func(s *stage, f *fakeFlow) { s.in(f, request("MESSAGE")) }},
	{"server other proceeding", func(s *stage, f *fakeFlow) { s.in(f, request("MESSAGE")); s.at(4) }},
	{"server other completed", func(s *stage, f *fakeFlow) { s.in(f, request("MESSAGE")); s.respond(200, "b") }},
	{"client INVITE calling", func(s *stage, f *fakeFlow) { s.start(f, request("INVITE")) }},
	{"client INVITE calling, cancelled", func(s *stage, f *fakeFlow) { s.cancel(s.start(f, request("INVITE")), "") }},
	{"client INVITE proceeding", func(s *stage, f *fakeFlow) { s.inResponse(f, reply(s.start(f, request("INVITE")), 180, "b")) }},
	{"client INVITE proceeding, cancelled", func(s *stage, f *fakeFlow) {
		c := s.start(f, request("INVITE"))
		s.inResponse(f, reply(c, 180, "b"))
		s.cancel(c, "")
	}},
	{"client INVITE accepted", func(s *stage, f *fakeFlow) { s.inResponse(f, reply(s.start(f, request("INVITE")), 200, "b")) }},
	{"client INVITE completed", func(s *stage, f *fakeFlow) { s.inResponse(f, reply(s.start(f, request("INVITE")), 486, "b")) }},
	{"client other trying", func(s *stage, f *fakeFlow) { s.start(f, request("MESSAGE")) }},
	{"client other proceeding", func(s *stage, f *fakeFlow) { s.inResponse(f, reply(s.start(f, request("MESSAGE")), 100, "b")) }},
	{"client other completed", func(s *stage, f *fakeFlow) { s.inResponse(f, reply(s.start(f, request("MESSAGE")), 200, "b")) }},
}

// FuzzStates gives one message to each state of each machine of RFC 3261, 17.1 and 17.2: nothing panics, everything ends, and the next request is served.
func FuzzStates(f *testing.F) {
	var seeds [][]byte
	for _, method := range []string{"INVITE", "ACK", "CANCEL", "BYE", "MESSAGE"} {
		seeds = append(seeds, wire.Append(nil, request(method)), wire.Append(nil, old(method)))
		for _, code := range []int{100, 180, 200, 302, 487, 603} {
			seeds = append(seeds, wire.Append(nil, wire.NewResponse(request(method), code, "", "b")))
		}
	}
	for state := range each {
		for _, seed := range seeds {
			f.Add(uint8(state), state%2 == 0, seed)
		}
	}
	f.Fuzz(func(t *testing.T, state uint8, reliable bool, text []byte) {
		msg, err := wire.Parse(text)
		if err != nil {
			return
		}
		play(t, func(s *stage) { oneMessage(s, int(state)%len(each), reliable, msg) }, func(c *Config) {
			c.Logger = slog.New(failing{slog.DiscardHandler})
		})
	})
}

func oneMessage(s *stage, state int, reliable bool, msg wire.Message) {
	f := s.udp
	if reliable {
		f = s.tcp
	}
	var served []*Server
	s.serve = func(tx *Server) error {
		served = append(served, tx)
		tx.OnCancel(func(*wire.Request) { tx.Reply(487, "") })
		tx.Merged()
		return nil
	}
	each[state].lead(s, f)
	switch m := msg.(type) {
	case *wire.Request:
		s.layer.ReceiveRequest(f, m)
		s.layer.ReceiveRequest(f, m)
	case *wire.Response:
		s.layer.ReceiveResponse(f, m)
		s.layer.ReceiveResponse(f, m)
	}
	s.at(400)
	for _, tx := range served {
		tx.Owner().Do(func() { tx.Reply(500, "") })
	}
	s.at(500)
	n := s.layer.Counts()
	if ringing := strings.HasPrefix(each[state].name, "client INVITE"); n.Servers != 0 || n.Clients != 0 && !ringing || n.Clients > 1 || n.Active != 0 {
		s.t.Errorf("%s: left over: %+v", each[state].name, n)
	}
	s.serve = func(tx *Server) error { tx.Reply(200, ""); return nil }
	s.in(s.udp, request("OPTIONS", "z9hG4bKa1", "z9hG4bKnext"))
	if !strings.HasPrefix(s.udp.last(), "SIP/2.0 200 ") {
		s.t.Errorf("the next request got %s", s.udp.last())
	}
}
