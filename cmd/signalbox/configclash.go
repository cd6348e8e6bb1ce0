package main

import (
	"fmt"
	"net"
	"net/netip"
)

// claim is a listener that the configuration asks for.
type claim struct {
	key, address string
	host         netip.Addr // the zero value is every address
	port         string
}

// clashes finds two listeners that cannot both have their port. Those that nobody asked for give way at the start.
func (k *checker) clashes(c *config) {
	var udp, tcp []claim
	add := func(to *[]claim, key string, addresses []string) {
		for i, address := range addresses {
			one := claim{key: k.item(key, i), address: address}
			host, port, err := net.SplitHostPort(address)
			if err != nil || port == "0" {
				continue
			}
			if addr, err := netip.ParseAddr(host); err == nil && !addr.IsUnspecified() {
				one.host = addr.Unmap()
			}
			one.port = port
			*to = append(*to, one)
		}
	}
	add(&udp, "listen.udp", c.udp)
	add(&tcp, "listen.tcp", c.tcp)
	add(&tcp, "listen.tls", c.tls)
	if !c.httpsUnasked {
		add(&tcp, "listen.https", c.https)
	}
	add(&tcp, "listen.http", c.http)
	if !c.turn.unasked {
		add(&udp, "turn.udp", c.turn.udp)
		add(&tcp, "turn.tcp", c.turn.tcp)
		add(&tcp, "turn.tls", c.turn.tls)
	}
	if !c.media.unasked {
		add(&udp, "media.webrtc_udp", []string{fmt.Sprintf(":%d", c.media.webrtc)})
	}
	k.clash(udp)
	k.clash(tcp)
}

// clash reports each listener whose port an earlier one takes; a default is never blamed.
func (k *checker) clash(claims []claim) {
	for i, one := range claims {
		for _, other := range claims[:i] {
			if one.port != other.port || one.host != other.host && one.host.IsValid() && other.host.IsValid() {
				continue
			}
			if _, written := k.at[one.key]; !written {
				one, other = other, one
			}
			k.bad(one.key, "%s is taken by %s", one.address, other.key)
			break
		}
	}
}
