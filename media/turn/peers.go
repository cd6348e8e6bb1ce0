package turn

import "net/netip"

// special are the networks that no stranger has business in: RFC 6890 and its registry, multicast, and the forms of IPv6 address that hold an IPv4 address
// and so are another way to all of these (mapped, compatible, NAT64, 6to4 and Teredo).
var special = func() (list []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
		"fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// peers decides which addresses may be reached.
type peers struct {
	relays  []Relay
	allowed []netip.Prefix
	own     func() []netip.Addr
	media   func(port uint16) bool
	live    *ports // of our relays
}

// address tells whether a permission may be given for an address (RFC 8656, 10.2: the server may restrict them). Permissions have no port: that of our
// own relays' address is good, because two users who both need a relay meet there; what may be sent to it, port decides.
func (p *peers) address(a netip.Addr) bool {
	for _, r := range p.relays {
		if a == r.Public || a == r.Local {
			return true
		}
	}
	// A mapped address is not unmapped first: a kernel takes it for the IPv4 address, but no client has reason to ask for one.
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	if p.isAllowed(a) {
		return true
	}
	for _, n := range special {
		if n.Contains(a) {
			return false
		}
	}
	if p.own != nil {
		for _, mine := range p.own() {
			if a == mine {
				return false
			}
		}
	}
	return true
}

// port tells whether a datagram may be sent to an address of our own relays: to another relay, or to the media bridge, and to no other service of this
// machine, unless the operator has allowed that address.
func (p *peers) port(a netip.Addr, n uint16) bool {
	return p.live.has(n) || p.media != nil && p.media(n) || p.isAllowed(a)
}

func (p *peers) isAllowed(a netip.Addr) bool {
	for _, n := range p.allowed {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
