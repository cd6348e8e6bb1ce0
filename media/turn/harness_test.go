package turn

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	turnv4 "github.com/pion/turn/v4"
)

const testRealm = "example.org"

var loopback = netip.MustParseAddr("127.0.0.1")

// accountsOf holds the passwords of users of testRealm.
type accountsOf map[string]string

func (a accountsOf) HA1(name, realm string) (md5, sha256 string, ok bool) {
	password, ok := a[name]
	if !ok || realm != testRealm {
		return "", "", false
	}
	key := turnv4.GenerateAuthKey(name, realm, password)
	return hexOf(key), "", true
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&15])
	}
	return string(s)
}

// start runs a server on loopback with users alice and bob that may reach loopback.
func start(t testing.TB, change ...func(*Config)) *Server {
	t.Helper()
	certificate, _ := selfSigned(t)
	c := Config{
		UDP: []string{"127.0.0.1:0"}, TCP: []string{"127.0.0.1:0"}, TLS: []string{"127.0.0.1:0"},
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
		Realm:       testRealm, Secret: make([]byte, 32), Users: accountsOf{"alice": "secret", "bob": "hidden"},
		Relays: []Relay{{loopback, loopback}}, FirstPort: 30000, LastPort: 39999,
		Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	for _, fn := range change {
		fn(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func selfSigned(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	return web.TLS.Certificates[0], pool
}

// dial connects to the server; what comes back is a connection of datagrams, whatever the network.
func dial(t testing.TB, s *Server, network string) net.PacketConn {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return turnv4.NewSTUNConn(dialStream(t, s, network))
}

// dialStream opens a connection by TCP or TLS.
func dialStream(t testing.TB, s *Server, network string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	if network == "tcp" {
		c, err = net.Dial("tcp", s.TCP()[0].String())
	} else {
		_, roots := selfSigned(t)
		c, err = tls.Dial("tcp", s.TLS()[0].String(), &tls.Config{RootCAs: roots, ServerName: "example.com"})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// serverAddress is where a client of that network sends to.
func serverAddress(s *Server, network string) string {
	switch network {
	case "udp":
		return s.UDP()[0].String()
	case "tcp":
		return s.TCP()[0].String()
	}
	return s.TLS()[0].String()
}

// client is pion/turn v4's, a peer from outside.
func client(t testing.TB, s *Server, network, username, password string) *turnv4.Client {
	t.Helper()
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	c, err := turnv4.NewClient(&turnv4.ClientConfig{
		STUNServerAddr: serverAddress(s, network), TURNServerAddr: serverAddress(s, network), Username: username, Password: password,
		Conn: dial(t, s, network), LoggerFactory: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// allocate opens a relay.
func allocate(t testing.TB, c *turnv4.Client) net.PacketConn {
	t.Helper()
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { relay.Close() })
	return relay
}

// echoPeer sends everything back to where it came from.
func echoPeer(t testing.TB, ip string) *net.UDPAddr {
	t.Helper()
	c, err := net.ListenPacket("udp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr)
}

// raw speaks STUN over TCP or TLS message by message: whatever a test wants to send, and each answer.
type raw struct {
	t      testing.TB
	conn   net.Conn
	in     *bufio.Reader
	user   string
	key    stun.MessageIntegrity
	nonce  stun.Nonce
	realm  stun.Realm
	closed bool
}

func dialRaw(t testing.TB, s *Server, user, password string) *raw {
	t.Helper()
	return dialRawOver(t, s, "tcp", user, password)
}

func dialRawOver(t testing.TB, s *Server, network, user, password string) *raw {
	t.Helper()
	c := dialStream(t, s, network)
	return &raw{t: t, conn: c, in: bufio.NewReader(c), user: user, key: turnv4.GenerateAuthKey(user, testRealm, password)}
}

func (r *raw) send(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil && !r.closed {
		r.t.Fatal(err)
	}
}

// receive reads one message; nil if the server has hung up.
func (r *raw) receive() *stun.Message {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	head, err := r.in.Peek(stunHeader)
	if err != nil {
		return nil
	}
	b := make([]byte, stunHeader+int(binary.BigEndian.Uint16(head[2:])))
	if _, err := io.ReadFull(r.in, b); err != nil {
		r.t.Fatal(err)
	}
	m := &stun.Message{Raw: b}
	if err := m.Decode(); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// ask sends a request, without credentials as long as there is no nonce, and returns the answer.
func (r *raw) ask(method stun.Method, attrs ...stun.Setter) *stun.Message {
	r.t.Helper()
	r.send(r.request(method, attrs...).Raw)
	m := r.receive()
	if m != nil && m.Type.Class == stun.ClassErrorResponse {
		_ = r.nonce.GetFrom(m)
		_ = r.realm.GetFrom(m)
	}
	return m
}

func (r *raw) request(method stun.Method, attrs ...stun.Setter) *stun.Message {
	r.t.Helper()
	list := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attrs...)
	if r.nonce != nil {
		list = append(list, stun.NewUsername(r.user), r.realm, r.nonce, r.key)
	}
	m, err := stun.Build(list...)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// transport is REQUESTED-TRANSPORT (RFC 8656, 18.8).
type transport byte

func (p transport) AddTo(m *stun.Message) error {
	m.Add(stun.AttrRequestedTransport, []byte{byte(p), 0, 0, 0})
	return nil
}

// attribute is any attribute.
type attribute struct {
	of    stun.AttrType
	value []byte
}

func (a attribute) AddTo(m *stun.Message) error {
	m.Add(a.of, a.value)
	return nil
}

// peer is XOR-PEER-ADDRESS.
type peer struct {
	ip   net.IP
	port int
}

func (p peer) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: p.ip, Port: p.port}.AddToAs(m, stun.AttrXORPeerAddress)
}

// allocate opens a relay and returns its address.
func (r *raw) allocate() netip.AddrPort {
	r.t.Helper()
	m := r.ask(stun.MethodAllocate, transport(17))
	if code(m) == 401 {
		m = r.ask(stun.MethodAllocate, transport(17))
	}
	if m == nil || m.Type.Class != stun.ClassSuccessResponse {
		r.t.Fatalf("Allocate: %v", m)
	}
	var a stun.XORMappedAddress
	if err := a.GetFromAs(m, stun.AttrXORRelayedAddress); err != nil {
		r.t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
}

// code is the error code of an answer, 0 for success.
func code(m *stun.Message) int {
	var e stun.ErrorCodeAttribute
	if m == nil {
		return -1
	}
	if e.GetFrom(m) != nil {
		return 0
	}
	return int(e.Code)
}

// bytes collects what arrives at a socket.
func quietSocket(t testing.TB, ip string) (*net.UDPConn, *net.UDPAddr) {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr)
}
