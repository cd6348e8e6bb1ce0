package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

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
	rooms, err := filepath.Glob(filepath.Join("testdata", "ladder", "*"))
	if err != nil || len(rooms) == 0 {
		t.Fatalf("no ladders: %v", err)
	}
	for _, room := range rooms {
		t.Run(filepath.Base(room), func(t *testing.T) { laddertest.Dir(t, room, newLadderServer) })
	}
}

// newLadderServer assembles the signalling core as serve does. A ladder's options: "inbound any", and those of ladderDevices and playAdministrator.
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
	var told changes
	bindings, err := location.Open(nil, location.Config{Volatile: true, Changed: told.changed})
	if err != nil {
		t.Fatal(err)
	}
	c := serveDefaults()
	if inbound, ok := env.Options["inbound"]; ok {
		c.inbound = inbound
	}
	key := bytes.Repeat([]byte{1}, 32)
	var box policyBox
	if name, ok := env.Options["policy"]; ok {
		box.now.Store(ladderPolicy(t, env, name))
	}
	core, err := newCore(parts{
		devices: ladderDevices(t, env), policy: &box,
		config: c, domains: wire.NewDomains([]string{env.Domain}, []string{"192.0.2.100", "2001:db8::100"}), users: users, bindings: bindings, changes: &told,
		resolver: resolve.New(resolve.Config{
			Servers: []string{"memory"}, Exchange: zone(t, env.Records), Protos: []wire.Proto{wire.UDP, wire.TCP, wire.TLS}, IPv4: true, IPv6: true,
		}),
		network: env.Network, nonceKey: key, routeKey: key, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		_ = bindings.Close(context.Background()) // nothing may be left running in the bubble
		t.Fatal(err)
	}
	playAdministrator(t, env, core, &box)
	return laddertest.Server{
		Receiver:     core.layer,
		Transactions: func() int { n := core.layer.Counts(); return n.Servers + n.Clients },
		Close: func() {
			_ = core.close(context.Background())
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

// zone answers for the names that a ladder's directive dns gives; what it does not hold does not exist.
func zone(t *testing.T, lines []string) func(context.Context, *dns.Msg, string) (*dns.Msg, error) {
	t.Helper()
	records := make(map[dns.Question][]dns.RR)
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		h := rr.Header()
		q := dns.Question{Name: h.Name, Qtype: h.Rrtype, Qclass: h.Class}
		records[q] = append(records[q], rr)
	}
	return func(_ context.Context, q *dns.Msg, _ string) (*dns.Msg, error) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = records[q.Question[0]]
		return m, nil
	}
}
