package messages

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/media"
)

// Config is what New needs.
type Config struct {
	Media  *media.Engine // its port is that of the pages
	Logger *slog.Logger  // nil is silent
}

// Page is who asks for a session, and has proven it.
type Page struct {
	User          wire.AOR
	Local, Remote netip.AddrPort // of its HTTP request
	Secure        bool           // which came over TLS
	Valid         func() bool    // tells whether the proof still holds: the account is there, and its password the same
}

// Gateway keeps the sessions. Safe for concurrent use.
type Gateway struct {
	config   Config
	log      *slog.Logger
	cert     webrtc.Certificate
	receiver transport.Receiver
	times    times

	mu     sync.Mutex
	closed bool
	serial uint64
	all    map[uint64]*session // by the serial of their flow
	users  map[wire.AOR]int
	runs   sync.WaitGroup
}

// times are those that tests do not wait for.
type times struct{ silence, gone, open time.Duration }

// ours is set in the serials of our flows: the transport counts from below it.
const ours = 1 << 63

// New makes a gateway.
func New(c Config) (*Gateway, error) {
	if c.Media == nil {
		return nil, errors.New("messages: Media is needed")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, err
	}
	return &Gateway{
		config: c, log: c.Logger, cert: *cert, times: times{silence, gone, openTime}, serial: ours | uint64(time.Now().UnixNano()),
		all: map[uint64]*session{}, users: map[wire.AOR]int{},
	}, nil
}

// Start says where the requests of pages go. Before it no session can be opened.
func (g *Gateway) Start(r transport.Receiver) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.receiver = r
}

// Open takes a page's offer and returns the answer. Its errors are responses (*wire.Error), whose codes HTTP has too.
func (g *Gateway) Open(ctx context.Context, p Page, offer []byte) (answer []byte, err error) {
	clean, err := readOffer(offer)
	if err != nil {
		return nil, err
	}
	s, err := g.enter(p)
	if err != nil {
		return nil, err
	}
	if answer, err = s.connect(ctx, clean); err != nil {
		s.finish()
		return nil, err
	}
	go s.run()
	return answer, nil
}

// enter makes room for a session. Whoever has got it calls finish.
func (g *Gateway) enter(p Page) (*session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed || g.receiver == nil:
		return nil, wire.Errorf(503, "The server is stopping.", "messages: closed")
	case len(g.all) >= maxSessions:
		return nil, wire.Errorf(503, "Too many pages are connected.", "messages: %d sessions", len(g.all))
	case g.users[p.User] >= maxOfUser:
		return nil, wire.Errorf(429, "This user has too many pages open.", "messages: %d sessions of %s", maxOfUser, p.User)
	}
	g.serial++
	proto := wire.WS
	if p.Secure {
		proto = wire.WSS
	}
	s := newSession(g, p, wire.FlowID{Proto: proto, Local: p.Local, Remote: p.Remote, Serial: g.serial | ours})
	g.all[s.flow.id.Serial] = s
	g.users[p.User]++
	g.runs.Add(1)
	return s, nil
}

func (g *Gateway) leave(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.all, s.flow.id.Serial)
	if g.users[s.page.User]--; g.users[s.page.User] == 0 {
		delete(g.users, s.page.User)
	}
	g.runs.Done()
}

func (g *Gateway) session(id wire.FlowID) *session {
	if id.Serial&ours == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.all[id.Serial]; s != nil && s.flow.id == id {
		return s
	}
	return nil
}

// Find returns the flow of a page, as transport.Network does for sockets.
func (g *Gateway) Find(id wire.FlowID) (transport.Flow, bool) {
	if s := g.session(id); s != nil {
		return s.flow, true
	}
	return nil, false
}

// Proven tells who is at the other end of a flow, and since when that is known. ok is false for all flows but those of pages.
func (g *Gateway) Proven(id wire.FlowID) (user wire.AOR, since time.Time, ok bool) {
	s := g.session(id)
	if s == nil || !s.page.Valid() {
		return user, since, false
	}
	return s.page.User, s.began, true
}

// Len is how many sessions there are.
func (g *Gateway) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.all)
}

// Close ends all sessions and waits for them.
func (g *Gateway) Close() {
	g.mu.Lock()
	g.closed = true
	for _, s := range g.all {
		s.end("the server stops")
	}
	g.mu.Unlock()
	g.runs.Wait()
}
