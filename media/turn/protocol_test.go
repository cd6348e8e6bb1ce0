package turn

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"signalbox/media/udp"
)

var udpTransport = transport(protocolUDP)

func familyAttribute(of stun.AttrType, family byte) stun.Setter {
	return attribute{of, []byte{family, 0, 0, 0}}
}

// signedIn is a client that has its nonce.
func signedIn(t testing.TB, s *Server, user, password string) *raw {
	t.Helper()
	r := dialRaw(t, s, user, password)
	if m := r.ask(stun.MethodAllocate); code(m) != 401 { // RFC 8656, 7.2 step 1
		t.Fatalf("without credentials: %v", m)
	}
	return r
}

// What an Allocate request may not ask for. RFC 8656, 7.2 step 3; RFC 8656, 7.2 step 4; RFC 8656, 7.2 step 5; RFC 8656, 7.2 step 6;
// RFC 8656, 7.2 step 7; RFC 8656, 7.2 step 8; RFC 8656, 7.2 step 9
func TestAllocateChecks(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := signedIn(t, s, "alice", "secret")
	token := attribute{stun.AttrReservationToken, make([]byte, tokenLength)}
	even := attribute{stun.AttrEvenPort, []byte{0x80}}
	for name, tt := range map[string]struct {
		ask  []stun.Setter
		want int
	}{
		"no REQUESTED-TRANSPORT":        {nil, 400},
		"a short REQUESTED-TRANSPORT":   {[]stun.Setter{attribute{stun.AttrRequestedTransport, []byte{17}}}, 400},
		"TCP":                           {[]stun.Setter{transport(6)}, 442},
		"what nobody knows":             {[]stun.Setter{udpTransport, attribute{0x001B, nil}}, 420},
		"a token and EVEN-PORT":         {[]stun.Setter{udpTransport, token, even}, 400},
		"a token and a family":          {[]stun.Setter{udpTransport, token, familyAttribute(stun.AttrRequestedAddressFamily, 1)}, 400},
		"a token that is none":          {[]stun.Setter{udpTransport, token}, 508},
		"a short token":                 {[]stun.Setter{udpTransport, attribute{stun.AttrReservationToken, []byte{1}}}, 400},
		"one family and another":        {[]stun.Setter{udpTransport, familyAttribute(stun.AttrRequestedAddressFamily, 1), familyAttribute(attrAdditionalFamily, 2)}, 400},
		"a family that is none":         {[]stun.Setter{udpTransport, familyAttribute(stun.AttrRequestedAddressFamily, 3)}, 440},
		"a family that there is not":    {[]stun.Setter{udpTransport, familyAttribute(stun.AttrRequestedAddressFamily, 2)}, 440},
		"a pair of ports of two kinds":  {[]stun.Setter{udpTransport, even, familyAttribute(attrAdditionalFamily, 2)}, 400},
		"IPv4 besides":                  {[]stun.Setter{udpTransport, familyAttribute(attrAdditionalFamily, 1)}, 400},
		"a LIFETIME of three bytes":     {[]stun.Setter{udpTransport, attribute{stun.AttrLifetime, []byte{1, 2, 3}}}, 400},
		"an EVEN-PORT without its bits": {[]stun.Setter{udpTransport, attribute{stun.AttrEvenPort, nil}}, 400},
	} {
		m := r.ask(stun.MethodAllocate, tt.ask...)
		if code(m) != tt.want || r.key.Check(m) != nil {
			t.Errorf("%s: %v, want %d", name, m, tt.want)
		}
		if v, err := m.Get(stun.AttrUnknownAttributes); tt.want == 420 && (err != nil || !bytes.Equal(v[:2], []byte{0, 0x1B})) {
			t.Errorf("%s: unknown are %x", name, v)
		}
	}
	if s.Active() != 0 || len(s.accounts.users) != 0 {
		t.Errorf("%d allocations, %d users", s.Active(), len(s.accounts.users))
	}
	// Of two families one will do, and the client is told of the other. RFC 8656, 18.12
	m := r.ask(stun.MethodAllocate, udpTransport, familyAttribute(attrAdditionalFamily, 2))
	if v, err := m.Get(attrAddressErrorCode); code(m) != 0 || err != nil || !bytes.Equal(v[:4], []byte{2, 0, 4, 40}) {
		t.Errorf("both families: %v, %x", m, v)
	}
}

