package turn

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"signalbox/media/udp"
)

// Nothing passes a permission or a channel whose time is over, and nothing that passes prolongs it. RFC 8656, 9; RFC 8656, 11.2; RFC 8656, 11.3;
// RFC 8656, 12.6; RFC 8656, 12.7; RFC 8656, 3.2
func TestExpiry(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := signedIn(t, s, "alice", "secret")
	relay := r.allocate()
	a := s.all()[0]
	peerSocket, at := quietSocket(t, "127.0.0.1")
	toRelay := func(text string) {
		t.Helper()
		if _, err := peerSocket.WriteToUDPAddrPort([]byte(text), relay); err != nil {
			t.Fatal(err)
		}
	}
	send := func(text string) {
		t.Helper()
		m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer{at.IP, at.Port}, attribute{stun.AttrData, []byte(text)})
		r.send(m.Raw)
	}
	arrives := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		_ = peerSocket.SetReadDeadline(time.Now().Add(30 * time.Second))
		if n, _, err := peerSocket.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != want {
			t.Fatalf("%q, %v; want %q", b[:n], err, want)
		}
	}
	send("nobody may yet")
	if m := r.ask(stun.MethodCreatePermission, peer{at.IP, 0}); code(m) != 0 {
		t.Fatal(m)
	}
	send("by permission")
	arrives("by permission")
	toRelay("back")
	if m := r.receive(); m.Type.Value() != dataIndication || !bytes.Equal(attributeOf(m, stun.AttrData), []byte("back")) {
		t.Errorf("from the peer: %v", m)
	}
	now := int64(s.clock.now())
	p := load(&a.permissions)[0]
	if left := time.Duration(p.until.Load() - now); left > permissionLife || left < permissionLife-time.Minute {
		t.Errorf("a permission lives %v", left)
	}
	p.until.Store(now)
	send("too late")
	toRelay("too late as well")
	// What the other one sends afterwards arrives first.
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if m := r.ask(stun.MethodCreatePermission, peer{net.IPv4(127, 0, 0, 2).To4(), 0}); code(m) != 0 {
		t.Fatal(m)
	}
	passes := func(what string) {
		t.Helper()
		if _, err := other.WriteToUDPAddrPort([]byte("now"), relay); err != nil {
			t.Fatal(err)
		}
		if m := r.receive(); !bytes.Equal(attributeOf(m, stun.AttrData), []byte("now")) {
			t.Errorf("%s: %v", what, m)
		}
	}
	passes("without a permission")
	if m := r.ask(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x40, 0, 0, 0}}, peer{at.IP, at.Port}); code(m) != 0 {
		t.Fatal(m) // and nothing came before it
	}
	c := load(&a.channels)[0]
	r.send([]byte{0x40, 0, 0, 1, 'a', 0, 0, 0})
	arrives("a")
	r.send([]byte{0x40, 0, 0, 0}) // RFC 8656, 12.6: a datagram of nothing is one
	arrives("")
	c.permission.until.Store(now)
	toRelay("without a permission")
	passes("on a channel without a permission")
	c.until.Store(now)
	r.send([]byte{0x40, 0, 0, 1, 'b', 0, 0, 0})
	if m := r.ask(stun.MethodCreatePermission, peer{at.IP, 0}); code(m) != 0 {
		t.Fatal(m)
	}
	send("the last")
	arrives("the last")
	toRelay("by indication")
	if m := r.receive(); !bytes.Equal(attributeOf(m, stun.AttrData), []byte("by indication")) {
		t.Errorf("from the peer, when the channel has ended: %v", m)
	}
	a.relays[0].until.Store(now)
	a.expire(s.clock.now())
	if s.Active() != 0 {
		t.Error("an allocation does not end")
	}
	if m := r.ask(stun.MethodRefresh); code(m) != 437 {
		t.Errorf("after its end: %v", m)
	}
}

