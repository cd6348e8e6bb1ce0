package proxy

import (
	"slices"
	"strconv"
	"strings"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// dialog is what the Record-Route value of ours in a request says about it.
type dialog struct {
	text   string // the token, to record the route again
	valid  bool   // signed by us, for this dialog
	forged bool   // looks like it and is not
	open   bool   // the other side may be reached without credentials
	to     leg    // the other side
	home   bool   // it came from the address of the member that it claims to be
}

// preprocessRoute takes out of the request what was meant for us. The request itself stays as it is; every branch repeats on its copy what is
// noted here. RFC 3261, 16.4
func (c *call) preprocessRoute() {
	if c.facts&hasRoute != 0 {
		c.routes = wire.List(c.req, "Route")
	}
	c.undoStrictRouting()
	c.stripMaddr()
	for c.popped < maxOwnRoutes && c.popOwnRoute() {
	}
}

// undoStrictRouting: a strict router put our Record-Route value into the Request-URI, and the Request-URI at the end of the Route.
func (c *call) undoStrictRouting() {
	if _, lr := c.uri.Param("lr"); !lr || len(c.routes) == 0 || !c.ours(c.uri) {
		return
	}
	if c.uri.User != "" && !looksLikeToken(c.uri.User) {
		return
	}
	last := len(c.routes) - 1
	a, err := wire.ParseAddress(c.routes[last])
	if err != nil {
		return
	}
	c.readToken(c.uri)
	c.uri, c.routes, c.rerouted = a.URI, c.routes[:last], true
}

// stripMaddr: maddr names us, and the request came by the port and transport that the Request-URI means.
func (c *call) stripMaddr() {
	maddr, ok := c.uri.Param("maddr")
	if !ok || !c.uri.IsSIP() || !c.ourHost(maddr) {
		return
	}
	proto := c.uri.Transport()
	port := c.uri.Port
	if port == 0 {
		port = int(proto.Port())
	}
	if proto != c.tx.Flow.ID().Proto || port != int(c.tx.Flow.SentBy().Port()) {
		return
	}
	if u, err := wire.ParseURI(without(c.uri, 0, "maddr", "transport")); err == nil {
		c.uri = u
	}
}

// popOwnRoute removes the first Route value if it is ours. One after the other, where the standard removes one: two stand there where the
// transport changed (RFC 5658, 5), and the others would only come back to us as spirals.
func (c *call) popOwnRoute() bool {
	if len(c.routes) == 0 {
		return false
	}
	a, err := wire.ParseAddress(c.routes[0])
	if err != nil || !c.ours(a.URI) && !c.webSocket(a.URI) {
		return false
	}
	c.readToken(a.URI)
	c.routes = c.routes[1:]
	c.popped++
	return true
}

// readToken looks for what we once signed. Of several tokens, after a spiral, the last one knows the next hop; but one forged is enough.
func (c *call) readToken(u wire.URI) {
	if looksLikeEdgeToken(u.User) {
		c.readEdgeToken(u)
		return
	}
	if !looksLikeToken(u.User) || u.User == c.dialog.text || c.dialog.forged {
		return
	}
	c.dialog = dialog{text: u.User}
	t, fromCaller, ok := c.p.signer.verify(u.User, c.req.CallID, c.req.From.Tag, c.req.To.Tag)
	switch {
	case !ok:
		c.dialog.forged = true
		if c.p.Metrics.Forged != nil {
			c.p.Metrics.Forged()
		}
	case fromCaller:
		c.dialog.between(t.caller, t.callee, c.tx.Flow)
	default:
		c.dialog.between(t.callee, t.caller, c.tx.Flow)
	}
}

// between notes who sends and who is sent to. The way to one of our phones is open to every member of its dialog. The way to another domain is open to our own side only, or a
// stranger who was called once could send through us to anybody.
func (d *dialog) between(from, to leg, flow transport.Flow) {
	d.home = !from.foreign && from.flow.Remote.Addr() == flow.ID().Remote.Addr()
	d.valid, d.open, d.to = true, !to.foreign || d.home, to
}

// ours tells whether a URI names this server: a listener, or a domain of ours at its default port or the one the request came in by.
func (c *call) ours(u wire.URI) bool {
	if !u.IsSIP() {
		return false
	}
	if c.p.Network.IsLocal(u.Host, u.Port) {
		return true
	}
	_, ok := c.p.Domains.Domain(u.Host)
	return ok && (u.Port == 0 || u.Port == int(c.tx.Flow.SentBy().Port()))
}

// webSocket: a client that came by WebSocket names us as it reached us, through web servers that we know nothing of (RFC 7118, 5.3). Another WebSocket
// server could not be meant: we connect to none.
func (c *call) webSocket(u wire.URI) bool {
	if proto := c.tx.Flow.ID().Proto; proto != wire.WS && proto != wire.WSS {
		return false
	}
	proto := u.Transport()
	return u.IsSIP() && (proto == wire.WS || proto == wire.WSS)
}

func (c *call) ourHost(host string) bool {
	host = strings.Trim(host, "[]")
	_, ok := c.p.Domains.Domain(host)
	return ok || c.p.Network.IsLocal(host, 0)
}

// without writes a SIP URI again, less its headers and the named parameters; port 0 leaves the port out.
func without(u wire.URI, port int, names ...string) string {
	b := make([]byte, 0, len(u.Raw))
	b = append(b, u.Scheme...)
	b = append(b, ':')
	if u.User != "" {
		b = append(b, u.User...)
		if u.Password != "" {
			b = append(append(b, ':'), u.Password...)
		}
		b = append(b, '@')
	}
	b = appendHost(b, u.Host)
	if port != 0 {
		b = strconv.AppendInt(append(b, ':'), int64(port), 10)
	}
	for param := range strings.SplitSeq(strings.TrimPrefix(u.Params, ";"), ";") {
		name, _, _ := strings.Cut(param, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "" && !slices.Contains(names, name) {
			b = append(append(b, ';'), param...)
		}
	}
	return string(b)
}

// appendHost puts an IPv6 address into its brackets.
func appendHost(b []byte, host string) []byte {
	if strings.IndexByte(host, ':') < 0 {
		return append(b, host...)
	}
	b = append(append(b, '['), host...)
	return append(b, ']')
}