// Without an allocation, or with somebody else's, there is nothing to ask for; a nonce is good for one client and a while. RFC 8656, 5; RFC 8489, 9.2.4
func TestWhoseAllocation(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := signedIn(t, s, "alice", "secret")
	at := peer{net.IPv4(127, 0, 0, 1), 9}
	number := attribute{stun.AttrChannelNumber, []byte{0x40, 0, 0, 0}}
	for _, m := range []*stun.Message{r.ask(stun.MethodRefresh), r.ask(stun.MethodCreatePermission, at), r.ask(stun.MethodChannelBind, number, at)} {
		if code(m) != 437 || r.key.Check(m) != nil {
			t.Errorf("without an allocation: %v", m)
		}
	}
	r.allocate()
	if m := r.ask(stun.MethodConnect, at); code(m) != 400 {
		t.Errorf("a method that there is not: %v", m)
	}
	// On the same connection, with other credentials.
	other := signedIn(t, s, "bob", "hidden")
	alice, bob := *r, *r
	bob.user, bob.key = other.user, other.key
	if m := bob.ask(stun.MethodRefresh); code(m) != 441 {
		t.Errorf("as bob: %v", m)
	}
	renewed := s.Issue("alice@" + testRealm) // credentials may be renewed while the allocation lives
	again := *r
	again.user, again.key = renewed.Username, stun.NewLongTermIntegrity(renewed.Username, testRealm, renewed.Password)
	if m := again.ask(stun.MethodRefresh); code(m) != 0 {
		t.Errorf("with new credentials: %v", m)
	}
	alice.nonce = other.nonce
	if m := alice.ask(stun.MethodRefresh); code(m) != 438 || !m.Contains(stun.AttrNonce) || !m.Contains(stun.AttrRealm) {
		t.Errorf("another client's nonce: %v", m)
	}
	if m := alice.ask(stun.MethodRefresh); code(m) != 0 { // ask has taken the new one
		t.Errorf("after that: %v", m)
	}
	m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodRefresh, stun.ClassRequest), stun.NewUsername("alice"), r.key)
	r.send(m.Raw)
	if m := r.receive(); code(m) != 400 {
		t.Errorf("without realm and nonce: %v", m)
	}
}

// Nonces end, and are good as they were written only.
func TestNonces(t *testing.T) {
	now := time.Now()
	n := nonces{clock: clock{now}}
	client, other := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.1:1001")
	nonce := n.make(client)
	n.clock.start = now.Add(-nonceLife + time.Minute)
	if !n.good(nonce, client) || n.good(nonce, other) {
		t.Error("a nonce is for one client, and for a while")
	}
	for i := range nonce {
		b := []byte(nonce)
		b[i] ^= 1
		if n.good(string(b), client) || n.good(nonce[:i], client) || n.good(nonce[:i]+"\n"+nonce[i:], client) {
			t.Errorf("a nonce changed at %d is good", i)
		}
	}
	n.clock.start = now.Add(-nonceLife - 2*time.Second)
	if n.good(nonce, client) {
		t.Error("it does not end")
	}
}

// Of a pair of ports the second waits for its allocation: for this user, and not for long. RFC 8656, 7.2; RFC 8656, 18.10
func TestPairOfPorts(t *testing.T) {
	t.Parallel()
	s := start(t)
	reserve := func() (port uint16, token stun.Setter) {
		r := signedIn(t, s, "alice", "secret")
		m := r.ask(stun.MethodAllocate, udpTransport, attribute{stun.AttrEvenPort, []byte{0x80}})
		v, err := m.Get(stun.AttrReservationToken)
		if err != nil || code(m) != 0 {
			t.Fatalf("%v: %v", m, err)
		}
		return relayed(t, m)[0].Port(), attribute{stun.AttrReservationToken, v}
	}
	port, token := reserve()
	if port%2 != 0 {
		t.Errorf("port %d is not even", port)
	}
	if m := signedIn(t, s, "bob", "hidden").ask(stun.MethodAllocate, udpTransport, token); code(m) != 508 {
		t.Errorf("bob takes alice's: %v", m)
	}
	m := signedIn(t, s, "alice", "secret").ask(stun.MethodAllocate, udpTransport, token)
	if code(m) != 0 || relayed(t, m)[0].Port() != port+1 {
		t.Errorf("the next port of %d: %v", port, m)
	}
	if m := signedIn(t, s, "alice", "secret").ask(stun.MethodAllocate, udpTransport, token); code(m) != 508 {
		t.Errorf("twice: %v", m)
	}
	_, token = reserve()
	before := s.accounts.get("alice@" + testRealm).relays
	s.reservations.expire(s.clock.now() + reservationLife)
	if m := signedIn(t, s, "alice", "secret").ask(stun.MethodAllocate, udpTransport, token); code(m) != 508 {
		t.Errorf("too late: %v", m)
	}
	if after := s.accounts.get("alice@" + testRealm).relays; after != before-1 {
		t.Errorf("%d relays, then %d", before, after)
	}
	if m := signedIn(t, s, "alice", "secret").ask(stun.MethodAllocate, udpTransport, attribute{stun.AttrEvenPort, []byte{0}}); relayed(t, m)[0].Port()%2 != 0 || m.Contains(stun.AttrReservationToken) {
		t.Errorf("an even port alone: %v", m)
	}
}

