package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; it is no measure of anything.
const patience = time.Minute

// heard is what a receiver got.
type heard struct {
	flow Flow
	req  *wire.Request
	res  *wire.Response
}

// recorder is a Receiver that keeps what it gets and may answer.
type recorder struct {
	heard  chan heard
	answer func(f Flow, req *wire.Request)

	unreachable chan string // "address method branch"
}

func (r *recorder) ReceiveRequest(f Flow, req *wire.Request) {
	if r.answer != nil {
		r.answer(f, req)
	}
	if r.heard != nil {
		r.heard <- heard{flow: f, req: req}
	}
}

func (r *recorder) ReceiveResponse(f Flow, res *wire.Response) {
	if r.heard != nil {
		r.heard <- heard{flow: f, res: res}
	}
}

func (r *recorder) ReceiveUnreachable(to netip.AddrPort, method, branch string) {
	if r.unreachable != nil {
		r.unreachable <- fmt.Sprint(to, " ", method, " ", branch)
	}
}

// next returns the next message.
func (r *recorder) next(t *testing.T) heard {
	t.Helper()
	select {
	case h := <-r.heard:
		return h
	case <-time.After(patience):
		t.Fatal("nothing was received")
		return heard{}
	}
}

// ok answers 200, and panics at the Call-ID "panic".
func ok(f Flow, req *wire.Request) {
	if req.CallID == "panic" {
		panic("on purpose")
	}
	if req.Method != "ACK" {
		_ = f.Send(wire.Append(nil, wire.NewResponse(req, 200, "", "")))
	}
}

// begin binds and starts a transport with a recorder that also answers 200.
func begin(t testing.TB, c Config, change ...func(*Transport)) (*Transport, *recorder) {
	t.Helper()
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range change {
		fn(tr)
	}
	r := &recorder{heard: make(chan heard, 1024), answer: ok}
	tr.Start(r)
	t.Cleanup(func() { end(t, tr) })
	return tr, r
}

func end(t testing.TB, tr *Transport) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := tr.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// addr is the i-th address the transport listens on.
func addr(tr *Transport, i int) netip.AddrPort { return tr.Addrs()[i].Addr }

// request is an OPTIONS with that Via and Call-ID.
func request(via, callID string) string {
	return "OPTIONS sip:example.org SIP/2.0\r\nVia: " + via + "\r\nFrom: <sip:alice@example.org>;tag=1\r\nTo: <sip:example.org>\r\n" +
		"Call-ID: " + callID + "\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
}

// phone is a UDP or TCP peer.
type phone struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dialPhone(t testing.TB, network string, to netip.AddrPort) *phone {
	t.Helper()
	c, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	return newPhone(t, c)
}

func newPhone(t testing.TB, c net.Conn) *phone {
	t.Cleanup(func() { c.Close() })
	return &phone{t: t, Conn: c, r: bufio.NewReaderSize(c, 1<<16)}
}

func (p *phone) local() netip.AddrPort {
	return netip.MustParseAddrPort(p.LocalAddr().String())
}

// via is a Via value that tells the phone's true address.
func (p *phone) via(params string) string {
	return fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bK%s", strings.ToUpper(p.LocalAddr().Network()), p.LocalAddr(), params)
}

func (p *phone) say(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.t.Fatal(err)
	}
}

// datagram reads one datagram.
func (p *phone) datagram() string {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, datagramSize)
	n, err := p.Read(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b[:n])
}

// message reads the head of one message from a stream; the messages here have no body.
func (p *phone) message() string {
	p.t.Helper()
	s, err := p.tryMessage()
	if err != nil {
		p.t.Fatalf("after %q: %v", s, err)
	}
	return s
}

func (p *phone) tryMessage() (string, error) {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	var s strings.Builder
	for !strings.HasSuffix(s.String(), "\r\n\r\n") {
		line, err := p.r.ReadString('\n')
		s.WriteString(line)
		if err != nil {
			return s.String(), err
		}
	}
	return s.String(), nil
}

// closed waits for the server to close, and fails if it says something first.
func (p *phone) closed() {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(p.r)
	if ne, isNet := err.(net.Error); isNet && ne.Timeout() {
		p.t.Fatal("the connection is still open")
	}
	if len(b) > 0 {
		p.t.Fatalf("got %q instead of the end", b)
	}
}

// callID reads the Call-ID of a message.
func callID(s string) string {
	_, s, _ = strings.Cut(s, "Call-ID: ")
	s, _, _ = strings.Cut(s, "\r\n")
	return s
}

// status reads the status code of a response.
func status(s string) string {
	if !strings.HasPrefix(s, "SIP/2.0 ") {
		return s
	}
	return s[8:11]
}

func parseRequest(t testing.TB, s string) *wire.Request {
	t.Helper()
	m, err := wire.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*wire.Request)
}
