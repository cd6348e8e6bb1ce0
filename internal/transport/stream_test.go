package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signalbox/internal/wire"
)

// RFC 3261, 18.2.2: the response comes over the connection of the request; RFC 3261, 18.3: messages are framed by Content-Length, however they are cut.
func TestTCPRequest(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0", "[::1]:0"}})
	for i := range tr.Addrs() {
		p := dialPhone(t, "tcp", addr(tr, i))
		p.say(request("SIP/2.0/TCP phone.invalid;branch=z9hG4bK1;rport", "1") + request(p.via(""), "2"))
		for _, id := range []string{"1", "2"} {
			if got := p.message(); status(got) != "200" || callID(got) != id {
				t.Errorf("got %q", got)
			}
		}
		h := r.next(t)
		r.next(t)
		if h.req.Via.Received != p.local().Addr().String() || h.req.Via.RPort != int(p.local().Port()) {
			t.Errorf("Via %s", h.req.Via.Raw)
		}
		id := h.flow.ID()
		if id.Proto != wire.TCP || id.Local != addr(tr, i) || id.Remote != p.local() || id.Serial == 0 {
			t.Errorf("flow %v", id)
		}
		if f, ok := tr.Find(id); !ok || f != h.flow {
			t.Error("Find does not find the flow")
		}
		if by := h.flow.SentBy(); by != addr(tr, i) {
			t.Errorf("sent-by %s", by)
		}
		for _, c := range []byte(request(p.via(""), "3")) {
			p.say(string(c))
		}
		if got := p.message(); callID(got) != "3" {
			t.Errorf("got %q", got)
		}
		r.next(t)
	}
}

// RFC 5626, 4.4.1: CRLFCRLF between messages is answered with CRLF, in its place among the answers.
func TestPing(t *testing.T) {
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "tcp", addr(tr, 0))
	read := func(want string) {
		t.Helper()
		_ = p.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, len(want))
		if _, err := io.ReadFull(p.r, b); err != nil || string(b) != want {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	p.say("\r\n\r\n")
	read("\r\n")
	p.say("\r\n")
	p.say("\r\n")
	read("\r\n")
	p.say(request(p.via(""), "1") + "\r\n\r\n" + request(p.via(""), "2"))
	if got := p.message(); callID(got) != "1" {
		t.Errorf("got %q", got)
	}
	read("\r\n")
	if got := p.message(); callID(got) != "2" {
		t.Errorf("got %q", got)
	}
	// A flood of pings gets a bounded answer.
	p.say(strings.Repeat("\r\n\r\n", 1000) + request(p.via(""), "3"))
	got := p.message()
	for strings.Trim(got, "\r\n") == "" {
		got = p.message()
	}
	if callID(got) != "3" {
		t.Errorf("got %q", got)
	}
}

// A message that is framed but cannot be parsed gets its answer, and the connection goes on.
func TestTCPUnparsable(t *testing.T) {
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "tcp", addr(tr, 0))
	good := request(p.via(""), "1")
	p.say(strings.Replace(good, "CSeq: 1", "CSeq: x", 1))
	if got := p.message(); status(got) != "400" {
		t.Errorf("got %q", got)
	}
	p.say(strings.Replace(good, "SIP/2.0\r\n", "SIP/7.0\r\n", 1))
	if got := p.message(); status(got) != "505" {
		t.Errorf("got %q", got)
	}
	p.say(strings.ReplaceAll(strings.Replace(good, "CSeq: 1", "CSeq: x", 1), "OPTIONS", "ACK")) // never answered
	p.say(good)
	if got := p.message(); status(got) != "200" {
		t.Errorf("got %q", got)
	}
}

// Who does not speak SIP is shown the door.
func TestTCPNotSIP(t *testing.T) {
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	for _, s := range []string{"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "\x16\x03\x01\x00\x05hello\r\n\r\n", "x\nContent-Length: 0\r\n\r\n"} {
		p := dialPhone(t, "tcp", addr(tr, 0))
		p.say(s)
		p.closed()
	}
}

