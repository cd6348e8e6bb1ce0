package registrar

import "signalbox/internal/wire"

// leadsToUs tells whether requests to a contact would come back to this server: it names one of our domains, or one of our listeners. Other
// ports of this machine are those of phones that run here. RFC 4475, 3.3.14: a URI with headers is not an address-of-record, and is kept;
// its host being a name, it is reached over the flow of its REGISTER only.
func (g *registration) leadsToUs(u wire.URI) bool {
	if _, numeric := u.Addr(); !numeric {
		if domain, ours := g.Domains.Domain(u.Host); ours && domain == u.Host && u.Headers == "" {
			return true
		}
	}
	return g.isListener(u)
}

// isBehind tells whether a contact can only be reached over the flow that its REGISTER came on: behind NAT, by WebSocket, or anywhere else but
// at the very address it sends from. So nobody can make this server send to a third party (hardening 41). Where the phone itself is, no
// harm is done, except to its neighbours on low ports and to ourselves.
//
// A WebSocket client is never connected to: whatever address its Contact shows (RFC 7118, 5).
func (g *registration) isBehind(u wire.URI) bool {
	if proto := g.tx.Flow.ID().Proto; proto == wire.WS || proto == wire.WSS {
		return true
	}
	addr, numeric := u.Addr()
	source := g.tx.Flow.ID().Remote.Addr().Unmap().WithZone("")
	_, maddr := u.Param("maddr") // names another place to send to (RFC 3261, 19.1.1)
	return !numeric || addr != source || maddr || u.Port != 0 && u.Port < firstPort || g.isListener(u)
}

// isListener tells whether a URI names a listener of ours.
func (g *registration) isListener(u wire.URI) bool {
	host := u.Host
	if addr, numeric := u.Addr(); numeric {
		host = addr.String() // an IPv4-mapped address is an IPv4 address
	}
	return g.Local.IsLocal(host, portOf(u))
}

// portOf is the port that a URI means (RFC 3261, 19.1.2).
func portOf(u wire.URI) int {
	switch {
	case u.Port != 0:
		return u.Port
	case u.Scheme == "sips":
		return 5061
	}
	return 5060
}
