package transaction

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a layer between a network and a user that write down what they get, in virtual time:
//
//	0.500 < INVITE   a message given to the layer
//	0.500 > 100      a message sent by the layer
//	0.500 tu INVITE  what its user heard
type stage struct {
	t     *testing.T
	layer *Layer
	begin time.Time
	serve func(tx *Server) error
	tx    *Server // the latest one served, ACK excepted
	udp   *fakeFlow
	tcp   *fakeFlow

	mu    sync.Mutex
	lines []string
}

// play runs story in a bubble of virtual time and checks that nothing is left over.
func play(t *testing.T, story func(s *stage), config ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, begin: time.Now(), serve: func(*Server) error { return nil }}
		c := Config{Handler: s, Logger: slog.New(slog.DiscardHandler)}
		for _, set := range config {
			set(&c)
		}
		s.layer = New(c)
		s.udp = s.flow(wire.UDP, "192.0.2.1:5060")
		s.tcp = s.flow(wire.TCP, "192.0.2.1:40000")
		story(s)
		s.layer.Close()
	})
}

func (s *stage) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%.3f ", time.Since(s.begin).Seconds())+fmt.Sprintf(format, args...))
}

func (s *stage) ServeSIP(tx *Server) error {
	s.note("tu %s", tx.Request.Method)
	if tx.Request.Method == "ACK" {
		return nil
	}
	s.tx = tx
	return s.serve(tx)
}

// ServeResponse and ServeFailure make the stage a User too.
func (s *stage) ServeResponse(_ *Client, res *wire.Response) { s.note("tu %d", res.StatusCode) }
func (s *stage) ServeFailure(_ *Client, err error)           { s.note("tu %s", err) }

// at sleeps until that second of the story.
func (s *stage) at(second float64) {
	time.Sleep(time.Duration(second*1000)*time.Millisecond - time.Since(s.begin))
	synctest.Wait()
}

// in gives the layer a request, out one from a user of ours.
func (s *stage) in(f *fakeFlow, req *wire.Request) {
	s.note("< %s", req.Method)
	s.layer.ReceiveRequest(f, req)
}

func (s *stage) inResponse(f *fakeFlow, res *wire.Response) {
	s.note("< %d", res.StatusCode)
	s.layer.ReceiveResponse(f, res)
}

func (s *stage) respond(code int, tag string) {
	s.tx.Owner().Do(func() { s.tx.Respond(wire.NewResponse(s.tx.Request, code, "", tag)) })
}

func (s *stage) start(f *fakeFlow, req *wire.Request) *Client {
	return s.layer.Start(nil, req, f, s)
}

// reply is a response to a request of ours as it comes back.
func reply(c *Client, code int, tag string) *wire.Response {
	return parse(nil, string(wire.Append(nil, wire.NewResponse(c.Request, code, "", tag)))).(*wire.Response)
}

// want compares what happened so far and forgets it.
func (s *stage) want(lines string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var want []string
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line != "" {
			want = append(want, line)
		}
	}
	if diff := cmp.Diff(want, s.lines); diff != "" {
		s.t.Errorf("(-want +got)\n%s", diff)
	}
	s.lines = nil
}

// alive checks how many transactions there are.
func (s *stage) alive(servers, clients int) {
	s.t.Helper()
	synctest.Wait()
	n := s.layer.Counts()
	if n.Servers != servers || n.Clients != clients {
		s.t.Errorf("%d server and %d client transactions alive, want %d and %d", n.Servers, n.Clients, servers, clients)
	}
}

// fakeFlow keeps what is sent on it.
type fakeFlow struct {
	s      *stage
	id     wire.FlowID
	err    error // of Send
	sent   []string
	closed []func(error)
}

func (s *stage) flow(p wire.Proto, remote string) *fakeFlow {
	return &fakeFlow{s: s, id: wire.FlowID{Proto: p, Local: netip.MustParseAddrPort("192.0.2.7:5060"), Remote: netip.MustParseAddrPort(remote)}}
}

func (f *fakeFlow) ID() wire.FlowID        { return f.id }
func (f *fakeFlow) SentBy() netip.AddrPort { return f.id.Local }

func (f *fakeFlow) Send(b []byte) error {
	f.s.mu.Lock()
	err := f.err
	f.s.mu.Unlock()
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(b), "\r\n")
	word := strings.Fields(line)
	if word[0] == "SIP/2.0" {
		f.s.note("> %s", word[1])
	} else {
		f.s.note("> %s", word[0])
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.sent = append(f.sent, string(b))
	return nil
}

// fail sets what Send returns.
func (f *fakeFlow) fail(err error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.err = err
}

func (f *fakeFlow) OnClose(fn func(error)) (stop func()) {
	i := len(f.closed)
	f.closed = append(f.closed, fn)
	return func() { f.closed[i] = nil }
}

// waiting counts the OnClose functions that were not stopped.
func (f *fakeFlow) waiting() (n int) {
	for _, fn := range f.closed {
		if fn != nil {
			n++
		}
	}
	return n
}

func (f *fakeFlow) close() {
	f.fail(transport.ErrClosed)
	for _, fn := range f.closed {
		if fn != nil {
			fn(errors.New("connection reset"))
		}
	}
}

func (f *fakeFlow) last() string { return f.sent[len(f.sent)-1] }

// request is alice's, with old, new pairs replaced.
func request(method string, replace ...string) *wire.Request {
	text := method + ` sip:bob@example.org SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa1
Max-Forwards: 70
From: Alice <sip:alice@example.org>;tag=a
To: Bob <sip:bob@example.org>
Call-ID: c1@192.0.2.1
CSeq: 1 ` + method + `
Content-Length: 0

`
	return parse(nil, strings.NewReplacer(append(replace, "\n", "\r\n")...).Replace(text)).(*wire.Request)
}

func parse(t testing.TB, text string) wire.Message {
	m, err := wire.Parse([]byte(text))
	if err != nil {
		if t != nil {
			t.Fatal(err)
		}
		panic(fmt.Sprintf("%v:\n%s", err, text))
	}
	return m
}
