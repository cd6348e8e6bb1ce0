package turn

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

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

// hardening 62, hardening 53: strangers leave nothing behind, and cannot use us to flood others: what they are answered is not more than three times what
// they sent, and rate-capped.
func TestStrangers(t *testing.T) {
	t.Parallel()
	s := start(t)
	bind := dialRaw(t, s, "alice", "secret")
	c, err := net.Dial("udp4", s.UDP()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := bind.request(stun.MethodAllocate, transport(17))
	for range 10_000 {
		if _, err := c.Write(m.Raw); err != nil {
			t.Fatal(err)
		}
	}
	answers, bytes := 0, 0
	b := make([]byte, 2000)
	for {
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Read(b)
		if err != nil {
			break
		}
		answers++
		bytes += n
		if n > 3*len(m.Raw)+stunHeader {
			t.Fatalf("%d bytes are answered by %d", len(m.Raw), n)
		}
	}
	if answers == 0 || bytes > 3*10_000*len(m.Raw) {
		t.Errorf("%d answers of %d bytes in all", answers, bytes)
	}
	if limit := int(debtLimit/requestCost) + 2000; answers > limit {
		t.Errorf("%d answers, want at most about %d", answers, limit)
	}
	if s.Active() != 0 || len(s.accounts.users) != 0 {
		t.Errorf("%d relays, %d users", s.Active(), len(s.accounts.users))
	}
}

// A wrong password is charged to its address, so that guessing is slow; others are not held up. The answer is 401, whatever was wrong. RFC 8489, 9.2.4
func TestGuessing(t *testing.T) {
	t.Parallel()
	told := make(chan string, 10)
	s := start(t, func(c *Config) { c.Metrics.BadAuth = func(user string, _ netip.AddrPort) { told <- user } })
	for _, user := range []string{"alice", "nobody"} {
		r := dialRaw(t, s, user, "wrong")
		r.ask(stun.MethodAllocate, transport(17))
		if m := r.ask(stun.MethodAllocate, transport(17)); code(m) != 401 {
			t.Errorf("%s: %v", user, m)
		}
		if got := <-told; got != user {
			t.Errorf("told of %q, not of %q", got, user)
		}
	}
	// A datagram with a nonce that was not sent to its address may be forged: nobody is told, nobody is charged, and it learns nothing of the password.
	c, err := net.Dial("udp4", s.UDP()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	forged := &raw{t: t, user: "alice", key: stun.NewLongTermIntegrity("alice", testRealm, "wrong"), nonce: stun.NewNonce("invented"), realm: stun.NewRealm(testRealm)}
	if _, err := c.Write(forged.request(stun.MethodAllocate, transport(17)).Raw); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	n, err := c.Read(b)
	m := &stun.Message{Raw: b[:n]}
	if err != nil || m.Decode() != nil || code(m) != 438 {
		t.Errorf("forged: %v, %v", m, err)
	}
	if len(told) > 0 {
		t.Errorf("told of %q", <-told)
	}
	debt := s.gate.debt(loopback)
	if owed := time.Duration(debt.Load()) - s.clock.now(); owed < wrongCost {
		t.Errorf("only %v is owed", owed)
	}
	// Who guesses on is not heard any more, but two times a second.
	r := dialRaw(t, s, "alice", "wrong")
	r.ask(stun.MethodAllocate, transport(17))
	for range 20 {
		r.send(r.request(stun.MethodAllocate, transport(17)).Raw)
	}
	for range int((debtLimit - 2*wrongCost) / wrongCost) { // the two above are paid for
		if m := r.receive(); code(m) != 401 {
			t.Fatal(m)
		}
	}
	_ = r.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if more, err := r.in.Peek(1000); err == nil {
		t.Errorf("more answers: %x", more)
	}
	debt.Store(int64(time.Hour))
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	if s.gate.admit(binding, loopback) != isBad {
		t.Error("an address in debt is heard")
	}
	if s.gate.admit(binding, loopback.Next()) != isRequest {
		t.Error("its neighbour is not")
	}
}

// hardening 63: malformed messages are answered with an error or not at all, and nothing breaks.
func TestMalformed(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := dialRaw(t, s, "alice", "secret")
	r.allocate()
	twice := r.request(stun.MethodCreatePermission, peer{net.IPv4(127, 0, 0, 1), 9}, peer{net.IPv4(127, 0, 0, 2), 9})
	for _, tt := range []struct {
		name string
		m    *stun.Message
		want int
	}{
		{"XOR-PEER-ADDRESS twice", twice, 0}, // RFC 8656, 10.2: several are good
		{"no XOR-PEER-ADDRESS", r.request(stun.MethodCreatePermission), 400},
		{"an XOR-PEER-ADDRESS of 1 byte", r.request(stun.MethodCreatePermission, attribute{stun.AttrXORPeerAddress, []byte{0}}), 400},
		{"an empty XOR-PEER-ADDRESS", r.request(stun.MethodCreatePermission, attribute{stun.AttrXORPeerAddress, nil}), 400},
		{"channel 0x3FFF", r.request(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x3F, 0xFF, 0, 0}}, peer{net.IPv4(127, 0, 0, 1), 9}), 400},
		{"channel 0x8000", r.request(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x80, 0, 0, 0}}, peer{net.IPv4(127, 0, 0, 1), 9}), 400},
		{"LIFETIME of 2^32-1", r.request(stun.MethodRefresh, attribute{stun.AttrLifetime, []byte{255, 255, 255, 255}}), 0},
		{"an unknown attribute that must be understood", r.request(stun.MethodRefresh, attribute{0x7fff, []byte{0}}), 420}, // RFC 8489, 6.3.1
		{"a second allocation", r.request(stun.MethodAllocate, transport(17)), 437},                                        // RFC 8656, 7.2 step 2
		{"LIFETIME of 0", r.request(stun.MethodRefresh, attribute{stun.AttrLifetime, []byte{0, 0, 0, 0}}), 0},
	} {
		r.send(tt.m.Raw)
		if m := r.receive(); m == nil || m.TransactionID != tt.m.TransactionID || code(m) != tt.want {
			t.Errorf("%s: %v, want %d", tt.name, m, tt.want)
		}
	}
	// Over UDP every prefix of a request, and every one with a length that lies, is passed over.
	c, err := net.Dial("udp4", s.UDP()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := range twice.Raw {
		_, _ = c.Write(twice.Raw[:n])
		lie := append([]byte(nil), twice.Raw...)
		lie[n] = 0xFF
		_, _ = c.Write(lie)
	}
	alive(t, c)
}

