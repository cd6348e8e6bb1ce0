package turn

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

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

// hardening 63, and a frame that made pion/turn v4 spin: what is no frame ends the connection, before anybody is authenticated; what is cut off, at any byte,
// is not answered; and no such connection is kept.
func TestStreamFrames(t *testing.T) {
	for _, network := range []string{"tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			good := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("alice")).Raw
			lying := func(length int) []byte { // of the only attribute, in a message whose own length is right
				b := append([]byte(nil), good...)
				binary.BigEndian.PutUint16(b[stunHeader+2:], uint16(length))
				return b
			}
			hangsUp := func(name string, b []byte) {
				t.Helper()
				r := dialRawOver(t, s, network, "alice", "secret")
				r.send(b)
				if m := r.receive(); m != nil {
					t.Errorf("%s is answered: %v", name, m)
				}
			}
			for name, b := range map[string][]byte{
				"ChannelData of 0xFFFC bytes":   append([]byte{0x40, 0, 0xFF, 0xFC}, make([]byte, 60)...),
				"ChannelData of 1497 bytes":     append([]byte{0x40, 0, 0x05, 0xD9}, make([]byte, 60)...),
				"STUN of 65535 bytes":           append([]byte{0, 1, 0xFF, 0xFF}, make([]byte, 60)...),
				"STUN of 1504 bytes":            append([]byte{0, 1, 0x05, 0xCC}, make([]byte, 60)...),
				"an odd length":                 append([]byte{0, 1, 0, 3}, make([]byte, 60)...),
				"an attribute of 65535 bytes":   lying(65535),
				"an attribute that is too long": lying(9),
				"an attribute of 0":             lying(0),
				"HTTP":                          []byte("GET / HTTP/1.1\r\n\r\n"),
				"TLS":                           {0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5},
				"no magic cookie":               append([]byte{0, 1, 0, 0}, make([]byte, 60)...),
				"a channel of 0x8000":           {0x80, 0, 0, 0},
				"an answer":                     stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw,
			} {
				hangsUp(name, b)
			}
			for n := range good {
				r := dialRawOver(t, s, network, "alice", "secret")
				r.send(good[:n])
				_ = r.conn.(interface{ CloseWrite() error }).CloseWrite()
				if m := r.receive(); m != nil {
					t.Errorf("%d bytes of a request are answered: %v", n, m)
				}
			}
			// A frame may come in pieces, and several may come at once.
			r := dialRawOver(t, s, network, "alice", "secret")
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
			s.connections.mu.Lock()
			defer s.connections.mu.Unlock()
			if len(s.connections.held) != 1 || s.connections.total != 1 || s.connections.per[loopback] != 1 {
				t.Errorf("%d connections are kept, %d counted, %d of this address", len(s.connections.held), s.connections.total, s.connections.per[loopback])
			}
		})
	}
}

// slowly writes a byte every 3 seconds: each comes long before the deadline of all.
func slowly(b []byte) func(net.Conn) {
	return func(c net.Conn) {
		for i := range b {
			if _, err := c.Write(b[i : i+1]); err != nil {
				return
			}
			time.Sleep(3 * time.Second)
		}
	}
}

func atOnce(b []byte) func(net.Conn) { return func(c net.Conn) { _, _ = c.Write(b) } }

// hardening 63: connections that say nothing, or do not end what they say, are closed, however slowly they say it; one with an allocation may be silent as long as that lives.
func TestSilence(t *testing.T) {
	one := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3} // a ClientHello of 512 bytes begins
	for _, tt := range []struct {
		name      string
		secure    bool
		say       func(net.Conn)
		allocated bool
		want      time.Duration
	}{
		{"nothing", false, atOnce(nil), false, frameTime},
		{"half a header", false, atOnce(one[:2]), false, frameTime},
		{"half a message", false, atOnce(one[:16]), false, frameTime},
		{"half ChannelData", false, atOnce([]byte{0x40, 0, 0, 8, 1}), false, frameTime},
		{"a slow first message", false, slowly(one), false, frameTime},
		{"one message", false, atOnce(one), false, lonelyTime},
		{"one message, with an allocation", false, atOnce(one), true, idleTime},
		{"one and a half", false, atOnce(append(append([]byte(nil), one...), one[:10]...)), true, frameTime},
		{"one, and a slow one", false, func(c net.Conn) { atOnce(one)(c); slowly(one)(c) }, true, frameTime},
		{"one, and slow ChannelData", false, func(c net.Conn) { atOnce(one)(c); slowly([]byte{0x40, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8})(c) }, true, frameTime},
		{"no handshake", true, atOnce(nil), false, handshakeTime},
		{"half a handshake", true, atOnce(hello), false, handshakeTime},
		{"a slow handshake", true, slowly(hello), false, handshakeTime},
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
				var said sync.WaitGroup
				said.Go(func() { tt.say(there) })
				began := time.Now()
				var err error
				if tt.secure {
					err = c.shake(&tls.Config{})
				}
				for err == nil {
					_, _, err = c.next()
				}
				if took := time.Since(began); took != tt.want {
					t.Errorf("closed after %v (%v), want %v", took, err, tt.want)
				}
				here.Close()
				said.Wait()
			})
		})
	}
}