// relayed are the addresses of relays in an answer.
func relayed(t testing.TB, m *stun.Message) (list []netip.AddrPort) {
	t.Helper()
	for _, a := range m.Attributes {
		if a.Type == stun.AttrXORRelayedAddress {
			at, ok := readAddress(a.Value, m.TransactionID)
			if !ok {
				t.Fatalf("%v", m)
			}
			list = append(list, at)
		}
	}
	if len(list) == 0 {
		t.Fatalf("no relay in %v", m)
	}
	return list
}

// One allocation has a relay of each family; each ends by itself. RFC 8656, 7.2 step 9; RFC 8656, 8.2; RFC 8656, 10.2; RFC 8656, 12.2
func TestBothFamilies(t *testing.T) {
	t.Parallel()
	six := netip.IPv6Loopback()
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skip("SKIPPED: no IPv6 on this machine")
	} else {
		c.Close()
	}
	s := start(t, func(c *Config) {
		c.Relays = append(c.Relays, Relay{six, six})
		c.Allowed = append(c.Allowed, netip.PrefixFrom(six, 128))
	})
	r := signedIn(t, s, "alice", "secret")
	list := relayed(t, r.ask(stun.MethodAllocate, udpTransport, familyAttribute(attrAdditionalFamily, 2)))
	if len(list) != 2 || !list[0].Addr().Is4() || !list[1].Addr().Is6() {
		t.Fatalf("%v", list)
	}
	for i, ip := range []string{"127.0.0.1", "::1"} {
		at := echoPeer(t, ip)
		p := wirePeer(netip.MustParseAddr(ip), uint16(at.Port))
		if m := r.ask(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x40, byte(i), 0, 0}}, p); code(m) != 0 {
			t.Fatalf("ChannelBind for %s: %v", ip, m)
		}
		r.send([]byte{0x40, byte(i), 0, 1, 'x', 0, 0, 0})
		if b := r.channelData(); !bytes.Equal(b, []byte{0x40, byte(i), 0, 1, 'x', 0, 0, 0}) {
			t.Errorf("from %s: %x", ip, b)
		}
	}
	if m := r.ask(stun.MethodRefresh, number(stun.AttrLifetime, 0), familyAttribute(stun.AttrRequestedAddressFamily, 1)); code(m) != 0 {
		t.Errorf("the end of IPv4: %v", m)
	}
	if m := r.ask(stun.MethodCreatePermission, wirePeer(loopback, 9)); code(m) != 443 {
		t.Errorf("a permission of IPv4 after that: %v", m)
	}
	if m := r.ask(stun.MethodRefresh, familyAttribute(stun.AttrRequestedAddressFamily, 1)); code(m) != 443 {
		t.Errorf("IPv4 refreshed: %v", m)
	}
	if m := r.ask(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x40, 0, 0, 0}}, wirePeer(six, 9)); code(m) != 0 {
		t.Errorf("its channel is not free: %v", m)
	}
	if m := r.ask(stun.MethodRefresh, number(stun.AttrLifetime, 0)); code(m) != 0 || s.Active() != 0 {
		t.Errorf("the end of all: %v, %d are left", m, s.Active())
	}
	if m := r.ask(stun.MethodRefresh, number(stun.AttrLifetime, 0)); code(m) != 437 {
		t.Errorf("twice: %v", m)
	}
}

// channelData reads one ChannelData message, with its padding.
func (r *raw) channelData() []byte {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	head, err := r.in.Peek(channelHeader)
	if err != nil || head[0]>>6 != 1 {
		r.t.Fatalf("%x, %v", head, err)
	}
	b := make([]byte, (int(binary.BigEndian.Uint16(head[2:]))+channelHeader+3)&^3)
	for n := 0; n < len(b); {
		m, err := r.in.Read(b[n:])
		if err != nil {
			r.t.Fatal(err)
		}
		n += m
	}
	return b
}

