package udp

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		text        string
		first, last uint16
		pairs       int
	}{
		{"20000-20099", 20000, 20099, 50}, {"20001-20004", 20002, 20004, 1}, {" 1024 - 1025 ", 1024, 1025, 1},
		{"20000", 0, 0, 0}, {"20000-20000", 0, 0, 0}, {"20001-20002", 0, 0, 0}, {"80-90", 0, 0, 0}, {"20000-70000", 0, 0, 0}, {"b-a", 0, 0, 0},
	} {
		r, err := ParseRange(tt.text)
		if (err == nil) != (tt.pairs > 0) || err == nil && (r.First != tt.first || r.Last != tt.last || r.Pairs() != tt.pairs) {
			t.Errorf("%q: %+v, %v", tt.text, r, err)
		}
	}
}

// free is a range of n pairs that nobody uses.
func free(t *testing.T, n int) Range {
	t.Helper()
	for range 50 {
		s, err := open(0, false)
		if err != nil {
			t.Fatal(err)
		}
		first := s.Port() &^ 1
		s.Close()
		r := Range{First: first, Last: first + uint16(2*n) - 1}
		all := true
		for port := r.First; port <= r.Last; port++ {
			if s, err := open(port, false); err == nil {
				_ = unix.Close(s.fd)
			} else {
				all = false
			}
		}
		if all {
			return r
		}
	}
	t.Fatal("no free ports")
	return Range{}
}