// A panic costs the connection it happened on, and no other.
func TestTCPPanic(t *testing.T) {
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	p, other := dialPhone(t, "tcp", addr(tr, 0)), dialPhone(t, "tcp", addr(tr, 0))
	other.say(request(other.via(""), "1"))
	other.message()
	p.say(request(p.via(""), "panic"))
	p.closed()
	other.say(request(other.via(""), "2"))
	if got := other.message(); callID(got) != "2" {
		t.Errorf("got %q", got)
	}
}

// OnClose tells the reason once, whoever ends the connection; what was stopped is not told.
func TestOnClose(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "tcp", addr(tr, 0))
	p.say(request(p.via(""), "1"))
	p.message()
	f := r.next(t).flow
	f.OnClose(func(error) { panic("on purpose") }) // costs nobody else
	told := make(chan error, 10)
	for range 3 {
		stop := f.OnClose(func(error) { t.Error("told though stopped") })
		f.OnClose(func(err error) { told <- err })
		stop()
		stop() // harmless
	}
	c := f.(*conn)
	c.mu.Lock()
	if n := len(c.hooks.fns); n != 5 {
		t.Errorf("%d places for 4 hooks and 1 free", n)
	}
	c.mu.Unlock()
	p.Close()
	for range 3 {
		if err := <-told; !errors.Is(err, io.EOF) {
			t.Errorf("told %v", err)
		}
	}
	f.OnClose(func(err error) { told <- err })
	if err := <-told; !errors.Is(err, io.EOF) {
		t.Errorf("a dead flow tells %v", err)
	}
	if err := f.Send([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("Send on a dead flow: %v", err)
	}
	if _, ok := tr.Find(f.ID()); ok {
		t.Error("a dead flow is found")
	}
}

// A peer that does not read blocks nobody: its backlog is bounded, then it is closed.
func TestSlowReader(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "tcp", addr(tr, 0))
	_ = p.Conn.(*net.TCPConn).SetReadBuffer(1 << 12)
	p.say(request(p.via(""), "1"))
	f := r.next(t).flow
	told := make(chan error, 1)
	f.OnClose(func(err error) { told <- err })
	b := make([]byte, 1<<16)
	var err error
	for range 1000 { // 64 MB: far beyond what the kernel takes
		if err = f.Send(b); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("Send: %v, want ErrFull", err)
	}
	if err := <-told; !errors.Is(err, ErrFull) {
		t.Errorf("told %v", err)
	}
	other := dialPhone(t, "tcp", addr(tr, 0))
	other.say(request(other.via(""), "2"))
	other.message()
}

// What the kernel does not take at once arrives in order nevertheless.
func TestBacklogKeepsOrder(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "tcp", addr(tr, 0))
	p.say(request(p.via(""), "1"))
	f := r.next(t).flow
	p.message()
	_ = f.(*conn).out.Conn.(*net.TCPConn).SetWriteBuffer(1 << 12)
	const n = 20_000
	go func() {
		for i := range n {
			for {
				err := f.Send(fmt.Appendf(nil, "%099d\n", i))
				if err == nil {
					break
				}
				t.Error(err)
				return
			}
			if i%1000 == 0 {
				<-r.heard // in step with the reader, so that the backlog is never full
			}
		}
	}()
	for i := range n {
		if i%1000 == 0 {
			r.heard <- heard{}
		}
		_ = p.SetReadDeadline(time.Now().Add(patience))
		line, err := p.r.ReadString('\n')
		if err != nil || line != fmt.Sprintf("%099d\n", i) {
			t.Fatalf("line %d: %q, %v", i, line, err)
		}
	}
}