// A request that comes again over UDP makes no second allocation, and is answered alike. RFC 8656, 7.2; RFC 8489, 6.3.1; RFC 8489, 6.3.1.1
func TestRetransmission(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, err := net.Dial("udp4", s.UDP()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := &raw{t: t, user: "alice", key: stun.NewLongTermIntegrity("alice", testRealm, "secret")}
	exchange := func(m *stun.Message) *stun.Message {
		t.Helper()
		b := make([]byte, 2000)
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Write(m.Raw); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		answer := &stun.Message{Raw: b[:n]}
		if err := answer.Decode(); err != nil || answer.TransactionID != m.TransactionID {
			t.Fatal(err)
		}
		return answer
	}
	m := exchange(r.request(stun.MethodAllocate, udpTransport))
	_ = r.nonce.GetFrom(m)
	_ = r.realm.GetFrom(m)
	ask := r.request(stun.MethodAllocate, udpTransport)
	first, again := exchange(ask), exchange(ask)
	if code(first) != 0 || code(again) != 0 || relayed(t, first)[0] != relayed(t, again)[0] || s.Active() != 1 {
		t.Errorf("%v, then %v; %d allocations", first, again, s.Active())
	}
	if m := exchange(r.request(stun.MethodAllocate, udpTransport)); code(m) != 437 { // RFC 8656, 7.2 step 2
		t.Errorf("another one: %v", m)
	}
}

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

// A lifetime is what was asked for, between ten minutes and an hour. RFC 8656, 7.2; RFC 8656, 8.2
func TestLifetimes(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := signedIn(t, s, "alice", "secret")
	r.allocate()
	for asked, want := range map[uint32]uint32{1: 600, 600: 600, 1800: 1800, 3600: 3600, 1<<32 - 1: 3600} {
		m := r.ask(stun.MethodRefresh, number(stun.AttrLifetime, asked))
		if got := attributeOf(m, stun.AttrLifetime); len(got) != 4 || binary.BigEndian.Uint32(got) != want {
			t.Errorf("%d: %x, want %d", asked, got, want)
		}
	}
}

// panicking is a store of users that fails as nothing should.
type panicking struct{ accountsOf }

func (p panicking) HA1(name, realm string) (string, string, bool) {
	if name == "carol" {
		panic("carol")
	}
	return p.accountsOf.HA1(name, realm)
}

// hardening 16: a panic costs the datagram that brought it, or the connection, and nobody else.
func TestPanic(t *testing.T) {
	t.Parallel()
	panics := make(chan struct{}, 2000)
	s := start(t, func(c *Config) {
		c.Users = panicking{c.Users.(accountsOf)}
		c.Metrics.Panicked = func() { panics <- struct{}{} }
	})
	r := signedIn(t, s, "alice", "secret")
	r.allocate()
	c, err := net.Dial("udp4", s.UDP()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	asCarol := func(from net.Addr) *stun.Message {
		carol := &raw{t: t, user: "carol", key: r.key, realm: r.realm, nonce: stun.NewNonce(s.nonces.make(netip.MustParseAddrPort(from.String())))}
		return carol.request(stun.MethodAllocate, udpTransport)
	}
	m := asCarol(c.LocalAddr())
	for range 1000 {
		s.gate.debt(loopback).Store(0)
		if _, err := c.Write(m.Raw); err != nil {
			t.Fatal(err)
		}
		<-panics
	}
	over := dialRaw(t, s, "carol", "")
	over.send(asCarol(over.conn.LocalAddr()).Raw)
	if over.receive() != nil {
		t.Error("the connection goes on")
	}
	<-panics
	if m := r.ask(stun.MethodRefresh); code(m) != 0 || s.Active() != 1 {
		t.Errorf("another client: %v", m)
	}
}

// A client that does not take what it is sent loses it; nobody waits for it, and no more than its outbox is kept.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	s := newServer(Config{})
	there, here := net.Pipe() // takes nothing until it is read
	defer there.Close()
	c := newStream(s, here, netip.AddrPort{})
	s.connections.per[c.from.Addr()], s.connections.total = 1, 1
	frame := append([]byte{0x40, 0, 0, 100}, make([]byte, 100)...)
	c.send(frame)
	if _, err := there.Read(make([]byte, 1)); err != nil { // from now on the writer waits
		t.Fatal(err)
	}
	for range 10 * outboxSize / len(frame) {
		c.send(frame)
	}
	c.out.mu.Lock()
	if n := len(c.out.pending); n > outboxSize || n < outboxSize/2 {
		t.Errorf("%d bytes wait", n)
	}
	c.out.mu.Unlock()
	c.close()
	s.writers.Wait()
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