// RFC 3550, 11: an even port and the next one; when all are taken, that is the error; a port that is left can be had again at once.
func TestPool(t *testing.T) {
	p, err := NewPoller(fail(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pool := Pool{Range: free(t, 3)}
	var last *Socket
	for range 3 {
		rtp, rtcp, err := pool.Open()
		if err != nil {
			t.Fatal(err)
		}
		if rtp.Port()%2 != 0 || rtcp.Port() != rtp.Port()+1 {
			t.Errorf("ports %d and %d", rtp.Port(), rtcp.Port())
		}
		for _, s := range []*Socket{rtp, rtcp} {
			if err := p.Add(s, func([]byte, netip.AddrPort) {}); err != nil {
				t.Fatal(err)
			}
		}
		if last != nil {
			continue
		}
		last = rtp
		defer func() { p.Remove(rtcp) }()
	}
	if _, _, err := pool.Open(); !errors.Is(err, ErrNoPorts) {
		t.Errorf("a fourth pair: %v", err)
	}
	p.Remove(last)
	s, err := open(last.Port(), false)
	if err != nil {
		t.Fatalf("a port that was left: %v", err)
	}
	_ = unix.Close(s.fd)
	if last.Send([]byte("x"), s.Addr(netip.MustParseAddrPort("127.0.0.1:9"))) {
		t.Error("a socket that was left still sends")
	}
	if p.Len() != 5 {
		t.Errorf("%d sockets", p.Len())
	}
	p.Sweep(time.Now().Add(time.Hour))
}

// Two programs must not share a port, each with half of the packets; the readers of one do.
func TestSharedIsExclusive(t *testing.T) {
	list, err := BindShared(netip.AddrPort{}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := BindShared(netip.AddrPortFrom(netip.Addr{}, list[0].Port()), 1); err == nil {
		other[0].Close()
		t.Error("the port is shared with another program")
	}
	for _, s := range list {
		s.Close()
	}
}

// Datagrams come whole, with their sender, in batches or one by one, and can be answered; what is too long does not come.
func TestDatagrams(t *testing.T) {
	type datagram struct {
		text string
		from netip.AddrPort
	}
	p, err := NewPoller(fail(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	came, back := make(chan datagram, 200), make(chan datagram, 200)
	shared, err := BindShared(netip.AddrPort{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range shared {
		err := p.AddBusy(l, func(b []byte, from netip.AddrPort) {
			came <- datagram{string(b), from}
			l.Send(append(b, '!'), l.Addr(from))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := open(0, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(s, func(b []byte, from netip.AddrPort) { back <- datagram{string(b), from} }); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		to := s.Addr(netip.AddrPortFrom(netip.MustParseAddr(host), shared[0].Port()))
		if !s.Send(make([]byte, Room+1), to) {
			t.Skipf("SKIPPED: no %s", host)
		}
		for range 40 {
			s.Send([]byte("hello"), to)
		}
		for range 40 {
			if d := <-came; d.text != "hello" || d.from.Addr().String() != host || d.from.Port() != s.Port() {
				t.Fatalf("%+v", d)
			}
			if d := <-back; d.text != "hello!" || d.from.Port() != shared[0].Port() {
				t.Fatalf("%+v", d)
			}
		}
	}
}

// fail is for handlers that do not panic.
func fail(t *testing.T) func(any, netip.AddrPort) {
	return func(v any, from netip.AddrPort) { t.Errorf("panic about a datagram of %v: %v", from, v) }
}

// hardening 16: a panic costs the datagram that brought it, 1,000 times.
func TestPanic(t *testing.T) {
	panics := make(chan netip.AddrPort)
	p, err := NewPoller(func(_ any, from netip.AddrPort) { panics <- from })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	came := make(chan string)
	for _, add := range []func(*Socket, Handler) error{p.Add, p.AddBusy} {
		s, err := open(0, false)
		if err != nil {
			t.Fatal(err)
		}
		err = add(s, func(b []byte, _ netip.AddrPort) {
			if string(b) == "bad" {
				panic("bad")
			}
			came <- string(b)
		})
		if err != nil {
			t.Fatal(err)
		}
		to := s.Addr(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.Port()))
		for range 1000 {
			s.Send([]byte("bad"), to)
			s.Send([]byte("good"), to)
			if from := <-panics; from.Port() != s.Port() {
				t.Fatalf("a panic about %v", from)
			}
			if text := <-came; text != "good" {
				t.Fatalf("%q came", text)
			}
		}
	}
}

// What did not arrive is told of to a handler that wants to know, and hinders no other datagram; one that may not be fragmented is not sent where it does not fit. RFC 1191, 4; RFC 4443, 3.2
func TestUndelivered(t *testing.T) {
	p, err := NewPoller(fail(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, host := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		s, err := Bind(netip.AddrPortFrom(host, 0))
		if err != nil {
			t.Skipf("SKIPPED: no %v", host)
		}
		gone, err := Bind(netip.AddrPortFrom(host, 0))
		if err != nil {
			t.Fatal(err)
		}
		nowhere := netip.AddrPortFrom(host, gone.Port())
		gone.Close()
		lost, came := make(chan Undelivered, 10), make(chan string, 10)
		if err := p.AddReporting(s, func(b []byte, _ netip.AddrPort) { came <- string(b) }, func(u Undelivered) { lost <- u }); err != nil {
			t.Fatal(err)
		}
		self := s.Addr(netip.AddrPortFrom(host, s.Port()))
		want := Undelivered{To: nowhere, Type: 3, Code: 3}
		if host.Is6() {
			want.Type, want.Code = 1, 4
		}
		for range 10 {
			if !s.Send([]byte("lost"), s.Addr(nowhere)) || !s.Send([]byte("sent"), self) {
				t.Fatal("not sent")
			}
			if u := <-lost; u != want {
				t.Errorf("%+v, want %+v", u, want)
			}
			if text := <-came; text != "sent" {
				t.Errorf("%q came", text)
			}
		}
		if !s.SendWhole([]byte("whole"), self) {
			t.Error("not sent whole")
		}
		if text := <-came; text != "whole" {
			t.Errorf("%q came", text)
		}
		if host.Is4() {
			continue // no datagram is larger than loopback takes
		}
		large := make([]byte, 65_520)
		if !s.Send(large, s.Addr(nowhere)) {
			t.Error("a datagram in fragments is not sent")
		}
		<-lost
		if s.SendWhole(large, s.Addr(nowhere)) {
			t.Error("a datagram is sent whole that does not fit")
		}
		if u := <-lost; u.Type != 2 || u.Code != 0 || u.MTU == 0 {
			t.Errorf("too large: %+v", u)
		}
	}
}