// alive asks for a Binding until it is answered. RFC 8489, 6.3.1
func alive(t *testing.T, c net.Conn) {
	t.Helper()
	b := make([]byte, 2000)
	for range 300 {
		m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
		if _, err := c.Write(m.Raw); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for {
			n, err := c.Read(b)
			if err != nil {
				break
			}
			answer := &stun.Message{Raw: b[:n]}
			if answer.Decode() == nil && answer.TransactionID == m.TransactionID {
				return
			}
		}
	}
	t.Fatal("the server does not answer any more")
}

// hardening 63: time-limited credentials are good until they expire, and only as we made them.
func TestCredentials(t *testing.T) {
	t.Parallel()
	s := start(t)
	now := s.clock.unix()
	name := func(until int64, user string) string { return strconv.FormatInt(until, 10) + ":" + user }
	for _, tt := range []struct {
		name, username, realm string
		ok                    bool
	}{
		{"good", name(now+3600, "alice@example.org"), testRealm, true},
		{"expired", name(now-1, "alice@example.org"), testRealm, false},
		{"from the future", name(now+int64(CredentialLife/time.Second)+60, "alice@example.org"), testRealm, false},
		{"a sign", "+" + name(now+3600, "alice@example.org"), testRealm, false},
		{"a leading zero", "0" + name(now+3600, "alice@example.org"), testRealm, false},
		{"no time", "soon:alice@example.org", testRealm, false},
		{"a time only", name(now+3600, ""), testRealm, false},
		{"an account that is gone", name(now+3600, "carol@example.org"), testRealm, false},
		{"another realm", name(now+3600, "alice@example.org"), "example.net", false},
		{"long-term", "alice", testRealm, true},
		{"long-term, another realm", "alice", "example.net", false},
		{"nobody", "carol", testRealm, false},
		{"empty", "", testRealm, false},
		{"SQL", "' OR 1=1--", testRealm, false},
		{"too long", "alice" + string(make([]byte, userLength)), testRealm, false},
	} {
		user, key, ok := s.key(tt.username, tt.realm)
		if ok != tt.ok || ok && (user != "alice@example.org" || len(key) != 16) {
			t.Errorf("%s: %q %v", tt.name, user, ok)
		}
	}
}

