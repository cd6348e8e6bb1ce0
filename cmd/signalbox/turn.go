package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"signalbox/media/turn"
	"signalbox/media/udp"
)

// turnFile is the table [turn] of the configuration.
type turnFile struct {
	UDP                any    `toml:"udp"` // as the listeners
	TCP                any    `toml:"tcp"`
	TLS                any    `toml:"tls"`
	Relay              string `toml:"relay"`
	Peers              any    `toml:"peers"` // as the listeners, but networks
	AllocationsPerUser int    `toml:"allocations_per_user"`
	KbitsPerUser       int    `toml:"kbits_per_user"`
}

// turnConfig is the checked form of it.
type turnConfig struct {
	udp, tcp, tls []string
	unasked       bool // the listeners are our default: without web pages, or where a port is taken, we do without
	ports         udp.Range
	peers         []netip.Prefix // private networks that may be reached
	allocations   int            // per user; 0 is the default
	kbits         int
}

// defaultRelay is what RFC 8656, 7.2 recommends.
const defaultRelay = "49152-65535"

func turnDefaults() turnConfig {
	ports, _ := udp.ParseRange(defaultRelay)
	return turnConfig{udp: []string{":3478"}, tcp: []string{":3478"}, tls: []string{":5349"}, unasked: true, ports: ports}
}

func (k *checker) turn(c *config, f turnFile) {
	t := &c.turn
	t.unasked = t.unasked && f.UDP == nil && f.TCP == nil && f.TLS == nil
	k.addresses("turn.udp", f.UDP, &t.udp)
	k.addresses("turn.tcp", f.TCP, &t.tcp)
	k.addresses("turn.tls", f.TLS, &t.tls)
	if f.Relay != "" {
		ports, err := udp.ParseRange(f.Relay)
		if err != nil {
			k.bad("turn.relay", "%v", err)
		} else {
			t.ports = ports
		}
	}
	for _, s := range k.list("turn.peers", f.Peers) {
		p, err := netip.ParsePrefix(s.value)
		if err != nil || p != p.Masked() {
			k.bad(s.key, `%q is not a network: want for example "192.168.0.0/16"`, s.value)
			continue
		}
		t.peers = append(t.peers, p)
	}
	for _, one := range []struct {
		key       string
		value, to *int
		max       int
	}{{"turn.allocations_per_user", &f.AllocationsPerUser, &t.allocations, 10_000}, {"turn.kbits_per_user", &f.KbitsPerUser, &t.kbits, 10_000_000}} {
		if _, given := k.at[one.key]; !given {
			continue
		}
		if *one.value < 1 || *one.value > one.max {
			k.bad(one.key, "%d: want a number from 1 to %d", *one.value, one.max)
		}
		*one.to = *one.value
	}
}

// openTURN starts the TURN server: where it is wanted, or where there are browsers.
func (s *server) openTURN(ctx context.Context) error {
	t := &s.config.turn
	if t.unasked && len(s.network.Web()) == 0 || len(t.udp)+len(t.tcp)+len(t.tls) == 0 {
		return nil
	}
	secret, err := s.db.Secret(ctx, "turn")
	if err != nil {
		return err
	}
	c := turn.Config{
		UDP: t.udp, TCP: t.tcp, TLS: t.tls, Certificate: s.certificate,
		Realm: s.config.domains[0], Secret: secret, Users: s.users,
		Relays: s.relayAddresses(), FirstPort: t.ports.First, LastPort: t.ports.Last,
		Allowed: t.peers, Own: newOwnAddresses().list,
		Media:       func(port uint16) bool { return s.media != nil && port == s.media.WebRTC() },
		Allocations: t.allocations, Kbits: t.kbits,
		Metrics: s.turnMetrics(),
		Logger:  s.log,
	}
	if s.certificate == nil {
		c.TLS = nil
	}
	s.turn, err = turn.New(c)
	var taken *turn.ListenError
	switch {
	case err == nil:
		s.onStop(func(context.Context) error { return s.turn.Close() })
		return nil
	case t.unasked && errors.Is(err, syscall.EADDRINUSE):
		s.log.Warn("no TURN: its port is taken; choose another in [turn]", "error", err)
		return nil
	case errors.As(err, &taken) && s.config.places != nil:
		return s.config.places.errorf("turn."+taken.Key, "%v", errors.Unwrap(taken))
	}
	return err
}

