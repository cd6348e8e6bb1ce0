package media

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/media/relay"
	"signalbox/media/udp"
)

// Metrics are called by whoever causes them and must not block. Nil fields are silent.
type Metrics struct {
	Opened, Closed func()            // a bridge or echo
	Silent         func()            // one that ended because a side fell silent
	Handshake      func(failed bool) // DTLS
}

// Config is what New needs.
type Config struct {
	Ports  udp.Range // for phones
	WebRTC uint16    // the one port of all browsers; 0 chooses a free one

	// Public are the addresses to write into descriptions, at most one of each family, where the machine itself does not have the address that
	// peers reach it by. Without one, each peer is told the address that its signalling reaches.
	Public []netip.Addr

	Timeout time.Duration // of a leg that has fallen silent; 0 is DefaultTimeout
	Logger  *slog.Logger  // nil is silent
	Metrics Metrics
}

// Validate reports what is missing or wrong.
func (c *Config) Validate() error {
	switch {
	case c.Ports.First == 0 || c.Ports.Pairs() < 1:
		return errors.New("media: Ports is needed")
	case c.Timeout < 0:
		return errors.New("media: Timeout is negative")
	}
	return nil
}

// Engine owns the sockets and everything that all calls share.
type Engine struct {
	config  Config
	log     *slog.Logger
	shared  []*udp.Socket // the port of the browsers, read by a poller each
	pollers []*udp.Poller
	ports   udp.Pool
	turn    atomic.Uint32 // which poller is next

	cert        tls.Certificate
	fingerprint string
	began       time.Time
	origin      relay.Origin
	legs        atomic.Uint32 // numbers them

	mu       sync.Mutex
	sessions map[session]struct{}
	browsers map[string]*browser // by our user name fragment
	guests   guests

	handshakes handshakes

	past  traffic // of calls that are over
	known Traffic // what was told last

	addrs     []netip.Addr // of the machine
	addrsRead time.Duration

	stop chan struct{}
	done sync.WaitGroup
	once sync.Once
}

// session is a Bridge or an Echo, as the clock sees it.
type session interface {
	tick(now time.Duration)
	traffic(t *Traffic)
	Close()
}

// New opens the port of the browsers and begins to serve.
func New(c Config) (*Engine, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	e := &Engine{
		config: c, log: c.Logger, began: time.Now(), origin: relay.NewOrigin(),
		sessions: map[session]struct{}{}, browsers: map[string]*browser{}, stop: make(chan struct{}),
		handshakes: handshakes{collect: runtime.GC, giveBack: debug.FreeOSMemory},
	}
	e.ports.Range = c.Ports
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if err := e.open(); err != nil {
		e.Close()
		return nil, err
	}
	e.done.Go(e.clock)
	return e, nil
}

func (e *Engine) open() (err error) {
	if e.cert, e.fingerprint, err = selfSigned(); err != nil {
		return err
	}
	readers := max(1, runtime.GOMAXPROCS(0)/2) // one reader keeps two cores busy (ADR 4)
	for range readers {
		p, err := udp.NewPoller(e.panicked)
		if err != nil {
			return err
		}
		e.pollers = append(e.pollers, p)
	}
	shared, err := udp.BindShared(netip.AddrPortFrom(netip.Addr{}, e.config.WebRTC), readers)
	if err != nil {
		return fmt.Errorf("media: udp port %d for browsers: %w", e.config.WebRTC, err)
	}
	for i, s := range shared {
		if err := e.pollers[i].AddBusy(s, newShard(e).receive); err != nil {
			for _, rest := range shared[i:] {
				rest.Close()
			}
			return err
		}
	}
	e.shared = shared
	return nil
}

// Close ends every call's media and closes all sockets.
func (e *Engine) Close() {
	e.once.Do(func() {
		close(e.stop)
		e.done.Wait()
		for _, s := range e.all() {
			s.Close()
		}
		for _, p := range e.pollers {
			p.Close()
		}
	})
}

// WebRTC is the port that browsers send to.
func (e *Engine) WebRTC() uint16 { return e.shared[0].Port() }

// Sessions is how many calls there are.
func (e *Engine) Sessions() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sessions)
}

// Sockets is how many sockets of phones are open.
func (e *Engine) Sockets() int {
	n := -len(e.shared)
	for _, p := range e.pollers {
		n += p.Len()
	}
	return n
}

// now counts from the start of the engine.
func (e *Engine) now() time.Duration { return time.Since(e.began) }

func (e *Engine) add(s session) {
	e.mu.Lock()
	e.sessions[s] = struct{}{}
	e.mu.Unlock()
	if e.config.Metrics.Opened != nil {
		e.config.Metrics.Opened()
	}
}

func (e *Engine) remove(s session) {
	e.mu.Lock()
	delete(e.sessions, s)
	e.mu.Unlock()
	if e.config.Metrics.Closed != nil {
		e.config.Metrics.Closed()
	}
}

func (e *Engine) all() []session {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]session, 0, len(e.sessions))
	for s := range e.sessions {
		list = append(list, s)
	}
	return list
}

// clock is the one timer of all calls: reports, requests for pictures, silence.
func (e *Engine) clock() {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-e.stop:
			return
		case wall := <-t.C:
			now := e.now()
			for _, s := range e.all() {
				e.guard(func() { s.tick(now) })
			}
			e.sweep(wall)
		}
	}
}

// guard keeps a panic to one call.
func (e *Engine) guard(do func()) {
	defer func() {
		if v := recover(); v != nil {
			e.panicked(v, netip.AddrPort{})
		}
	}()
	do()
}

// panicked tells of a panic that was kept to what caused it.
func (e *Engine) panicked(v any, from netip.AddrPort) {
	e.log.Error("media: panic; what caused it is passed over", "panic", v, "source", from, "stack", string(debug.Stack()))
}

// sweep closes the descriptors of sockets that were left.
func (e *Engine) sweep(now time.Time) {
	for _, p := range e.pollers {
		p.Sweep(now)
	}
}

// poller takes turns.
func (e *Engine) poller() *udp.Poller { return e.pollers[int(e.turn.Add(1))%len(e.pollers)] }

// browser finds a leg by our fragment of the user name.
func (e *Engine) browser(ufrag []byte) *browser {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.browsers[string(ufrag)]
}

// advertised is the address to tell a peer that reaches our signalling at local.
func (e *Engine) advertised(local netip.Addr) netip.Addr {
	local = local.Unmap()
	for _, a := range e.config.Public {
		if a.Is4() == local.Is4() && !local.IsLoopback() {
			return a
		}
	}
	return local.WithZone("")
}

// selfSigned makes the certificate of this run. Its name says nothing, its fingerprint is all that counts. RFC 8122, 3.4
func selfSigned() (tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, "", err
	}
	t := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fingerprint(der), nil
}

// fingerprint of a certificate, as a description has it. RFC 8122, 5
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha-256 " + strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}
