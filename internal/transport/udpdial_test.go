package transport

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"signalbox/internal/wire"
)

// An address in use is an error that names it, even if both sides would share it (SO_REUSEPORT), and nothing stays bound.
func TestAddressInUse(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}, TCP: []string{"127.0.0.1:0"}})
	for i, c := range []Config{
		{UDP: []string{"127.0.0.1:0", addr(tr, 0).String()}},
		{UDP: []string{"127.0.0.1:0"}, TCP: []string{addr(tr, 1).String()}},
	} {
		_, err := New(c)
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr(tr, i).String()) {
			t.Errorf("got %v", err)
		}
	}
}

// All sockets of a listener take part: the kernel spreads sources over them.
func TestUDPSocketsShare(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(6)) // three sockets
	tr, err := New(Config{UDP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer end(t, tr)
	for range 64 {
		dialPhone(t, "udp", addr(tr, 0)).say("x")
	}
	if n := len(tr.udp[0].sockets); n != 3 {
		t.Errorf("%d sockets", n)
	}
	for i, s := range tr.udp[0].sockets {
		batch, got := newRecvBatch(false), 0
		_ = s.fd.readable.SetReadDeadline(time.Now().Add(patience))
		err := s.fd.wait.Read(func(uintptr) bool {
			_ = s.fd.raw.Control(func(fd uintptr) { got, _ = batch.recv(fd) })
			return got > 0
		})
		if err != nil {
			t.Errorf("socket %d got nothing of 64 sources: %v", i, err)
		}
	}
}

// IsLocal and sent-by on all kinds of listeners; hardening 41: our own address in any spelling is recognised.
func TestIsLocal(t *testing.T) {
	tr, err := New(Config{UDP: []string{"0.0.0.0:0"}, TCP: []string{"[::1]:0"}, Advertise: []netip.Addr{netip.MustParseAddr("198.51.100.7")}})
	if err != nil {
		t.Fatal(err)
	}
	defer end(t, tr)
	udp, tcp := int(addr(tr, 0).Port()), int(addr(tr, 1).Port())
	for _, tt := range []struct {
		host string
		port int
		want bool
	}{
		{"127.0.0.1", udp, true}, {"127.9.9.9", udp, true}, {"0.0.0.0", udp, true}, {"::ffff:127.0.0.1", udp, true}, {"localhost", udp, true},
		{"127.0.0.1", 0, true}, {"127.0.0.1", udp + 1, false}, {"127.0.0.1", -1, false}, {"127.0.0.1", 1 << 16, false},
		{"198.51.100.7", udp, true}, {"198.51.100.8", udp, false},
		{"::1", tcp, true}, {"::", tcp, true}, {"::1", tcp + 1, false}, {"2001:db8::1", tcp, false},
		{"example.org", udp, false}, {"", udp, false},
	} {
		if got := tr.IsLocal(tt.host, tt.port); got != tt.want {
			t.Errorf("IsLocal(%q, %d) = %v", tt.host, tt.port, got)
		}
	}
	if by := tr.sentBy(netip.MustParseAddrPort("192.0.2.1:5060")); by != netip.MustParseAddrPort("198.51.100.7:5060") {
		t.Errorf("sent-by %s behind NAT", by)
	}
	if by := tr.sentBy(netip.MustParseAddrPort("127.0.0.1:5060")); by != netip.MustParseAddrPort("127.0.0.1:5060") {
		t.Errorf("sent-by %s on loopback", by)
	}
}

// Dial over UDP takes the listener that packets to the hop would leave from, and none that could not reach it.
func TestDialUDP(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0", "[::1]:0"}})
	for i, network := range []string{"127.0.0.1:0", "[::1]:0"} {
		pc, err := net.ListenPacket("udp", network)
		if err != nil {
			t.Fatal(err)
		}
		p := newPhone(t, pc.(net.Conn))
		f, err := tr.Dial(wire.Hop{Proto: wire.UDP, Addr: p.local()})
		if err != nil {
			t.Fatal(err)
		}
		if f.ID().Local != addr(tr, i) || f.ID().Remote != p.local() {
			t.Errorf("flow %v", f.ID())
		}
		if err := f.Send([]byte("hello")); err != nil || p.datagram() != "hello" {
			t.Error("not delivered", err)
		}
	}
	for _, h := range []wire.Hop{hop(wire.UDP, "192.0.2.1:5060", ""), hop(wire.UDP, "[2001:db8::1]:5060", ""), hop(wire.TCP, "127.0.0.1:5060", ""), hop(wire.WS, "127.0.0.1:80", "")} {
		if f, err := tr.Dial(h); err == nil {
			t.Errorf("%v: dialled as %v", h, f.ID())
		}
	}
	if _, err := tr.Dial(wire.Hop{Proto: wire.UDP}); err == nil {
		t.Error("dialled nothing")
	}
}

// A wildcard listener tells which address of ours it sends from before it sends.
func TestDialUDPWildcard(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{":0"}})
	f, err := tr.Dial(hop(wire.UDP, "127.0.0.3:9", ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.ID().Local; got.Addr() != netip.MustParseAddr("127.0.0.1") || got.Port() != addr(tr, 0).Port() {
		t.Errorf("local %s", got)
	}
	again, err := tr.Dial(hop(wire.UDP, "127.0.0.3:9", ""))
	if err != nil || again != f {
		t.Error("dialling again makes another flow", err)
	}
}
