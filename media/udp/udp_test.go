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
		l, err := Listen(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		first := l.Port() &^ 1
		l.Close()
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
	p, err := NewPoller()
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
func TestListenIsExclusive(t *testing.T) {
	l, err := Listen(0, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if other, err := Listen(l.Port(), 1); err == nil {
		other.Close()
		t.Error("the port is shared with another program")
	}
}

// Datagrams come whole, with their sender, in batches or one by one, and can be answered; what is too long does not come.
func TestDatagrams(t *testing.T) {
	type datagram struct {
		text string
		from netip.AddrPort
	}
	l, err := Listen(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	came, back := make(chan datagram, 200), make(chan datagram, 200)
	err = l.Start(func(int) Handler {
		return func(b []byte, from netip.AddrPort) {
			came <- datagram{string(b), from}
			l.Socket().Send(append(b, '!'), l.Socket().Addr(from))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(0, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(s, func(b []byte, from netip.AddrPort) { back <- datagram{string(b), from} }); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		to := s.Addr(netip.AddrPortFrom(netip.MustParseAddr(host), l.Port()))
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
			if d := <-back; d.text != "hello!" || d.from.Port() != l.Port() {
				t.Fatalf("%+v", d)
			}
		}
	}
}
