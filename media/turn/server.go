package turn

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"signalbox/media/udp"
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
	BadAuth   func(user string, from netip.AddrPort)
	Denied    func() // a peer that may not be reached
	Refused   func(why Reason)
	Panicked  func() // while something that a client or a peer sent was handled
}

// Traffic is what passed a relay, in datagrams and bytes.
type Traffic struct {
	ToPeers, ToPeersBytes, ToPeersDropped    uint64
	ToClient, ToClientBytes, ToClientDropped uint64
}

func (t *Traffic) add(more Traffic) {
	t.ToPeers += more.ToPeers
	t.ToPeersBytes += more.ToPeersBytes
	t.ToPeersDropped += more.ToPeersDropped
	t.ToClient += more.ToClient
	t.ToClientBytes += more.ToClientBytes
	t.ToClientDropped += more.ToClientDropped
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
	config       Config
	clock        clock
	nonces       nonces
	peers        peers
	live         ports // of relays
	accounts     accounts
	reservations reservations
	gate         gate
	connections  connections

	workers   []*worker
	doors     []*door
	listeners []*streams
	writers   sync.WaitGroup // of streams
	sweeping  sync.WaitGroup
	stop      chan struct{}

	mu          sync.Mutex
	closed      bool
	allocations map[*allocation]struct{}
	ended       Traffic // of relays that are closed
	nextWorker  int     // for a client that comes over a stream

	udp, tcp, tls []netip.AddrPort
	closing       sync.Once
}

// New binds the listeners and serves. It returns an error if the Config is not valid, or an address cannot be had.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := newServer(c)
	if err := s.serve(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func newServer(c Config) *Server {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Allocations == 0 {
		c.Allocations = Allocations
	}
	if c.Kbits == 0 {
		c.Kbits = Kbits
	}
	s := &Server{config: c, clock: clock{time.Now()}, allocations: map[*allocation]struct{}{}, stop: make(chan struct{})}
	s.nonces.clock = s.clock
	_, _ = rand.Read(s.nonces.key[:]) // never fails
	s.peers = peers{relays: c.Relays, allowed: c.Allowed, own: c.Own, media: c.Media, live: &s.live}
	s.accounts = accounts{limit: c.Allocations, rate: int64(c.Kbits) * 1000 / 8, users: map[string]*account{}}
	s.reservations = reservations{s: s, kept: map[[tokenLength]byte]*reserved{}}
	s.gate = gate{s: s, seed: maphash.MakeSeed()}
	s.connections = connections{per: map[netip.Addr]int{}, held: map[*stream]struct{}{}}
	return s
}

func (s *Server) serve() error {
	for range min(max(1, runtime.GOMAXPROCS(0)/coresPerWorker), maxWorkers) {
		p, err := udp.NewPoller(s.panicked)
		if err != nil {
			return err
		}
		s.workers = append(s.workers, &worker{p})
	}
	s.sweeping.Go(s.sweep)
	for _, one := range s.config.UDP {
		if err := s.listenUDP(one); err != nil {
			return &ListenError{"udp", one, err}
		}
	}
	for _, one := range s.config.TCP {
		a, err := s.listenStreams(one, nil)
		if err != nil {
			return &ListenError{"tcp", one, err}
		}
		s.tcp = append(s.tcp, a)
	}
	for _, one := range s.config.TLS {
		a, err := s.listenStreams(one, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.config.Certificate})
		if err != nil {
			return &ListenError{"tls", one, err}
		}
		s.tls = append(s.tls, a)
	}
	return nil
}

// add keeps an allocation. False if its client has one, or the server is closing.
func (s *Server) add(a *allocation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !a.c.assign(a) {
		return false
	}
	s.allocations[a] = struct{}{}
	return true
}

func (s *Server) remove(a *allocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.allocations, a)
}

// all lists the allocations.
func (s *Server) all() []*allocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*allocation, 0, len(s.allocations))
	for a := range s.allocations {
		list = append(list, a)
	}
	return list
}

// sweep ends what is past its time, now and then; packets look at the time themselves.
func (s *Server) sweep() {
	tick := time.NewTicker(sweepTime)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		now := s.clock.now()
		for _, a := range s.all() {
			s.guard(func() { a.expire(now) })
		}
		s.guard(func() { s.reservations.expire(now) })
		for _, w := range s.workers {
			w.poller.Sweep(time.Now())
		}
	}
}

// guard keeps a panic to what is done here.
func (s *Server) guard(do func()) {
	defer s.caught(netip.AddrPort{})
	do()
}

// caught is to be deferred.
func (s *Server) caught(from netip.AddrPort) {
	if v := recover(); v != nil {
		s.panicked(v, from)
	}
}

// panicked tells of a panic that was kept to what caused it.
func (s *Server) panicked(v any, from netip.AddrPort) {
	s.config.Logger.Error("turn: panic; what caused it is passed over", "panic", v, "source", from)
	if s.config.Metrics.Panicked != nil {
		s.config.Metrics.Panicked()
	}
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

// badAuth charges a wrong password to its address, and tells of it.
func (s *Server) badAuth(user string, from netip.AddrPort) {
	s.gate.wrong(from.Addr())
	if s.config.Metrics.BadAuth != nil {
		s.config.Metrics.BadAuth(user, from)
	}
}

// relayOf is the address of relays of a family, nil if there is none.
func (s *Server) relayOf(family byte) *Relay {
	for i := range s.config.Relays {
		if r := &s.config.Relays[i]; familyOf(r.Local) == family {
			return r
		}
	}
	return nil
}

// UDP, TCP and TLS are the addresses that are listened on.
func (s *Server) UDP() []netip.AddrPort { return s.udp }

// TCP is as UDP.
func (s *Server) TCP() []netip.AddrPort { return s.tcp }

// TLS is as UDP.
func (s *Server) TLS() []netip.AddrPort { return s.tls }

// Active is how many clients have an allocation.
func (s *Server) Active() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.allocations)
}

// Traffic is what has passed all relays since the start.
func (s *Server) Traffic() Traffic {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ended
	for a := range s.allocations {
		for _, r := range a.relays {
			if r != nil && !r.counted {
				t.add(r.traffic())
			}
		}
	}
	return t
}

// Close ends all relays and connections.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		close(s.stop)
		s.sweeping.Wait()
		for _, l := range s.listeners {
			l.close()
		}
		for _, a := range s.all() {
			a.end()
		}
		s.reservations.expire(math.MaxInt64)
		for _, d := range s.doors {
			d.w.poller.Remove(d.socket)
		}
		for _, w := range s.workers {
			w.poller.Close()
		}
		s.writers.Wait()
	})
	return nil
}
