package transport

import (
	"net"
	"net/netip"
	"strings"
	"time"
)

// machine is what we know of the machine's own addresses at some time.
type machine struct {
	addrs map[netip.Addr]bool
	read  time.Time
}

// addresses returns the machine's addresses, read again when they are old.
func (t *Transport) addresses() *machine {
	m := t.machine.Load()
	now := time.Now()
	if m != nil && now.Sub(m.read) < addressAge {
		return m
	}
	fresh := &machine{addrs: map[netip.Addr]bool{}, read: now}
	list, err := net.InterfaceAddrs()
	if err != nil && m != nil {
		fresh.addrs = m.addrs // better old than none
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			fresh.addrs[p.Addr().Unmap()] = true
		}
	}
	t.machine.Store(fresh)
	return fresh
}

// IsLocal tells whether host:port leads to us: a listener's address, an advertised one, or any address of the machine where we listen on all. Port 0 means any of
// our ports. host is numeric (IPv6 without brackets) or "localhost"; other names are a matter of domains, which transport does not know.
func (t *Transport) IsLocal(host string, port int) bool {
	if port < 0 || port > 65535 {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return t.isLocal(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)) || t.isLocal(netip.IPv6Loopback(), uint16(port))
	}
	a, ok := sentByAddr(host)
	return ok && t.isLocal(a, uint16(port))
}

func (t *Transport) isLocal(a netip.Addr, port uint16) bool {
	for _, l := range t.listening {
		if port != 0 && port != l.Addr.Port() {
			continue
		}
		if l.Addr.Addr() == a || t.advertised(a) {
			return true
		}
		if a.IsUnspecified() {
			return true // a packet to 0.0.0.0 comes to ourselves
		}
		if l.Addr.Addr().IsUnspecified() && l.Addr.Addr().Is4() == a.Is4() && t.isOwn(a) {
			return true
		}
	}
	return t.embedded.has(a, port)
}

// isOwn tells whether the machine has that address.
func (t *Transport) isOwn(a netip.Addr) bool {
	return a.IsLoopback() || t.addresses().addrs[a.WithZone("")]
}

func (t *Transport) advertised(a netip.Addr) bool {
	return a.IsValid() && (a == t.public4 || a == t.public6)
}

// sentBy is how peers reach what they reach at local.
func (t *Transport) sentBy(local netip.AddrPort) netip.AddrPort {
	a := local.Addr()
	switch {
	case a.IsLoopback():
	case a.Is4() && t.public4.IsValid():
		return netip.AddrPortFrom(t.public4, local.Port())
	case a.Is6() && t.public6.IsValid():
		return netip.AddrPortFrom(t.public6, local.Port())
	}
	return netip.AddrPortFrom(a.WithZone(""), local.Port())
}

// suits ranks listeners for a hop whose packets the kernel routes from source: the same address, then a listener on all addresses, then any but a loopback one.
// 0 means it cannot be used.
func suits(listen, source netip.Addr, hop netip.Addr) int {
	switch {
	case listen.Is4() != hop.Is4():
		return 0
	case listen == source:
		return 3
	case listen.IsUnspecified():
		return 2
	case listen.IsLoopback() == hop.IsLoopback():
		return 1
	}
	return 0
}
