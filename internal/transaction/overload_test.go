package transaction

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"signalbox/internal/wire"
)

// hardening 55: beyond the limit new requests get 503 with Retry-After (RFC 3261, 21.5.4), each retransmission the same one (RFC 3261, 8.2.7), and leave nothing; BYE, CANCEL, ACK and requests within dialogs have a share of their own.
func TestLimit(t *testing.T) {
	play(t, func(s *stage) {
		n := 0
		in := func(method string, replace ...string) string {
			n++
			s.in(s.udp, request(method, append(replace, "z9hG4bKa1", fmt.Sprintf("z9hG4bKl%d", n))...))
			return s.udp.last()
		}
		s.serve = func(tx *Server) error { tx.Reply(200, ""); return nil }
		for range 14 {
			in("MESSAGE")
		}
		s.alive(14, 0)
		refused := in("MESSAGE")
		if !strings.HasPrefix(refused, "SIP/2.0 503 ") || !strings.Contains(refused, "\r\nRetry-After: ") {
			t.Errorf("got %s", refused)
		}
		s.alive(14, 0)
		n--
		if again := in("MESSAGE"); again != refused {
			t.Error("the retransmission was refused otherwise")
		}
		if got := in("BYE", "bob@example.org>", "bob@example.org>;tag=b"); !strings.HasPrefix(got, "SIP/2.0 200 ") {
			t.Errorf("BYE: %s", got)
		}
		if got := in("INFO", "bob@example.org>", "bob@example.org>;tag=b"); !strings.HasPrefix(got, "SIP/2.0 200 ") {
			t.Errorf("INFO in a dialog: %s", got)
		}
		s.alive(16, 0)
		if got := in("BYE", "bob@example.org>", "bob@example.org>;tag=b"); !strings.HasPrefix(got, "SIP/2.0 503 ") {
			t.Errorf("BYE beyond everything: %s", got)
		}
		s.lines = nil
		in("ACK")
		s.want(`0.000 < ACK
			0.000 tu ACK`)
		s.at(32)
		s.alive(0, 0)
		if got := in("MESSAGE"); !strings.HasPrefix(got, "SIP/2.0 200 ") {
			t.Errorf("after the flood: %s", got)
		}
		if got := s.layer.Counts().Refused; got != 3 {
			t.Errorf("%d refused", got)
		}
	}, func(c *Config) { c.Limits.Transactions = 16 })
}

// hardening 55: ACKs without INVITE, CANCELs without INVITE and retransmissions leave no more than a completed transaction each.
func TestStorm(t *testing.T) {
	play(t, func(s *stage) {
		for i := range 200 {
			branch := fmt.Sprintf("z9hG4bKs%d", i)
			for range 3 {
				s.layer.ReceiveRequest(s.udp, request("ACK", "z9hG4bKa1", branch))
				s.layer.ReceiveRequest(s.udp, request("CANCEL", "z9hG4bKa1", branch))
			}
		}
		s.alive(200, 0)
		s.at(32)
		s.alive(0, 0)
		s.lines = nil
	})
}

// A completed transaction keeps its key and its response: at most 1 KB, however large the request was.
func TestCompletedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 transactions")
	}
	notFound := handlerFunc(func(tx *Server) error { tx.Reply(404, ""); return nil })
	for _, c := range []struct {
		method string
		n      int
	}{{"MESSAGE", 100_000}, {"INVITE", 20_000}} {
		perTransaction(t, "server "+c.method, c.n, notFound, func(l *Layer, f *nullFlow, i int) {
			l.ReceiveRequest(f, large(c.method, i))
		})
	}
}

// The same for client transactions; one that is Accepted keeps its user and its request besides, for further 2xx.
func TestCompletedClientMemory(t *testing.T) {
	for _, method := range []string{"MESSAGE", "INVITE"} {
		perTransaction(t, "client "+method, 20_000, nil, func(l *Layer, f *nullFlow, i int) {
			c := l.Start(nil, large(method, i), f, ignoring{})
			l.ReceiveResponse(f, wire.NewResponse(c.Request, 404, "", "b"))
		})
	}
}

// perTransaction measures what n transactions keep. Time is virtual: none of them ends meanwhile.
func perTransaction(t *testing.T, what string, n int, h Handler, run func(l *Layer, f *nullFlow, i int)) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Handler: h, Logger: slog.New(slog.DiscardHandler)})
		defer l.Close()
		f := &nullFlow{id: wire.FlowID{Proto: wire.UDP}}
		before := heap()
		for i := range n {
			run(l, f, i)
		}
		each := (heap() - before) / uint64(n)
		t.Logf("%s: %d bytes per completed transaction", what, each)
		if each > 1024 {
			t.Errorf("%s: %d bytes per completed transaction, want at most 1 KB", what, each)
		}
		if got := l.Counts(); got.Servers+got.Clients != n || got.Active != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	})
}

type ignoring struct{}

func (ignoring) ServeResponse(*Client, *wire.Response) {}
func (ignoring) ServeFailure(*Client, error)           {}

// large is a request of more than 1 KB.
func large(method string, i int) *wire.Request {
	return request(method, "z9hG4bKa1", fmt.Sprintf("z9hG4bK%032d", i), "Max-Forwards: 70", "Max-Forwards: 70\r\nX-Filler: "+strings.Repeat("x", 1000))
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// nullFlow is a flow into nowhere.
type nullFlow struct {
	id wire.FlowID
}

func (f *nullFlow) ID() wire.FlowID            { return f.id }
func (f *nullFlow) SentBy() netip.AddrPort     { return f.id.Local }
func (f *nullFlow) OnClose(func(error)) func() { return func() {} }
func (f *nullFlow) Send([]byte) error          { return nil }

func TestConfigValidate(t *testing.T) {
	handler := handlerFunc(func(*Server) error { return nil })
	for _, c := range []struct {
		config Config
		ok     bool
	}{
		{Config{Handler: handler}, true},
		{Config{Handler: handler, Limits: Limits{Transactions: 1000}}, true},
		{Config{}, false},
		{Config{Handler: handler, Limits: Limits{Transactions: 7}}, false},
		{Config{Handler: handler, Limits: Limits{Transactions: -1}}, false},
	} {
		if err := c.config.Validate(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
}