// A datagram that does not arrive is told of to the client that sent it, with a permission and not without, whether by indication or on a channel; one that may not be
// fragmented is taken and sent. RFC 8656, 7.2 step 4; RFC 8656, 11.2; RFC 8656, 11.5; RFC 8656, 18.9; RFC 8656, 18.13
func TestUndelivered(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := signedIn(t, s, "alice", "secret")
	if m := r.ask(stun.MethodAllocate, udpTransport, attribute{stun.AttrDontFragment, nil}); code(m) != 0 {
		t.Fatal(m)
	}
	there, at := quietSocket(t, "127.0.0.1")
	if m := r.ask(stun.MethodCreatePermission, peer{at.IP, 0}); code(m) != 0 {
		t.Fatal(m)
	}
	send := func(attributes ...stun.Setter) {
		t.Helper()
		r.send(stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication)}, attributes...)...).Raw)
	}
	data := attribute{stun.AttrData, []byte("hello")}
	send(peer{at.IP, at.Port}, attribute{stun.AttrDontFragment, nil}, data)
	b := make([]byte, 100)
	_ = there.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, _, err := there.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	there.Close()
	told := func(how string) {
		t.Helper()
		m := r.receive()
		var a stun.XORMappedAddress
		if m.Type.Value() != dataIndication || a.GetFromAs(m, stun.AttrXORPeerAddress) != nil || !a.IP.Equal(at.IP) || a.Port != at.Port || m.Contains(stun.AttrData) ||
			!bytes.Equal(attributeOf(m, attrICMP), []byte{0, 0, 3, 3, 0, 0, 0, 0}) { // port unreachable. RFC 792
			t.Errorf("%s: %v", how, m)
		}
	}
	send(peer{at.IP, at.Port}, data)
	told("by indication")
	if m := r.ask(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x40, 0, 0, 0}}, peer{at.IP, at.Port}); code(m) != 0 {
		t.Fatal(m)
	}
	r.send([]byte{0x40, 0, 0, 1, 'a', 0, 0, 0})
	told("on a channel")
	relay := s.all()[0].relays[0]
	for name, u := range map[string]udp.Undelivered{
		"a stranger":                      {To: netip.MustParseAddrPort("127.0.0.2:9"), Type: 3, Code: 3},
		"what is no error of a datagram":  {To: netip.AddrPortFrom(loopback, uint16(at.Port)), Type: 5},
		"what ICMPv6 says, where IPv4 is": {To: netip.AddrPortFrom(loopback, uint16(at.Port)), Type: 1},
	} {
		relay.lost(u)
		if m := r.ask(stun.MethodBinding); m.Type.Method != stun.MethodBinding { // what was told comes first
			t.Errorf("%s: %v", name, m)
		}
	}
	relay.lost(udp.Undelivered{To: netip.AddrPortFrom(loopback, 9), Type: 3, Code: 4, MTU: 1280})
	if m := r.receive(); !bytes.Equal(attributeOf(m, attrICMP), []byte{0, 0, 3, 4, 0, 0, 5, 0}) {
		t.Errorf("too large: %v", m)
	}
}

func attributeOf(m *stun.Message, of stun.AttrType) []byte {
	v, _ := m.Get(of)
	return v
}

// A channel has one peer, and a peer one channel; there are so many and no more. RFC 8656, 12; RFC 8656, 12.2; RFC 8656, 10.2
func TestChannels(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := signedIn(t, s, "alice", "secret")
	r.allocate()
	bind := func(channel, port int) int {
		t.Helper()
		return code(r.ask(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{byte(channel >> 8), byte(channel), 0, 0}}, peer{net.IPv4(127, 0, 0, 1), port}))
	}
	for i, want := range []struct{ channel, port, code int }{
		{0x4000, 9, 0}, {0x4000, 9, 0}, {0x4000, 10, 400}, {0x4001, 9, 400}, {0x7FFF, 10, 0}, {0x3FFF, 11, 400}, {0x8000, 11, 400},
	} {
		if got := bind(want.channel, want.port); got != want.code {
			t.Errorf("%d: channel %x for port %d: %d, want %d", i, want.channel, want.port, got, want.code)
		}
	}
	for i := 2; i < maxChannels; i++ {
		if got := bind(0x4000+i, 1000+i); got != 0 {
			t.Fatalf("channel %d: %d", i, got)
		}
	}
	if got := bind(0x5000, 5000); got != 508 {
		t.Errorf("one more: %d", got)
	}
	var many []stun.Setter
	for i := range maxPermissions {
		many = append(many, peer{net.IPv4(127, 0, 1, byte(i)), 0})
	}
	if m := r.ask(stun.MethodCreatePermission, many...); code(m) >= 0 && code(m) != 508 {
		t.Errorf("too many permissions: %v", m)
	}
}

