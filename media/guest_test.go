package media

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// A guest hears whom it has answered, and nobody else; what it does not read is lost; and nothing of it is left when it has gone. hardening 64, 66
func TestGuest(t *testing.T) {
	e := newEngine(t)
	g := e.NewGuest(loopback)
	addrs := g.GetListenAddresses()
	if len(addrs) == 0 || addrs[0].String() != netip.AddrPortFrom(loopback, e.WebRTC()).String() {
		t.Fatalf("%v", addrs)
	}
	conn, err := g.GetConn("abcd", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	if again, err := g.GetConn("abcd", addrs[0]); err != nil || again != conn {
		t.Error("two places of one family")
	}
	if _, err := g.GetConn("efgh", addrs[0]); err == nil {
		t.Error("two agents in one place")
	}
	page, stranger := dialGuest(t, addrs[0]), dialGuest(t, addrs[0])
	if _, err := conn.WriteTo([]byte("hello"), page.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	_ = page.SetReadDeadline(time.Now().Add(patience))
	if n, err := page.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	for range 2 * guestQueue {
		_, _ = stranger.Write([]byte("\x16stranger"))
	}
	_, _ = page.Write([]byte("\x16page"))
	n, from, err := conn.ReadFrom(b)
	if err != nil || string(b[:n]) != "\x16page" || from.String() != page.LocalAddr().String() {
		t.Errorf("%q from %v, %v", b[:n], from, err)
	}
	at := netip.MustParseAddrPort(page.LocalAddr().String())
	for range 2 * guestQueue {
		e.guests.receive([]byte("\x16flood"), at) // never waits
	}
	e.guests.check([]byte("check"), []byte("nobody"), at)
	if n := len(conn.(*guestConn).packets); n != guestQueue {
		t.Errorf("%d packets wait", n)
	}
	for i := range byte(2 * maxPlaces) {
		_, err = conn.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 9, 9, i + 1}), 9)))
	}
	if err == nil || len(e.guests.byAddr) != maxPlaces {
		t.Errorf("%d addresses, %v", len(e.guests.byAddr), err)
	}
	_ = g.Close()
	g.RemoveConnByUfrag("abcd")
	for err = nil; err == nil; { // what waits may be read
		_, _, err = conn.ReadFrom(b)
	}
	if !errors.Is(err, net.ErrClosed) || len(e.guests.byAddr) != 0 || len(e.guests.byUfrag) != 0 || e.guests.n.Load() != 0 {
		t.Errorf("%v; left: %d addresses, %d names", err, len(e.guests.byAddr), len(e.guests.byUfrag))
	}
	if _, err := conn.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.9.9.9:10"))); err == nil {
		t.Error("a guest that has gone writes to somebody new")
	}
}

func dialGuest(t *testing.T, to net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
