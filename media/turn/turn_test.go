package turn

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A user reaches a peer by way of us and is answered, over every transport, with both kinds of credentials (RFC 8489, 9.2.2). RFC 8656, 11.1; RFC 8656, 12.5
func TestRelay(t *testing.T) {
	for _, network := range []string{"udp", "tcp", "tls"} {
		for _, kind := range []string{"time-limited", "long-term"} {
			t.Run(network+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := start(t)
				username, password := "alice", "secret"
				if kind == "time-limited" {
					c := s.Issue("alice@" + testRealm)
					username, password = c.Username, c.Password
				}
				c := client(t, s, network, username, password)
				relay := allocate(t, c)
				to := echoPeer(t, "127.0.0.1")
				// The first go by Send and Data; when the client's ChannelBind has been answered, they go by channel.
				for i := range 50 {
					text := fmt.Sprintf("packet %d", i)
					if _, err := relay.WriteTo([]byte(text), to); err != nil {
						t.Fatal(err)
					}
					b := make([]byte, 100)
					_ = relay.SetReadDeadline(time.Now().Add(30 * time.Second))
					n, from, err := relay.ReadFrom(b)
					if err != nil || string(b[:n]) != text || from.String() != to.String() {
						t.Fatalf("got %q from %v, %v", b[:n], from, err)
					}
				}
				if s.Active() != 1 {
					t.Errorf("%d relays", s.Active())
				}
				// All of it is counted, while the relay lives and when it has ended.
				if got := s.Traffic(); got.ToPeers != 50 || got.ToClient != 50 || got.ToPeersBytes != got.ToClientBytes || got.ToPeersDropped+got.ToClientDropped != 0 {
					t.Errorf("%+v", got)
				}
				s.all()[0].end()
				if got := s.Traffic(); got.ToPeers != 50 || got.ToClient != 50 {
					t.Errorf("afterwards: %+v", got)
				}
			})
		}
	}
}

// Two users who both need a relay meet at ours, though neither may reach anything else of this machine.
func TestRelayToRelay(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *Config) { c.Allowed = nil })
	alice, bob := client(t, s, "udp", "alice", "secret"), client(t, s, "tcp", "bob", "hidden")
	a, b := allocate(t, alice), allocate(t, bob)
	if err := bob.CreatePermission(a.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	// A service of this machine, at the address that relays have.
	service, at := quietSocket(t, "127.0.0.1")
	for i := range 5 {
		if _, err := a.WriteTo([]byte("to the service"), at); err != nil {
			t.Fatal(err)
		}
		if _, err := a.WriteTo([]byte{byte(i)}, b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 100)
		_ = b.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, from, err := b.ReadFrom(got)
		if err != nil || n != 1 || got[0] != byte(i) || from.String() != a.LocalAddr().String() {
			t.Fatalf("%q from %v, %v", got[:n], from, err)
		}
	}
	// What was sent to the service went the same way, before: it would be there.
	_ = service.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, from, err := service.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes from %v have reached a service of ours", n, from)
	}
}

// hardening 60: nobody gets to a network that is not public, by any spelling of its addresses. RFC 8656, 10.2; RFC 8656, 12.2; RFC 8656, 11.2
func TestDeniedPeers(t *testing.T) {
	t.Parallel()
	denied := 0
	own := netip.MustParseAddr("198.41.0.4")
	six := netip.MustParseAddr("::1")
	s := start(t, func(c *Config) {
		c.Allowed = nil
		c.Relays = []Relay{{loopback, netip.MustParseAddr("9.9.9.9")}, {six, netip.MustParseAddr("2620:fe::9")}}
		c.Own = func() []netip.Addr { return []netip.Addr{own, netip.MustParseAddr("2620:fe::fe")} }
		c.Metrics.Denied = func() { denied++ }
	})
	// The relay itself is at loopback, behind a NAT as it were: that is not a way in to loopback (the next test).
	s.peers.relays = []Relay{{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("9.9.9.9")}}
	list := []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "169.254.169.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
		"255.255.255.255", own.String(),
		"::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::1", "2001::1",
		"fc00::1", "fd00::1", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "2620:fe::fe",
	}
	for _, family := range []byte{1, 2} {
		r := dialRaw(t, s, "alice", "secret")
		r.ask(stun.MethodAllocate, transport(17))
		if m := r.ask(stun.MethodAllocate, transport(17), attribute{stun.AttrRequestedAddressFamily, []byte{family, 0, 0, 0}}); code(m) != 0 {
			t.Fatalf("Allocate: %v", m)
		}
		channel := byte(0)
		for _, text := range list {
			a := netip.MustParseAddr(text)
			if a.Is4() != (family == 1) {
				continue
			}
			p := wirePeer(a, 9)
			m := r.ask(stun.MethodCreatePermission, p)
			// A mapped address is another family than that of either relay to those who unmap it: 443 is as good a refusal.
			if c := code(m); c != 403 && !(a.Is4In6() && c == 443) {
				t.Errorf("CreatePermission for %s: %d", a, c)
			}
			if m.Contains(stun.AttrMessageIntegrity) && r.key.Check(m) != nil {
				t.Errorf("CreatePermission for %s: the answer is not signed", a)
			}
			channel++
			m = r.ask(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x40, channel, 0, 0}}, p)
			if c := code(m); c != 403 || r.key.Check(m) != nil {
				t.Errorf("ChannelBind for %s: %d", a, c)
			}
			// Without a permission nothing is sent: this is silent, and the connection goes on.
			ind, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), p, attribute{stun.AttrData, []byte("knock")})
			if err != nil {
				t.Fatal(err)
			}
			r.send(ind.Raw)
		}
		if m := r.ask(stun.MethodCreatePermission, wirePeer(netip.MustParseAddr([]string{"", "8.8.8.8", "2606:4700::1111"}[family]), 9)); code(m) != 0 {
			t.Errorf("a public address: %v", m)
		}
	}
	if denied < len(list) {
		t.Errorf("%d denials were counted", denied)
	}
}

