package turn

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
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
