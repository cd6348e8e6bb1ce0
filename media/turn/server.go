package turn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	turn "github.com/pion/turn/v5"
)

// Config is what a Server needs.
type Config struct {
	UDP, TCP, TLS []string // addresses to listen on, "IP:PORT" or ":PORT"
	Certificate   func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	Realm  string
	Secret []byte // 32 bytes that the credentials of pages are made with; persisted, so that they outlive a restart
	Users  Users

	Relays              []Relay // one of each family at most
	FirstPort, LastPort uint16  // of relays

	Allowed []netip.Prefix         // special networks that may be reached nevertheless
	Own     func() []netip.Addr    // addresses of this machine, which may not be reached; nil: none
	Media   func(port uint16) bool // ports of ours that may, those of the media bridge; nil: none

	Allocations int // per user; 0 is the default of the same name
	Kbits       int // kbit/s per user, each way; 0 is the default of the same name

	Metrics Metrics
	Logger  *slog.Logger // nil is silent
}

// Validate tells what is missing.
func (c *Config) Validate() error {
	switch {
	case len(c.UDP)+len(c.TCP)+len(c.TLS) == 0:
		return errors.New("turn: no address to listen on")
	case len(c.TLS) > 0 && c.Certificate == nil:
		return errors.New("turn: TLS without a certificate")
	case c.Realm == "":
		return errors.New("turn: no realm")
	case len(c.Secret) < 32:
		return errors.New("turn: the secret must have 32 bytes")
	case c.Users == nil:
		return errors.New("turn: no users")
	case len(c.Relays) == 0:
		return errors.New("turn: no address for relays")
	case c.FirstPort == 0 || c.LastPort < c.FirstPort:
		return errors.New("turn: no ports for relays")
	case c.Allocations < 0 || c.Kbits < 0:
		return errors.New("turn: a limit is negative")
	}
	for i, r := range c.Relays {
		if !r.Local.IsValid() || !r.Public.IsValid() || r.Local.Is4() != r.Public.Is4() {
			return fmt.Errorf("turn: relay address %v, known as %v", r.Local, r.Public)
		}
		if i > 0 && r.Local.Is4() == c.Relays[0].Local.Is4() {
			return errors.New("turn: two relay addresses of one family")
		}
	}
	return nil
}

// Reason is why something was refused.
type Reason string

const (
	TooManyConnections Reason = "connections"
	TooManyRequests    Reason = "requests"
	BadFrame           Reason = "frame"
)

// Metrics are called as things happen, not for packets. A nil field is silent.
type Metrics struct {
	Allocated func(user string)            // a relay was opened
	Freed     func(user string, t Traffic) // and has ended
	BadAuth   func(user string, from net.Addr)
	Denied    func() // a peer that may not be reached
	Refused   func(why Reason)
}

// Traffic is what passed a relay, in datagrams and bytes.
type Traffic struct {
	ToPeers, ToPeersBytes, ToPeersDropped    uint64
	ToClient, ToClientBytes, ToClientDropped uint64
}

func (m *Metrics) allocated(user string) {
	if m.Allocated != nil {
		m.Allocated(user)
	}
}

func (m *Metrics) freed(user string, t Traffic) {
	if m.Freed != nil {
		m.Freed(user, t)
	}
}

func (m *Metrics) denied() {
	if m.Denied != nil {
		m.Denied()
	}
}

func (m *Metrics) refused(why Reason) {
	if m.Refused != nil {
		m.Refused(why)
	}
}

// Server is a running TURN server.
type Server struct {
	config      Config
	clock       clock
	peers       peers
	live        ports // of relays
	accounts    accounts
	gate        gate
	connections connections
	channels    map[netip.AddrPort]*channels // by UDP address; complete before anything is served

	relayMu sync.Mutex
	relays  map[relayKey]*relay

	udp, tcp, tls []netip.AddrPort
	closers       []func() error // of listeners, until the protocol owns them
	protocol      *turn.Server
	closing       sync.Once
	closed        error
}

// New binds the listeners and serves. It returns an error if the Config is not valid, or an address cannot be had.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Allocations == 0 {
		c.Allocations = Allocations
	}
	if c.Kbits == 0 {
		c.Kbits = Kbits
	}
	s := &Server{config: c, clock: clock{time.Now()}, channels: map[netip.AddrPort]*channels{}, relays: map[relayKey]*relay{}}
	s.peers = peers{relays: c.Relays, allowed: c.Allowed, own: c.Own, media: c.Media, live: &s.live}
	s.accounts = accounts{limit: c.Allocations, rate: int64(c.Kbits) * 1000 / 8, users: map[string]*account{}}
	s.gate = gate{s: s, seed: maphash.MakeSeed()}
	s.connections = connections{per: map[netip.Addr]int{}, held: map[path]*stream{}}
	if err := s.serve(); err != nil {
		for _, fn := range s.closers {
			_ = fn()
		}
		return nil, err
	}
	return s, nil
}

