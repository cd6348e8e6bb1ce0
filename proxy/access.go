package proxy

import (
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/auth"
	"signalbox/internal/wire"
)

// admit decides who may send this request on, and proves who it is (RFC 3261, 16.3 step 6):
//
//   - a member of a dialog, by our Record-Route value: to the other side of that dialog;
//   - whom another domain will ask, for which we are the edge proxy: to there, and from there to its phones;
//   - a stranger, if the operator lets strangers in: to our own users, unless it is a NOTIFY that nobody asked for;
//   - everybody else authenticates, and is whom From says: to anywhere.
func (c *call) admit() error {
	if c.req.To.Tag == "" {
		c.dialog = dialog{} // a route of some dialog proves nothing outside it
	}
	if decided, err := c.admitEdge(); decided {
		return err
	}
	switch {
	case c.dialog.forged:
		return wire.Errorf(403, "", "proxy: Record-Route value was not signed for this dialog")
	case c.dialog.valid && c.dialog.open:
		if c.dialog.home {
			c.tx.Trust() // a stranger's address may be forged in a dialog of its own too
		}
		return nil
	case c.dialog.valid:
		return c.authenticate()
	case len(c.routes) == 0 && c.fromStranger() && c.forOurUser():
		if c.req.Method == sip.NOTIFY && c.req.To.Tag == "" {
			// Nobody has subscribed to it (RFC 6665, 4.1.3). Our own users may send one all the same: exchanges tell of waiting messages so.
			return wire.Errorf(481, "Subscription Does Not Exist", "proxy: a stranger's NOTIFY out of dialog")
		}
		c.stranger = true
		return nil
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	if len(c.routes) > 0 {
		return wire.Errorf(403, "", "proxy: pre-loaded Route %s", c.routes[0]) // nobody may aim our requests
	}
	return c.checkContact()
}

func (c *call) fromStranger() bool {
	if c.p.Inbound != Any {
		return false
	}
	_, local := c.p.Domains.Domain(c.req.From.URI.Host)
	return !local
}

func (c *call) forOurUser() bool {
	_, ok := c.p.Domains.AOR(c.uri)
	return ok && !hasMaddr(c.uri)
}

func hasMaddr(u wire.URI) bool {
	_, ok := u.Param("maddr")
	return ok
}

// vouch makes the copy say no more than we know about the sender: the credentials for our realms are used up (RFC 3261, 22.3), and an identity
// that a phone asserts counts for nothing; we assert the one that was proven, unless its owner asked for privacy. RFC 3325, 5 and 7
func (c *call) vouch(req *wire.Request) {
	if c.facts&hasProxyAuthorization != 0 {
		c.dropCredentials(req, "Proxy-Authorization")
	}
	if c.facts&hasAuthorization != 0 {
		c.dropCredentials(req, "Authorization")
	}
	if c.facts&hasIdentity == 0 {
		return
	}
	asserted := wire.Has(req, "P-Asserted-Identity")
	wire.Del(req, "P-Asserted-Identity")
	wire.Del(req, "P-Preferred-Identity")
	wire.Del(req, "Remote-Party-ID")
	if asserted && c.user != (wire.AOR{}) && !c.wantsPrivacy() {
		wire.Add(req, "P-Asserted-Identity", "<"+c.user.String()+">")
	}
}

func (c *call) wantsPrivacy() bool {
	return c.facts&hasPrivacy != 0 && strings.Contains(strings.ToLower(wire.Get(c.req, "Privacy")), "id")
}

// dropCredentials removes those for realms of ours; others are for proxies further on, and without any of ours stay where they are.
func (c *call) dropCredentials(req *wire.Request, name string) {
	var others []string
	found := false
	for _, h := range req.Headers() {
		if len(h.Name()) != len(name) || !strings.EqualFold(h.Name(), name) {
			continue
		}
		realm, local := credentialsRealm(h.Value())
		if local {
			_, local = c.p.Domains.Domain(realm)
		} else {
			local = auth.IsSessionToken(h.Value())
		}
		if found = found || local; !local {
			others = append(others, h.Value())
		}
	}
	if !found {
		return
	}
	wire.Del(req, name)
	for _, value := range others {
		wire.Add(req, name, value)
	}
}

// credentialsRealm finds the realm in an Authorization value. RFC 7616, 3.4
func credentialsRealm(value string) (realm string, ok bool) {
	_, params, _ := strings.Cut(strings.TrimSpace(value), " ")
	for params != "" {
		name, rest, found := strings.Cut(params, "=")
		if !found {
			return "", false
		}
		name = strings.Trim(name, " \t,")
		rest = strings.TrimLeft(rest, " \t")
		var text string
		if strings.HasPrefix(rest, `"`) {
			text, params = quoted(rest[1:])
		} else {
			text, params, _ = strings.Cut(rest, ",")
			text = strings.TrimSpace(text)
		}
		if strings.EqualFold(name, "realm") {
			return text, true
		}
	}
	return "", false
}

// quoted reads up to the closing quote and undoes the escapes.
func quoted(s string) (text, rest string) {
	if i := strings.IndexAny(s, `"\`); i >= 0 && s[i] == '"' {
		return s[:i], s[i+1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// Reachable tells whether a request for another domain may go to an address: never to this machine, nor into the network it stands in. Names
// and numbers in URIs come from strangers, and they would make the server their tunnel into the LAN.
func (p *Proxy) Reachable(h wire.Hop) bool {
	if p.AllowPrivate {
		return true
	}
	return public(h.Addr.Addr()) && !p.Network.IsLocal(h.Addr.Addr().Unmap().String(), int(h.Addr.Port()))
}

// notPublic lists what netip.Addr's own methods leave out: "this" network, shared address space (RFC 6598), reserved space with the
// broadcast address, and the IPv6 forms that carry an IPv4 address inside (NAT64, 6to4).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("::/96"),
}

func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