// hardening 14: what has expired stays so when the clock is set back; time is that of the run.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Config{Realm: testRealm, Users: accountsOf{"alice": ""}, Secret: make([]byte, 32)})
		c := s.Issue("alice@example.org")
		if _, _, ok := s.key(c.Username, testRealm); !ok {
			t.Fatal("fresh credentials are refused")
		}
		time.Sleep(CredentialLife)
		if _, _, ok := s.key(c.Username, testRealm); ok {
			t.Error("they do not expire")
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
	f.Add([]byte{0x40, 0, 0xFF, 0xFC})
	f.Add([]byte{0x40, 0, 0, 1, 'x', 0, 0, 0})
	s := newServer(Config{Realm: testRealm, Users: accountsOf{"alice": "secret"}})
	f.Fuzz(func(t *testing.T, b []byte) {
		s.gate.debt(loopback).Store(0)
		k := s.gate.admit(b, loopback)
		if k == isBad {
			return
		}
		if k == isIndication {
			readSend(b)
		}
		if k == isRequest {
			if _, err := decode(b); err != nil {
				t.Fatalf("%x passes and cannot be decoded: %v", b, err)
			}
		}
		// What passes is a whole frame: the framer of a stream cuts it at the same place, but for padding.
		n, err := frameLen(b)
		if err != nil || n > (len(b)+3)&^3 {
			t.Fatalf("%x: %d bytes of %d: %v", b, n, len(b), err)
		}
		if b[0]>>6 == 0 && int(binary.BigEndian.Uint16(b[2:]))+stunHeader != len(b) {
			t.Fatalf("%x passes", b)
		}
	})
}

// FuzzServer sends anything to a running server, as a user with an allocation, and asks whether it is alive.
func FuzzServer(f *testing.F) {
	s := start(f)
	r := dialRaw(f, s, "alice", "secret")
	r.allocate()
	for _, m := range []*stun.Message{
		r.request(stun.MethodAllocate, transport(17)), r.request(stun.MethodRefresh), r.request(stun.MethodBinding),
		r.request(stun.MethodCreatePermission, peer{net.IPv4(127, 0, 0, 1), 9}),
		r.request(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x40, 0, 0, 0}}, peer{net.IPv4(127, 0, 0, 1), 9}),
		r.request(stun.MethodConnect, peer{net.IPv4(127, 0, 0, 1), 9}),
	} {
		f.Add(m.Raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s.gate.debt(loopback).Store(0)
		c, err := net.Dial("udp4", s.UDP()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write(b)
		// Signed: the deeper layers see it too.
		if m := (&stun.Message{Raw: append([]byte(nil), b...)}); m.Decode() == nil && r.key.AddTo(m) == nil {
			_, _ = c.Write(m.Raw)
		}
		alive(t, c)
	})
}
