package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"signalbox/internal/console"
	webphone "signalbox/internal/console/phone"
	"signalbox/internal/database"
	"signalbox/internal/resolve"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
	"signalbox/media"
	"signalbox/media/messages"
	"signalbox/media/turn"
)

// server is the running program.
type server struct {
	config   *config
	log      *slog.Logger
	requests *requestLog
	started  time.Time

	domains  *wire.Domains
	db       *database.DB
	users    *database.Users
	devices  *database.Devices
	policy   policyBox
	reload   sync.Mutex // one reload at a time
	bindings *location.Service
	changes  changes           // of bindings
	journal  *database.Journal // events and subscriptions
	network  *transport.Transport
	core     *core
	media    *media.Engine      // nil: no browsers, no SRTP
	messages *messages.Gateway  // nil: no pages
	turn     *turn.Server       // nil: none
	ready    []webphone.Account // that the phone page may offer: those of signalbox dev

	refused      namedOnce     // web pages that wanted to connect
	strayed      namedOnce     // domains that phones wanted to register with
	calls        mediaCounters // of the media bridge
	turnCounters turnCounters

	certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error) // nil: nothing needs one
	localCA     *transport.LocalCA                                   // nil: the certificate is the operator's

	undo []func(context.Context) error // what start did, to be undone backwards
}

// startServer opens the data directory, assembles the rooms and begins to serve. prepare, if not nil, sees the open store before anybody else. All is
// undone when it returns an error.
func startServer(ctx context.Context, c *config, requests *requestLog, log *slog.Logger, prepare func(context.Context, *server) error) (*server, error) {
	if err := c.readPolicy(); err != nil {
		return nil, err
	}
	s := &server{config: c, log: log, requests: requests, started: time.Now()}
	prepared := func(ctx context.Context) error {
		if prepare == nil {
			return nil
		}
		return prepare(ctx, s)
	}
	for _, step := range []func(context.Context) error{s.lockDirectory, s.openStore, s.bind, s.openMedia, s.openMessages, s.openTURN, prepared, s.assemble, s.serveControl, s.serveMetrics} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.stop(ctx))
		}
	}
	s.network.Start(s.core.layer)
	s.startMessages()
	if err := s.serveWeb(ctx); err != nil {
		return nil, errors.Join(err, s.stop(ctx))
	}
	return s, nil
}

func (s *server) onStop(fn func(context.Context) error) { s.undo = append(s.undo, fn) }

// stop undoes what start did, the last first.
func (s *server) stop(ctx context.Context) error {
	var all []error
	for _, fn := range slices.Backward(s.undo) {
		all = append(all, fn(ctx))
	}
	s.undo = nil
	return errors.Join(all...)
}

func (s *server) lockDirectory(ctx context.Context) error {
	lock, err := waitLock(ctx, s.config.dataDir(), "a signalbox server")
	if err != nil {
		return err
	}
	s.onStop(func(context.Context) error { lock.release(); return nil })
	return nil
}

func (s *server) openStore(ctx context.Context) (err error) {
	if s.db, err = database.Open(ctx, s.config.database); err != nil {
		return err
	}
	s.onStop(func(context.Context) error { return s.db.Close() })
	if s.users, err = s.db.Users(ctx); err != nil {
		return err
	}
	if s.devices, err = s.db.Devices(ctx); err != nil {
		return err
	}
	if err := s.openJournal(ctx); err != nil {
		return err
	}
	s.changes.add(s.bindingChanged)
	s.changes.add(phones{s.journal}.changed)
	s.changes.add(feed{s.journal}.changed)
	s.bindings, err = location.Open(s.db.SQL(), location.Config{
		Volatile: s.config.volatile, Changed: s.changes.changed,
		Committed: func(addresses int, _ time.Duration, err error) {
			if err != nil {
				s.log.Error("registrations could not be stored", "addresses", addresses, "error", err)
			}
		},
	})
	if err != nil {
		return err
	}
	s.onStop(s.bindings.Close)
	return feed{s.journal}.catchUp(ctx, s.db, s.bindings)
}

// openJournal begins to write events. It ends after the bindings, whose last changes it hears of.
func (s *server) openJournal(ctx context.Context) (err error) {
	s.journal, err = s.db.Journal(ctx, func(err error) { s.log.Error("events could not be stored", "error", err) })
	if err != nil {
		return err
	}
	s.onStop(func(ctx context.Context) error {
		s.journal.Append(database.Event{Event: "stopped"})
		return s.journal.Close(ctx)
	})
	return nil
}

// bindingChanged logs what no request line tells.
func (s *server) bindingChanged(aor wire.AOR, before, after []location.Binding, why location.Reason) {
	if why == location.Expired {
		s.log.Info("registration expired", "address", harmless(aor.User+"@"+aor.Host), "contacts_left", len(after))
	}
}