// wirePeer is XOR-PEER-ADDRESS exactly as spelt: package stun would shorten a mapped address.
func wirePeer(a netip.Addr, port uint16) stun.Setter { return exactPeer{a, port} }

type exactPeer struct {
	addr netip.Addr
	port uint16
}

func (p exactPeer) AddTo(m *stun.Message) error {
	mask := append([]byte{0x21, 0x12, 0xA4, 0x42}, m.TransactionID[:]...)
	family := byte(1)
	if p.addr.Is6() {
		family = 2
	}
	v := []byte{0, family, byte(p.port>>8) ^ 0x21, byte(p.port) ^ 0x12}
	for i, c := range p.addr.AsSlice() {
		v = append(v, c^mask[i])
	}
	m.Add(stun.AttrXORPeerAddress, v)
	return nil
}

// hardening 61: TCP is not relayed, out or in (RFC 6062). RFC 8656, 7.2 step 3
func TestNoTCPRelay(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := dialRaw(t, s, "alice", "secret")
	if m := r.ask(stun.MethodAllocate, transport(6)); code(m) != 401 {
		t.Fatalf("without credentials: %v", m)
	}
	if m := r.ask(stun.MethodAllocate, transport(6)); code(m) != 442 || r.key.Check(m) != nil {
		t.Errorf("Allocate for TCP: %v", m)
	}
	r.allocate()
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	at := service.Addr().(*net.TCPAddr)
	if m := r.ask(stun.MethodConnect, peer{at.IP, at.Port}); code(m) <= 0 {
		t.Errorf("Connect: %v", m)
	}
	if s.Active() != 1 {
		t.Errorf("%d relays", s.Active())
	}
}

// hardening 62: a user has so many relays, then a 486; they are free again when they end. RFC 8656, 7.2 step 10
func TestQuota(t *testing.T) {
	t.Parallel()
	freed := make(chan string, 10)
	s := start(t, func(c *Config) {
		c.Allocations = 3
		c.Metrics.Freed = func(user string, _ Traffic) { freed <- user }
	})
	var last *raw
	for i := range 4 {
		r := dialRaw(t, s, "alice", "secret")
		if i == 1 { // it is the user that counts, not the name
			c := s.Issue("alice@" + testRealm)
			r = dialRaw(t, s, c.Username, c.Password)
		}
		r.ask(stun.MethodAllocate, transport(17))
		m := r.ask(stun.MethodAllocate, transport(17))
		if want := []int{0, 0, 0, 486}[i]; code(m) != want {
			t.Fatalf("relay %d: %v, want %d", i, m, want)
		}
		if i < 3 {
			last = r
		}
	}
	if b := dialRaw(t, s, "bob", "hidden"); !b.allocate().IsValid() {
		t.Error("bob gets none")
	}
	last.conn.Close() // RFC 8656, 3.1: the allocation ends with its connection
	if user := <-freed; user != "alice@"+testRealm {
		t.Errorf("freed by %s", user)
	}
	dialRaw(t, s, "alice", "secret").allocate()
}

// What a user may relay is bounded, each way by itself.
func TestBandwidth(t *testing.T) {
	var b bucket
	b.rate = 1000
	for range 5 {
		if !b.pass(time.Second, 100) {
			t.Fatal("half a second's bytes at once are too many")
		}
	}
	if b.pass(time.Second, 1) {
		t.Error("more than that passes")
	}
	if !b.pass(1100*time.Millisecond, 100) || b.pass(1100*time.Millisecond, 1) {
		t.Error("a tenth of a second later a tenth of the rate must pass, and no more")
	}
}