// What a peer sends comes in a Data indication, as others read it. RFC 8656, 17; RFC 8656, 18; RFC 8489, 14.1
func TestIndication(t *testing.T) {
	for _, text := range []string{"192.0.2.7:4000", "[2001:db8::7]:4000"} {
		for n := range 10 {
			room := bytes.Repeat([]byte{0xEE}, udp.Headroom+udp.Room)
			data := room[udp.Headroom : udp.Headroom+n]
			copy(data, "abcdefghij")
			id := [stun.TransactionIDSize]byte{1, 2, 3}
			peer := netip.MustParseAddrPort(text)
			m := &stun.Message{Raw: putIndication(udp.Before(data, indicationRoom), n, peer, id)}
			if err := m.Decode(); err != nil {
				t.Fatalf("%s, %d bytes: %v", text, n, err)
			}
			var at stun.XORMappedAddress
			if err := at.GetFromAs(m, stun.AttrXORPeerAddress); err != nil || at.String() != text || m.TransactionID != id || m.Type.Value() != dataIndication {
				t.Errorf("%s, %d bytes: %v, %v", text, n, m, err)
			}
			if got := attributeOf(m, stun.AttrData); string(got) != "abcdefghij"[:n] || !wellFormed(m.Raw) {
				t.Errorf("%s, %d bytes: %q", text, n, got)
			}
		}
	}
}

// BenchmarkRelay: a datagram of a client to a peer that sends it back, by channel: two datagrams relayed.
func BenchmarkRelay(b *testing.B) {
	s := start(b, func(c *Config) { c.Kbits = 100_000_000 })
	c := client(b, s, "udp", "alice", "secret")
	relay := allocate(b, c)
	to := echoPeer(b, "127.0.0.1")
	packet, back := make([]byte, 172), make([]byte, 2000)
	for range 20 { // until the channel is bound
		_, _ = relay.WriteTo(packet, to)
		_, _, _ = relay.ReadFrom(back)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = relay.WriteTo(packet, to)
		_, _, _ = relay.ReadFrom(back)
	}
}

// Relaying a datagram leaves no garbage, either way.
func TestNoGarbage(t *testing.T) {
	s := newServer(Config{Allowed: []netip.Prefix{netip.PrefixFrom(loopback, 32)}, Kbits: 1e6})
	socket, err := udp.Bind(netip.AddrPortFrom(loopback, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	a := &allocation{s: s, c: nowhere{}, user: s.accounts.get("alice")}
	a.relays[0] = &relay{Relay: Relay{loopback, loopback}, a: a, port: socket.Port(), socket: socket}
	a.relays[0].until.Store(int64(time.Hour))
	if err := a.bind(0x4000, netip.AddrPortFrom(loopback, 9)); err != nil {
		t.Fatal(err)
	}
	room := make([]byte, udp.Headroom+udp.Room)
	out := []byte{0x40, 0, 0, 4, 1, 2, 3, 4}
	from := netip.MustParseAddrPort("127.0.0.1:9")
	if n := testing.AllocsPerRun(100, func() {
		a.fromChannel(out)
		a.relays[0].receive(room[udp.Headroom:udp.Headroom+172], from)
		a.relays[0].receive(room[udp.Headroom:udp.Headroom+172], netip.AddrPortFrom(loopback, 10)) // without a channel
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// nowhere is a client that takes everything.
type nowhere struct{ way }

func (nowhere) send([]byte) {}