// bind opens the listeners; nothing is read from them yet.
func (s *server) bind(context.Context) (err error) {
	c := transport.Config{
		UDP: s.config.udp, TCP: s.config.tcp, TLS: s.config.tls, WSS: s.config.https, WS: s.config.http, Proxies: s.config.proxies,
		Advertise: s.config.advertise,
		KeptAlive: func(id wire.FlowID) bool { return s.core.dispatch.registrar.KeptAlive(id) }, // nothing is read before there is a core
		Logger:    s.log,
		Limits:    transport.Limits{Connections: s.config.limits.Connections, PerAddress: s.config.limits.ConnectionsPerAddress},
	}
	if s.config.level <= levelTrace {
		c.Trace = s.requests.trace
	}
	if err := s.certificates(&c); err != nil {
		return err
	}
	s.network, err = transport.New(c)
	if err != nil && s.config.httpsUnasked && tryListen("tcp", s.config.https[0]) != nil {
		where := "[listen] https"
		if s.config.places == nil {
			where = "--https"
		}
		s.log.Warn("no web pages: their port is taken; choose another with "+where, "https", s.config.https[0])
		s.config.https, c.WSS = nil, nil
		s.network, err = transport.New(c)
	}
	if err != nil {
		return s.config.blame(err)
	}
	s.onStop(s.network.Close)
	return nil
}

func (s *server) assemble(ctx context.Context) error {
	nonceKey, err := s.db.Secret(ctx, "nonce")
	if err != nil {
		return err
	}
	routeKey, err := s.db.Secret(ctx, routeSecret)
	if err != nil {
		return err
	}
	s.domains = wire.NewDomains(s.config.domains, s.config.aliases)
	s.policy.now.Store(s.config.policy)
	p := parts{
		devices: s.devices, policy: &s.policy, loginChanged: feed{s.journal}.loginEvent,
		config: s.config, domains: s.domains, users: s.users, bindings: s.bindings, resolver: resolve.New(s.resolverConfig()),
		changes: &s.changes, subscriptions: subscriptionStore{s.journal}, happened: feed{s.journal}.subscription,
		media: s.media, messages: s.messages, network: s.network, lag: s.network.Lag, nonceKey: nonceKey, routeKey: routeKey, log: s.log,
		strayed: s.phoneStrayed,
		badSecret: func(user, source string) {
			s.log.Warn("wrong password", "user", harmless(shorten(user)), "source", source)
		},
	}
	if s.config.level <= slog.LevelInfo {
		p.finished = s.requests.finished
	}
	if s.core, err = newCore(p); err != nil {
		return err
	}
	s.onStop(s.core.close)
	s.onStop(s.hangUpMedia)
	if err := s.restoreSubscriptions(ctx); err != nil {
		return err
	}
	return nil
}

// resolverConfig offers the transports and address families that we listen on: we cannot be answered on others.
func (s *server) resolverConfig() resolve.Config {
	c := resolve.Config{Logger: s.log}
	for _, l := range s.network.Addrs() {
		if l.Proto == wire.WS || l.Proto == wire.WSS {
			continue // a WebSocket is never opened from our side
		}
		if !slices.Contains(c.Protos, l.Proto) {
			c.Protos = append(c.Protos, l.Proto)
		}
		if l.Addr.Addr().Is4() {
			c.IPv4 = true
		} else {
			c.IPv6 = true
		}
	}
	return c
}

func (s *server) serveControl(context.Context) error {
	desk := &console.Desk{Users: s.users, Bindings: s.bindings, Domains: s.domains, Events: s.journal, Phones: s.journal,
		Devices: s.devices, Logins: s.core.logins, GRUU: s.core.gruus}
	c, err := startControl(s.config.dataDir(), console.Handler(desk, s), s.log)
	if err != nil {
		return err
	}
	c.http.RegisterOnShutdown(s.journal.Release) // who follows the events is let go
	s.onStop(c.stop)
	return nil
}

// Status serves GET /v1/status.
func (s *server) Status() console.Status {
	counts := s.core.layer.Counts()
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	st := console.Status{
		Version: version, PID: os.Getpid(), Started: s.started, Domains: s.domains.Names(),
		Kept: counts.Servers + counts.Clients, Refused: counts.Refused, Goroutines: runtime.NumGoroutine(), Heap: heap[0].Value.Uint64(),
		Users: s.users.Len(), Registrations: s.bindings.Len(), Subscriptions: s.core.events.Len(), Transactions: counts.Active, Draining: s.core.dispatch.draining.Load(),
	}
	st.Listening, st.Media, st.TURN = s.listening(), s.mediaStatus(), s.turnStatus()
	return st
}

// listening is what we listen on, as it would be written in the configuration: "udp :5060" is IPv4 and IPv6.
func (s *server) listening() []string {
	var list []string
	for _, l := range s.network.Addrs() {
		addr := l.Addr.String()
		if l.Addr.Addr().IsUnspecified() {
			addr = ":" + strconv.Itoa(int(l.Addr.Port()))
		}
		if one := listenKey(l.Proto) + " " + addr; !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list
}

// listenKey is the key of a listener in the configuration.
func listenKey(p wire.Proto) string {
	switch p {
	case wire.WS:
		return "http"
	case wire.WSS:
		return "https"
	}
	return strings.ToLower(p.String())
}

// Reload reads users and devices again, which another program may have changed in the database, and the policy.
func (s *server) Reload() error {
	s.reload.Lock()
	defer s.reload.Unlock()
	ctx := context.Background()
	if err := errors.Join(s.users.Reload(ctx), s.devices.Reload(ctx)); err != nil {
		return err
	}
	return s.reloadPolicy(ctx)
}

// drain refuses new requests and waits until the running ones have ended, at most until ctx ends.
func (s *server) drain(ctx context.Context) {
	s.core.dispatch.draining.Store(true)
	for idle := time.Now(); time.Since(idle) < drainLinger; {
		if s.core.layer.Active() > 0 {
			idle = time.Now()
		}
		select {
		case <-ctx.Done():
			s.log.Warn("stopping with transactions still running", "transactions", s.core.layer.Active())
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