// relayAddresses are where relays are bound, and what peers know them by: one of each family that this machine has a way out by.
func (s *server) relayAddresses() (list []turn.Relay) {
	public := s.config.media.public
	if len(public) == 0 {
		public = s.config.advertise
	}
	for _, toward := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		local, ok := s.turnListener(toward[0] != '[')
		if !ok {
			local, ok = localAddress(toward)
		}
		if !ok {
			continue
		}
		r := turn.Relay{Local: local, Public: local}
		for _, p := range public {
			if p.Is4() == local.Is4() {
				r.Public = p
			}
		}
		list = append(list, r)
	}
	if len(list) == 0 {
		lo := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		list = append(list, turn.Relay{Local: lo, Public: lo})
	}
	return list
}

// turnListener is the address of a listener that is bound to one.
func (s *server) turnListener(ipv4 bool) (netip.Addr, bool) {
	t := &s.config.turn
	for _, l := range slices.Concat(t.udp, t.tcp, t.tls) {
		if a, err := netip.ParseAddrPort(l); err == nil && !a.Addr().IsUnspecified() && a.Addr().Is4() == ipv4 {
			return a.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// localAddress is what we would send from to an address. Nothing is sent.
func localAddress(toward string) (netip.Addr, bool) {
	c, err := net.Dial("udp", toward)
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	return a, !a.IsUnspecified() && !a.IsLinkLocalUnicast()
}

// ownAddresses knows the addresses of this machine; a laptop's change.
type ownAddresses struct {
	mu    sync.Mutex
	asked time.Time
	addrs []netip.Addr
}

func newOwnAddresses() *ownAddresses { return &ownAddresses{} }

func (o *ownAddresses) list() []netip.Addr {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked.IsZero() || time.Since(o.asked) > ownAddressLife {
		all, err := net.InterfaceAddrs()
		if err != nil {
			return o.addrs
		}
		o.asked, o.addrs = time.Now(), nil
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				o.addrs = append(o.addrs, p.Addr().WithZone(""))
			}
		}
	}
	return o.addrs
}

// turnURIs are what a client at host reaches the server by, the best first (RFC 7065).
func (s *server) turnURIs(host string) (uris []string) {
	if s.turn == nil {
		return nil
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1" // Chromium looks up no such name for media
	}
	if strings.Contains(host, ":") {
		host = "[" + strings.Trim(host, "[]") + "]"
	}
	add := func(scheme, transport string, at []netip.AddrPort) {
		for _, a := range at {
			uri := scheme + ":" + host + ":" + strconv.Itoa(int(a.Port()))
			if transport != "" {
				uri += "?transport=" + transport
			}
			if !slices.Contains(uris, uri) {
				uris = append(uris, uri)
			}
		}
	}
	add("turn", "udp", s.turn.UDP())
	add("turn", "tcp", s.turn.TCP())
	add("turns", "tcp", s.turn.TLS())
	return uris
}

// turnPorts says what must be let through a firewall.
func (s *server) turnPorts() string {
	if s.turn == nil {
		return ""
	}
	var ports []string
	for _, one := range []struct {
		proto string
		at    []netip.AddrPort
	}{{"udp", s.turn.UDP()}, {"tcp", s.turn.TCP()}, {"tls", s.turn.TLS()}} {
		if len(one.at) > 0 {
			ports = append(ports, fmt.Sprintf("%s %d", one.proto, one.at[0].Port()))
		}
	}
	return "TURN " + strings.Join(ports, ", ")
}