// Close lets what is queued go out, then ends everything; nobody gets in any more.
func TestClose(t *testing.T) {
	tr, err := New(Config{TCP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{heard: make(chan heard, 1)}
	tr.Start(r)
	p := dialPhone(t, "tcp", addr(tr, 0))
	p.say(request(p.via(""), "1"))
	f := r.next(t).flow
	told := make(chan error, 1)
	f.OnClose(func(err error) { told <- err })
	const size = 200_000
	if err := f.Send(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- tr.Close(context.Background()) }()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	if n, _ := io.Copy(io.Discard, p.r); n != size {
		t.Errorf("%d bytes came", n)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := <-told; !errors.Is(err, ErrClosed) {
		t.Errorf("told %v", err)
	}
	if c, err := net.Dial("tcp", addr(tr, 0).String()); err == nil {
		c.Close()
		t.Error("still listening")
	}
}

// RFC 3261, 18.1.1: one connection to an address is opened and used again; messages wait for it.
func TestDialTCP(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := wire.Hop{Proto: wire.TCP, Addr: netip.MustParseAddrPort(l.Addr().String())}
	f, err := tr.Dial(to)
	if err != nil {
		t.Fatal(err)
	}
	if by := f.SentBy(); by != addr(tr, 0) {
		t.Errorf("sent-by %s, want where we listen", by)
	}
	for _, id := range []string{"1", "2"} {
		if err := f.Send([]byte(request("SIP/2.0/TCP "+f.SentBy().String()+";branch=z9hG4bK1", id))); err != nil {
			t.Fatal(err)
		}
	}
	again, err := tr.Dial(to)
	if err != nil || again != f {
		t.Errorf("not used again: %v, %v", again, err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := newPhone(t, c)
	for _, id := range []string{"1", "2"} {
		if got := p.message(); callID(got) != id {
			t.Errorf("got %q", got)
		}
	}
	if found, ok := tr.Find(f.ID()); !ok || found != f {
		t.Error("not found")
	}
	// RFC 3261, 18.1.2: the response comes back on it, with our sent-by.
	p.say("SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP " + f.SentBy().String() + ";branch=z9hG4bK1\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>;tag=2\r\n" +
		"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	if h := r.next(t); h.res == nil || h.flow != f {
		t.Errorf("got %+v", h)
	}
	told := make(chan error, 1)
	f.OnClose(func(err error) { told <- err })
	p.Close()
	<-told
	if next, err := tr.Dial(to); err != nil || next == f {
		t.Errorf("a dead connection is used again: %v", err)
	}
}

// hardening 56: a closed port tells through OnClose, with what was queued lost; the next try is a new one.
func TestDialRefused(t *testing.T) {
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := wire.Hop{Proto: wire.TCP, Addr: netip.MustParseAddrPort(l.Addr().String())}
	l.Close()
	for range 3 {
		f, err := tr.Dial(to)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Send([]byte("x"))
		told := make(chan error, 1)
		f.OnClose(func(err error) { told <- err })
		if err := <-told; !errors.Is(err, unix.ECONNREFUSED) || !errors.Is(err, ErrConnect) {
			t.Errorf("told %v", err)
		}
	}
}

// hardening 56: a peer that accepts nothing is given up after the connect timeout, and what may wait for it is bounded.
func TestDialBlackHole(t *testing.T) {
	tr, _ := begin(t, Config{TLS: []string{"127.0.0.1:0"}, Certificate: testCA(t).Certificate}, func(tr *Transport) { tr.times.connect = 50 * time.Millisecond })
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel alone, and never shakes hands
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := tr.Dial(wire.Hop{Proto: wire.TLS, Addr: netip.MustParseAddrPort(l.Addr().String())})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	f.OnClose(func(err error) { told <- err })
	for err == nil {
		err = f.Send(make([]byte, 1<<16))
	}
	if !errors.Is(err, ErrFull) && !errors.Is(err, ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	if err := <-told; !errors.Is(err, errHandshake) {
		t.Errorf("told %v", err)
	}
}

// figure 15: TCP itself finds a peer that vanished, within 95 s.
func TestKeepAliveOptions(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "tcp", addr(tr, 0))
	p.say(request(p.via(""), "1"))
	c := r.next(t).flow.(*conn)
	var on, idle, interval, count, user int
	err := control(c.out.raw, func(fd int) (err error) {
		get := func(level, opt int) int {
			v, e := unix.GetsockoptInt(fd, level, opt)
			err = errors.Join(err, e)
			return v
		}
		on, idle, interval = get(unix.SOL_SOCKET, unix.SO_KEEPALIVE), get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
		count, user = get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT), get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		return err
	})
	if err != nil || on == 0 || idle+interval*count > 95 || user > 95_000 || user == 0 {
		t.Errorf("keep-alive %d: %d + %d*%d s, user timeout %d ms, %v", on, idle, interval, count, user, err)
	}
}