// hardening 63: an address has so many connections and no more, over TCP and TLS together, whether or not they say anything; others have theirs; and they are
// free again when they end.
func TestConnections(t *testing.T) {
	t.Parallel()
	refused := make(chan Reason, 10)
	s := start(t, func(c *Config) { c.Metrics.Refused = func(why Reason) { refused <- why } })
	from := func(ip string, to netip.AddrPort) net.Conn {
		t.Helper()
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	served := func(c net.Conn) bool {
		_, _ = c.Write(binding)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, err := c.Read(make([]byte, 100))
		if err != nil && isTimeout(err) {
			t.Fatal("neither served nor refused")
		}
		return n > 0
	}
	var all []net.Conn
	for i := range maxPerAddress - 1 {
		all = append(all, from("127.0.0.1", []netip.AddrPort{s.TCP()[0], s.TLS()[0]}[i%2]))
	}
	// Listeners accept when they come to it: that all are in shows that the last one was.
	for begun := time.Now(); ; {
		s.connections.mu.Lock()
		n := s.connections.total
		s.connections.mu.Unlock()
		if n == maxPerAddress-1 {
			break
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("%d of %d connections", n, maxPerAddress-1)
		}
		runtime.Gosched()
	}
	if !served(from("127.0.0.1", s.TCP()[0])) {
		t.Error("the last of an address is refused")
	}
	for _, to := range []netip.AddrPort{s.TCP()[0], s.TLS()[0]} {
		if served(from("127.0.0.1", to)) {
			t.Error("one more than an address may have")
		}
		if why := <-refused; why != TooManyConnections {
			t.Errorf("refused: %v", why)
		}
	}
	if !served(from("127.0.0.2", s.TCP()[0])) {
		t.Error("another address has none")
	}
	_ = all[0].Close()
	for begun := time.Now(); !served(from("127.0.0.1", s.TCP()[0])); {
		if time.Since(begun) > 30*time.Second {
			t.Fatal("one that ended is not free")
		}
		<-refused
	}
	for _, tt := range []struct {
		total int
		want  bool
	}{{maxConnections - 1, true}, {maxConnections, false}} {
		cs := connections{total: tt.total, per: map[netip.Addr]int{}}
		if cs.enter(loopback) != tt.want {
			t.Errorf("with %d connections one more: %v", tt.total, !tt.want)
		}
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

// dribble is a connection that brings b in pieces, and whose other end is gone then.
type dribble struct {
	net.Conn
	b     []byte
	piece int
}

func (d *dribble) Read(b []byte) (int, error) {
	if len(d.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), d.piece)], d.b)
	d.b = d.b[n:]
	return n, nil
}

func (d *dribble) Write(b []byte) (int, error)      { return len(b), nil }
func (d *dribble) Close() error                     { return nil }
func (d *dribble) SetReadDeadline(time.Time) error  { return nil }
func (d *dribble) SetWriteDeadline(time.Time) error { return nil }

// FuzzStream: whatever comes over TCP, however it is cut, is cut into the same frames, each of them whole and well formed, and nothing is read behind the first that is none.
// A server that is sent the same, as by a user who has an allocation, serves the connection to its end without a panic, and lets go of it.
func FuzzStream(f *testing.F) {
	panics := make(chan struct{}, 100)
	s := start(f, func(c *Config) { c.Metrics.Panicked = func() { panics <- struct{}{} } })
	from := netip.AddrPortFrom(loopback, 9)
	user := &raw{t: f, user: "alice", key: stun.NewLongTermIntegrity("alice", testRealm, "secret"), realm: stun.NewRealm(testRealm), nonce: stun.NewNonce(s.nonces.make(from))}
	one := user.request(stun.MethodBinding).Raw
	signed := append([]byte(nil), user.request(stun.MethodAllocate, udpTransport).Raw...)
	signed = append(signed, user.request(stun.MethodChannelBind, attribute{stun.AttrChannelNumber, []byte{0x40, 0, 0, 0}}, peer{net.IPv4(127, 0, 0, 1), 9}).Raw...)
	f.Add(append(append([]byte(nil), one...), one...), 3)
	f.Add([]byte{0x40, 0, 0xFF, 0xFC}, 1)
	f.Add([]byte{0x40, 0, 0, 1, 'x', 0, 0, 0, 0x40, 0, 0, 0}, 5)
	f.Add(append(append([]byte(nil), one...), one[:9]...), 20)
	f.Add(user.request(stun.MethodCreatePermission, peer{net.IPv4(127, 0, 0, 1), 9}).Raw, 100)
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer{net.IPv4(127, 0, 0, 1), 9}, attribute{stun.AttrData, []byte("x")}).Raw, 7)
	cut := func(b []byte, piece int) (frames []string) {
		c := newStream(s, &dribble{b: b, piece: piece}, from)
		for {
			s.gate.debt(loopback).Store(0)
			_, frame, err := c.next()
			if err != nil {
				return frames
			}
			frames = append(frames, string(frame))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		piece = 1 + int(uint(piece)%2000)
		whole := cut(b, len(b)+1)
		if pieces := cut(b, piece); !slices.Equal(whole, pieces) {
			t.Fatalf("whole: %x, in pieces of %d: %x", whole, piece, pieces)
		}
		if all := strings.Join(whole, ""); !strings.HasPrefix(string(b), all) {
			t.Fatalf("%x is not what came", all)
		}
		for _, frame := range whole {
			if n, err := frameLen([]byte(frame)); err != nil || n != len(frame) || classify([]byte(frame)) == isBad {
				t.Fatalf("%x passes", frame)
			}
		}
		s.gate.debt(loopback).Store(0)
		if !s.connections.enter(loopback) {
			t.Fatal("earlier connections are not let go")
		}
		s.listeners[0].serve(newStream(s, &dribble{b: append(slices.Clone(signed), b...), piece: piece}, from))
		select {
		case <-panics:
			t.Fatal("a panic")
		default:
		}
		if n := s.Active(); n != 0 {
			t.Fatalf("%d allocations are left", n)
		}
	})
}
