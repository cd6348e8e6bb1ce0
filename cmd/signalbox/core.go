package main

import (
	"context"
	"log/slog"
	"time"

	"signalbox/internal/auth"
	"signalbox/internal/database"
	"signalbox/internal/gruu"
	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
	"signalbox/media"
	"signalbox/media/echo"
	"signalbox/media/messages"
	"signalbox/proxy"
	"signalbox/registrar"
	"signalbox/registrar/login"
	"signalbox/registrar/regevent"
)

// routeSecret is the name of the key for Record-Route signatures and GRUUs.
const routeSecret = "record-route"

// parts is what the signalling core is assembled from: real sockets and a database in the server, memory in the ladder tests.
type parts struct {
	config    *config
	domains   *wire.Domains
	users     accounts
	bindings  *location.Service
	resolver  proxy.Resolver
	network   transport.Network
	lag       func() time.Duration
	nonceKey  []byte // for Digest nonces
	routeKey  []byte // for Record-Route signatures and GRUUs
	log       *slog.Logger
	finished  func(tx *transaction.Server, code int, took time.Duration)
	badSecret func(user, source string)
	strayed   func(domain string, from wire.FlowID) // nil: nobody is told
	media     *media.Engine                         // nil: no media is bridged
	messages  *messages.Gateway                     // nil: no pages with data channels

	changes       *changes       // of bindings; nil: nobody tells
	subscriptions regevent.Store // nil: a restart forgets them
	happened      func(regevent.Happening)

	devices      *database.Devices // nil: none, and none are stored
	policy       *policyBox        // nil: none
	loginChanged func(database.Login, login.Event)
}

// accounts are the users in memory.
type accounts interface {
	Get(name, domain string) (database.User, bool)
}

// directory shows the accounts to the rooms, each of which asks for less.
type directory struct {
	accounts
	devices *database.Devices
}

// HA1 serves auth.
func (d directory) HA1(name, realm string) (md5, sha256 string, ok bool) {
	u, ok := d.Get(name, realm)
	return u.MD5, u.SHA256, ok
}

// Exists serves proxy and registrar.
func (d directory) Exists(name, domain string) bool {
	if _, ok := d.Get(name, domain); ok {
		return true
	}
	_, ok := d.devices.Device(wire.AOR{User: name, Host: domain}) // one with a certificate has no account
	return ok
}

// core is the signalling: transactions, and the dispatcher with registrar and proxy behind it.
type core struct {
	layer    *transaction.Layer
	proxy    *proxy.Proxy
	echo     *echo.Service // nil without media
	dispatch *dispatcher
	events   *regevent.Notifier
	logins   *login.Service
	gruus    *gruu.Maker
	auth     *auth.Verifier

	// What returnPath needs.
	network   transport.Network
	resolver  proxy.Resolver
	reachable func(wire.Hop) bool
}

func newCore(p parts) (*core, error) {
	if p.policy == nil {
		p.policy = new(policyBox)
	}
	if p.devices == nil {
		p.devices = database.NewDevices()
	}
	if p.messages != nil {
		p.network = pageFlows{p.network, p.messages}
	}
	users := directory{p.users, p.devices}
	verifier, err := auth.NewVerifier(auth.Config{
		Users: users, Key: p.nonceKey, SHA256First: p.config.sha256First, Failed: p.badSecret,
		Ours: func(host string, port int) bool {
			_, domain := p.domains.Domain(host)
			return domain || p.network.IsLocal(host, port)
		},
		Accepts: func(s auth.Session) bool {
			return registrar.Accepts(p.bindings, s, func() {
				p.log.Warn("a session token came that a later one had replaced: the session is over", "user", s.User, "domain", s.Realm, "source", s.From)
			})
		},
	})
	if err != nil {
		return nil, err
	}
	var believes registrar.Auth = verifier
	if p.messages != nil {
		believes = pageAuth{verifier, p.messages}
	}
	c := &core{dispatch: &dispatcher{domains: p.domains, local: p.network.IsLocal, strayed: p.strayed}, auth: verifier, network: p.network, resolver: p.resolver}
	c.layer = transaction.New(transaction.Config{
		Handler:  c.dispatch,
		Finished: p.finished,
		Fallback: c.comeBack,
		Knows:    c.dispatch.knows,
		Lag:      p.lag,
		Limits:   transaction.Limits{Transactions: p.config.limits.Transactions},
		Logger:   p.log,
	})
	if err := c.addLogins(p); err != nil {
		c.layer.Close()
		return nil, err
	}
	gruus, err := gruu.New(p.routeKey)
	if err != nil {
		_ = c.close(context.Background())
		return nil, err
	}
	c.gruus = gruus
	c.dispatch.registrar, err = registrar.New(registrar.Config{
		GRUU:           gruus,
		Network:        p.network,
		Timers:         c.layer.NewOwner(),
		Layer:          c.layer,
		Domains:        p.domains,
		Auth:           believes,
		Location:       p.bindings,
		Local:          p.network,
		Logins:         c.logins,
		Tokens:         verifier,
		Policy:         p.policy.get,
		MinExpires:     p.config.limits.minExpires(),
		DefaultExpires: p.config.limits.defaultExpires(),
		MaxExpires:     p.config.limits.maxExpires(),
		MaxContacts:    p.config.limits.ContactsPerAOR,
	})
	if err != nil {
		_ = c.close(context.Background())
		return nil, err
	}
	forwarding := proxy.Config{
		Devices:      c.logins,
		Policy:       p.policy.get,
		GRUU:         gruus,
		FlowFailed:   c.dispatch.registrar.FlowFailed,
		Domains:      p.domains,
		Users:        users,
		Auth:         believes,
		Location:     p.bindings,
		Resolver:     p.resolver,
		Network:      p.network,
		Layer:        c.layer,
		Key:          p.routeKey,
		Inbound:      proxy.Inbound(p.config.inbound),
		AllowPrivate: p.config.allowPrivate,
		Edge:         wire.NewDomains(p.config.edge, nil),
	}
	c.addMedia(p.media, &forwarding)
	c.proxy, err = proxy.New(forwarding)
	if err != nil {
		_ = c.close(context.Background())
		return nil, err
	}
	c.dispatch.proxy, c.reachable = c.proxy, c.proxy.Reachable
	if p.changes != nil {
		p.changes.add(c.proxy.Changed)
	}
	if err := c.addEvents(p, users, verifier, gruus); err != nil {
		_ = c.close(context.Background())
		return nil, err
	}
	return c, nil
}
