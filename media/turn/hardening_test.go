package turn

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

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

// hardening 63, and a frame that made pion/turn v4 spin: what is no frame ends the connection, before anybody is authenticated.
func TestStreamFrames(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, b := range map[string][]byte{
		"ChannelData of 0xFFFC bytes": append([]byte{0x40, 0, 0xFF, 0xFC}, make([]byte, 60)...),
		"STUN of 65535 bytes":         append([]byte{0, 1, 0xFF, 0xFF}, make([]byte, 60)...),
		"STUN of 1504 bytes":          append([]byte{0, 1, 0x05, 0xCC}, make([]byte, 60)...),
		"an odd length":               append([]byte{0, 1, 0, 3}, make([]byte, 60)...),
		"HTTP":                        []byte("GET / HTTP/1.1\r\n\r\n"),
		"TLS":                         {0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5},
		"no magic cookie":             append([]byte{0, 1, 0, 0}, make([]byte, 60)...),
		"a channel of 0x8000":         {0x80, 0, 0, 0},
		"an answer":                   stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw,
	} {
		r := dialRaw(t, s, "alice", "secret")
		r.send(b)
		if m := r.receive(); m != nil {
			t.Errorf("%s is answered: %v", name, m)
		}
	}
	// A frame may come in pieces, and several may come at once.
	r := dialRaw(t, s, "alice", "secret")
	m := r.request(stun.MethodBinding).Raw
	for _, c := range m {
		r.send([]byte{c})
	}
	r.send(append(append([]byte(nil), m...), m...))
	for range 3 {
		if code(r.receive()) != 0 {
			t.Fatal("no answer")
		}
	}
}

// Connections that say nothing, or do not end what they say, are closed; one with an allocation may be silent as long as that lives.
func TestSilence(t *testing.T) {
	half := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	for _, tt := range []struct {
		name      string
		say       []byte
		allocated bool
		want      time.Duration
	}{
		{"nothing", nil, false, frameTime},
		{"half a header", half[:2], false, frameTime},
		{"half a message", half[:16], false, frameTime},
		{"one message", half, false, lonelyTime},
		{"one message, with an allocation", half, true, idleTime},
		{"one and a half", append(append([]byte(nil), half...), half[:10]...), true, frameTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(Config{})
				there, here := net.Pipe()
				defer there.Close()
				c := newStream(s, here, netip.AddrPort{})
				if tt.allocated {
					c.assign(&allocation{})
				}
				go there.Write(tt.say)
				began := time.Now()
				var err error
				for err == nil {
					_, _, err = c.next()
				}
				if took := time.Since(began); took != tt.want {
					t.Errorf("closed after %v (%v), want %v", took, err, tt.want)
				}
			})
		})
	}
}

// An address has so many connections and no more; they are free again when they end.
func TestConnections(t *testing.T) {
	cs := connections{held: map[*stream]struct{}{}, per: map[netip.Addr]int{}}
	var all []*stream
	for i := range maxPerAddress {
		if !cs.enter(loopback) {
			t.Fatalf("connection %d is refused", i)
		}
		c := &stream{from: netip.AddrPortFrom(loopback, uint16(i+1))}
		cs.hold(c)
		all = append(all, c)
	}
	if cs.enter(loopback) {
		t.Error("one more is not")
	}
	if !cs.enter(loopback.Next()) {
		t.Error("another address has none")
	}
	cs.leave(all[0])
	if !cs.enter(loopback) {
		t.Error("one that ended is not free")
	}
}

// Closing ends everything, also those in their handshake, and returns.
func TestClose(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := dialRaw(t, s, "alice", "secret")
	r.allocate()
	waiting, err := net.Dial("tcp", s.TLS()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{r.conn, waiting} {
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && isTimeout(err) {
			t.Error("a connection stays open")
		}
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
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
