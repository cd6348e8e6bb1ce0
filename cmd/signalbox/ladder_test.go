package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"

	"signalbox/internal/database"
	"signalbox/internal/ladder/laddertest"
	"signalbox/internal/resolve"
	"signalbox/internal/wire"
	"signalbox/location"
)

// package laddertest looks it up by its name.
var _ = flag.Bool("update", false, "rewrite the server's lines of the ladders")

// The call flows of the whole server: registrar, proxy, transactions and authentication as they run, over a network in memory and in virtual time.
func TestLadders(t *testing.T) {
	for _, room := range []string{"registrar", "transaction", "proxy"} {
		t.Run(room, func(t *testing.T) { laddertest.Dir(t, filepath.Join("testdata", "ladder", room), newLadderServer) })
	}
}

// newLadderServer assembles the signalling core as serve does. A ladder's options: "inbound any".
func newLadderServer(t *testing.T, env *laddertest.Env) laddertest.Server {
	t.Helper()
	users := make(fixedUsers)
	for _, u := range env.Users {
		user, err := database.NewUser(u.Name, env.Domain, u.Password)
		if err != nil {
			t.Fatal(err)
		}
		users[u.Name+"@"+env.Domain] = user
	}
	bindings, err := location.Open(nil, location.Config{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	c := serveDefaults()
	if inbound, ok := env.Options["inbound"]; ok {
		c.inbound = inbound
	}
	key := bytes.Repeat([]byte{1}, 32)
	core, err := newCore(parts{
		config: c, domains: wire.NewDomains([]string{env.Domain}, []string{"192.0.2.100", "2001:db8::100"}), users: users, bindings: bindings,
		resolver: hosts{env.Hosts, resolve.New(resolve.Config{Protos: []wire.Proto{wire.UDP, wire.TCP, wire.TLS}, IPv4: true, IPv6: true})},
		network:  env.Network, nonceKey: key, routeKey: key, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		_ = bindings.Close(context.Background()) // nothing may be left running in the bubble
		t.Fatal(err)
	}
	return laddertest.Server{
		Receiver:     core.layer,
		Transactions: func() int { n := core.layer.Counts(); return n.Servers + n.Clients },
		Close: func() {
			core.layer.Close()
			_ = bindings.Close(context.Background())
		},
	}
}

// fixedUsers are the accounts of a ladder.
type fixedUsers map[string]database.User

func (u fixedUsers) Get(name, domain string) (database.User, bool) {
	user, ok := u[name+"@"+domain]
	return user, ok
}

// hosts resolves the names that a ladder's directive dns gives; addresses go the real way.
type hosts struct {
	names map[string][]netip.Addr
	*resolve.Resolver
}

func (h hosts) Resolve(u wire.URI, done func(hops []wire.Hop, err error)) {
	addrs, known := h.names[u.Host]
	if _, numeric := u.Addr(); numeric {
		h.Resolver.Resolve(u, done)
		return
	}
	if !known {
		done(nil, wire.Errorf(503, "", "no such name: %s", u.Host))
		return
	}
	var hops []wire.Hop
	for _, a := range addrs {
		hops = append(hops, wire.Hop{Proto: wire.UDP, Addr: netip.AddrPortFrom(a, 5060)})
	}
	done(hops, nil)
}
