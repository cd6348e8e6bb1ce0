package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/media/turn"
	"signalbox/registrar"
)

// describe is for config check.
func (t *turnConfig) describe(c *config) string {
	if len(t.udp)+len(t.tcp)+len(t.tls) == 0 || t.unasked && len(c.https)+len(c.http) == 0 {
		return "off"
	}
	var at []string
	for _, one := range []struct {
		proto string
		list  []string
	}{{"udp", t.udp}, {"tcp", t.tcp}, {"tls", t.tls}} {
		for _, a := range one.list {
			at = append(at, one.proto+" "+a)
		}
	}
	return fmt.Sprintf("%s; relays udp %d-%d", strings.Join(at, ", "), t.ports.First, t.ports.Last)
}

// describeReach says what one user may do with it.
func (t *turnConfig) describeReach() string {
	reach := "public addresses only"
	if len(t.peers) > 0 {
		reach = "public addresses and " + prefixes(t.peers)
	}
	return fmt.Sprintf("%d relays, %d kbit/s each way, to %s", cmp.Or(t.allocations, turn.Allocations), cmp.Or(t.kbits, turn.Kbits), reach)
}

func prefixes(list []netip.Prefix) string {
	var s []string
	for _, p := range list {
		s = append(s, p.String())
	}
	return strings.Join(s, ", ")
}

// describe says who may use the web pages from elsewhere.
func (c *config) describeWeb() string {
	if len(c.origins) == 0 {
		return "this server's own pages"
	}
	return "this server's own pages, and " + strings.Join(c.origins, ", ")
}

func (c *config) describeProxies() string {
	if len(c.proxies) == 0 {
		return "none: X-Forwarded-For is not looked at"
	}
	return prefixes(c.proxies) + ": X-Forwarded-For and X-Forwarded-Proto are believed"
}

func (c *config) describeAdvertise() string {
	if len(c.advertise) == 0 {
		return "the address that each message goes out from"
	}
	var s []string
	for _, a := range c.advertise {
		s = append(s, a.String())
	}
	return strings.Join(s, ", ")
}

func (c *config) describeInbound() string {
	if c.inbound == "any" {
		return "any: callers from other domains need no password"
	}
	return "authenticated: callers need the password of an account here"
}

func (c *config) describeChallenge() string {
	if c.sha256First {
		return "SHA-256 first, then MD5"
	}
	return "MD5 first, then SHA-256"
}

func (c *config) describePrivate() string {
	if c.allowPrivate {
		return "other servers at private addresses may be called"
	}
	return "other servers at private addresses may not be called"
}

// rows are what is in force, defaults too.
func (l *limits) rows() [][]string {
	return [][]string{
		{"transactions", strconv.Itoa(cmp.Or(l.Transactions, transaction.DefaultTransactions))},
		{"connections", fmt.Sprintf("%d, of one address %d", cmp.Or(l.Connections, transport.DefaultConnections), cmp.Or(l.ConnectionsPerAddress, transport.DefaultPerAddress))},
		{"contacts", fmt.Sprintf("%d for each address", cmp.Or(l.ContactsPerAOR, registrar.MaxContacts))},
		{"a registration", fmt.Sprintf("lasts %s, at least %s, at most %s", l.defaultExpires(), l.minExpires(), l.maxExpires())},
	}
}