func (s *Server) serve() (err error) {
	p := turn.ServerConfig{
		LoggerFactory: loggers{s.config.Logger},
		Realm:         s.config.Realm,
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			user, key, ok := s.key(a.Username, a.Realm)
			if !ok {
				s.badAuth(a.Username, a.SrcAddr)
			}
			return user, key, ok
		},
		QuotaHandler: func(user, _ string, _ net.Addr) bool { return !s.accounts.full(user) },
		EventHandler: turn.EventHandler{
			OnAuth: func(from, _ net.Addr, _, user, _, _ string, ok bool) {
				if !ok {
					s.badAuth(user, from)
				}
			},
			OnAllocationCreated: func(from, to net.Addr, _, _, _ string, _ net.Addr, _ int) { s.connections.allocated(from, to, true) },
			OnChannelCreated: func(from, to net.Addr, _, _, _ string, relayed, peer net.Addr, number uint16) {
				s.bound(from, to, relayed, peer, number)
			},
			OnChannelDeleted:    func(from, to net.Addr, _, _, _ string, _, _ net.Addr, number uint16) { s.unbound(from, to, number) },
			OnAllocationDeleted: func(from, to net.Addr, _, _, _ string) { s.connections.allocated(from, to, false) },
		},
		AllocationLifetime: allocationLife,
		// RFC 8656, 7.2: IPv4 where the client says nothing, whatever it came by; of what we have only IPv6, that.
		StrictAddressFamily: s.hasIPv4(),
		InboundMTU:          maxFrame + 100,
	}
	permit := func(_ net.Addr, ip net.IP) bool {
		a, ok := netip.AddrFromSlice(ip)
		if ok && s.peers.address(a) {
			return true
		}
		s.config.Metrics.denied()
		return false
	}
	for _, address := range s.config.UDP {
		conns, err := listenUDP(address)
		for _, c := range conns {
			s.closers = append(s.closers, c.Close)
			d, err := newDatagrams(s, c)
			if err != nil {
				return err
			}
			p.PacketConnConfigs = append(p.PacketConnConfigs, turn.PacketConnConfig{
				PacketConn: d, RelayAddressGenerator: generator{s}, PermissionHandler: permit,
			})
			s.udp = note(s.udp, c.LocalAddr())
		}
		if err != nil {
			return &ListenError{"udp", address, err}
		}
	}
	listen := func(key, address string, c *tls.Config) (net.Addr, error) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, &ListenError{key, address, err}
		}
		guarded := newStreams(s, l, c)
		s.closers = append(s.closers, guarded.Close)
		p.ListenerConfigs = append(p.ListenerConfigs, turn.ListenerConfig{Listener: guarded, RelayAddressGenerator: generator{s}, PermissionHandler: permit})
		return l.Addr(), nil
	}
	for _, address := range s.config.TCP {
		a, err := listen("tcp", address, nil)
		if err != nil {
			return err
		}
		s.tcp = note(s.tcp, a)
	}
	for _, address := range s.config.TLS {
		a, err := listen("tls", address, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.config.Certificate})
		if err != nil {
			return err
		}
		s.tls = note(s.tls, a)
	}
	s.protocol, err = turn.NewServer(p)
	return err
}

// ListenError is an address that cannot be listened on.
type ListenError struct {
	Key, Address string // udp, tcp or tls
	Err          error
}

func (e *ListenError) Error() string {
	return "turn: " + e.Key + " " + e.Address + ": " + e.Err.Error()
}
func (e *ListenError) Unwrap() error { return e.Err }

// note lists an address once, however many sockets share it.
func note(list []netip.AddrPort, a net.Addr) []netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	for _, have := range list {
		if have == ap {
			return list
		}
	}
	return append(list, ap)
}

func (s *Server) badAuth(user string, from net.Addr) {
	s.gate.wrong(from)
	if s.config.Metrics.BadAuth != nil {
		s.config.Metrics.BadAuth(user, from)
	}
}

func (s *Server) hasIPv4() bool {
	_, ok := s.relayOf(false)
	return ok
}

func (s *Server) relayOf(ipv6 bool) (Relay, bool) {
	for _, r := range s.config.Relays {
		if r.Local.Is6() == ipv6 {
			return r, true
		}
	}
	return Relay{}, false
}

// UDP, TCP and TLS are the addresses that are listened on.
func (s *Server) UDP() []netip.AddrPort { return s.udp }

// TCP is as UDP.
func (s *Server) TCP() []netip.AddrPort { return s.tcp }

// TLS is as UDP.
func (s *Server) TLS() []netip.AddrPort { return s.tls }

// Active is how many relays there are.
func (s *Server) Active() int { return s.protocol.AllocationCount() }

// Close ends all relays and connections.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closed = s.protocol.Close() })
	return s.closed
}
