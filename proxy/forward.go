package proxy

import (
	"strconv"
	"time"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// branch is one target being tried: its hops one after the other, each by a client transaction of its own (RFC 3261, 16.6 step 7). It is the
// user of that transaction.
type branch struct {
	c       *call
	t       *target
	breadth int // the share of Max-Breadth it was given. RFC 5393, 5.3.2

	client *transaction.Client // nil until a request was sent
	hops   []wire.Hop          // not tried yet
	hop    wire.Hop            // being tried; the zero value on a phone's own flow
	large  bool                // the hop is tried over TCP first, for the request's size. RFC 3261, 18.1.1

	timerC *transaction.Timer // RFC 3261, 16.6 step 11
	until  time.Time          // when it may fire: provisional responses put it off

	leg    int  // its leg of the media bridge, 0 without one
	direct bool // its media needs no bridge
	srtp   bool // it has refused RTP: SRTP is offered

	provisional bool // a provisional response came
	expired     bool // we cancelled it because nobody answered
	done        bool // no final response is awaited any more
}

// forward starts the search: from now on the call lives by its events.
func (c *call) forward() {
	if c.rings {
		c.tx.OnCancel(c.onCancel)
		c.listen()
	}
	c.advance()
}

// advance starts what may be started: all targets of one q value at once, as far as Max-Breadth reaches, and those of the next when all of
// these have failed. When nothing is left it ends the search. RFC 3261, 16.6
func (c *call) advance() {
	if c.advancing {
		return
	}
	c.advancing = true
	for !c.closed && len(c.targets) > 0 && (c.pending == 0 || c.targets[0].q == c.q) {
		share := c.shareBreadth()
		if share == 0 {
			break // the next final response makes room. RFC 5393, 5.3.3.1
		}
		t := &c.targets[0]
		c.targets = c.targets[1:]
		if c.pending == 0 {
			c.q = t.q
			c.startRinging()
		}
		c.start(t, share)
	}
	c.advancing = false
	if c.pending == 0 {
		c.finish()
	}
}

// shareBreadth divides the Max-Breadth that is free among the targets that are tried at once; what does not suffice for all makes some wait.
// RFC 5393, 5.3.3
func (c *call) shareBreadth() int {
	same := 0
	for same < len(c.targets) && c.targets[same].q == c.targets[0].q {
		same++
	}
	return max(c.breadth/same, min(c.breadth, 1))
}

func (c *call) start(t *target, breadth int) {
	b := &c.first
	if len(c.branches) > 0 {
		b = new(branch)
	}
	*b = branch{c: c, t: t, breadth: breadth}
	c.branches = append(c.branches, b)
	c.pending++
	c.breadth -= breadth
	b.find()
}

// find looks for the way to the target: a phone's own flow, or the hops of a URI. RFC 3261, 16.6 step 7
func (b *branch) find() {
	flow, own := b.ownFlow()
	switch {
	case own && b.t.direct:
		b.send(b.fitting(flow, wire.Hop{Proto: flow.ID().Proto, Addr: flow.ID().Remote}))
	case own:
		b.send(flow)
	case b.t.foreign || b.t.direct || b.t.routed:
		b.c.p.Resolver.Resolve(b.leading(), func(hops []wire.Hop, err error) {
			b.c.owner.Do(func() { b.found(hops, err) })
		})
	case b.t.edge:
		b.fail(wire.Errorf(430, "", "proxy: the flow to %s is gone", b.t.flow.Remote)) // RFC 5626, 5.3.1
	default: // RFC 5626, 5.3: nor is another connection taken for it
		b.fail(wire.Errorf(480, "", "proxy: the connection from %s is gone", b.t.flow.Remote))
	}
}

// ownFlow is the flow to a phone, if it must be used, or spares a look-up: a living connection; a UDP flow, if the phone is behind NAT or its URI
// means that very address.
func (b *branch) ownFlow() (transport.Flow, bool) {
	if b.t.foreign || b.t.direct && b.t.flow.Proto == wire.UDP && !samePlace(b.t.uri, b.t.flow) {
		return nil, false
	}
	return b.c.p.Network.Find(b.t.flow)
}

// leading is the URI that leads to the next hop: the first Route value, or the Request-URI, as a sips URI if the Request-URI is one.
func (b *branch) leading() wire.URI {
	uri, routes := b.t.uri, b.routes()
	if len(routes) == 0 {
		return uri
	}
	route, _ := wire.ParseAddress(routes[0]) // resolving what is no address fails
	if uri.Scheme == "sips" {
		route.URI.Scheme = "sips"
	}
	return route.URI
}

// found takes the hops that the request may go to. It is an event of its own.
func (b *branch) found(hops []wire.Hop, err error) {
	if b.done {
		return // cancelled meanwhile
	}
	b.hops = b.allowed(hops)
	switch {
	case len(b.hops) > 0:
		b.next()
	case len(hops) > 0:
		b.fail(wire.Errorf(403, "", "proxy: %s leads to %s", b.leading().Raw, hops[0].Addr))
	default:
		b.fail(err)
	}
	b.c.advance()
}

// allowed are the hops that a request may go to, in their order.
func (b *branch) allowed(hops []wire.Hop) []wire.Hop {
	var list []wire.Hop
	for _, hop := range hops {
		if len(list) < maxHops && (!b.t.foreign || b.t.edge || b.c.p.Reachable(hop)) && (!b.t.routed || atEdge(hop, b.t.flow)) {
			list = append(list, hop)
		}
	}
	return list
}

// next tries the next hop; without one the branch has failed.
func (b *branch) next() {
	err := error(wire.Errorf(503, "", "proxy: no hop"))
	for len(b.hops) > 0 {
		b.hop, b.hops = b.hops[0], b.hops[1:]
		var flow transport.Flow
		if flow, err = b.c.p.Network.Dial(b.hop); err == nil {
			b.send(b.fitting(flow, b.hop))
			return
		}
	}
	b.fail(b.unreached(err))
}

// unreached is what a transport error counts as: 503 (RFC 3261, 16.9). But a phone of ours that cannot be reached is simply not there.
func (b *branch) unreached(err error) error {
	code := 503
	switch {
	case !b.t.foreign && b.t.edge:
		code = 430 // RFC 5626, 5.3.1
	case !b.t.foreign:
		code = 480
	}
	return wire.Errorf(code, "", "proxy: %w", err)
}

// fitting gives the flow that suits the request's size: a datagram that might be cut into fragments goes over TCP instead, and comes back to UDP
// if there is no TCP at the other end. RFC 3261, 18.1.1
func (b *branch) fitting(flow transport.Flow, hop wire.Hop) transport.Flow {
	if hop.Proto != wire.UDP || b.large || !transport.TooLarge(flow, b.c.size()-b.saved(flow)) {
		b.large = false
		return flow
	}
	tcp, err := b.c.p.Network.Dial(wire.Hop{Proto: wire.TCP, Addr: hop.Addr, Name: hop.Name})
	if err != nil {
		return flow
	}
	b.large, b.hop = true, hop
	b.hops = append([]wire.Hop{hop}, b.hops...)
	return tcp
}

// size is about what the forwarded request takes: the received one, and what we add.
func (c *call) size() int {
	const ours = 2*130 + 90 + 20 // two Record-Routes, Via, Max-Breadth
	n := len(c.req.Method) + len(c.uri.Raw) + len(" SIP/2.0\r\n\r\n") + len(c.req.Body()) + ours
	for _, h := range c.req.Headers() {
		n += len(h.Name()) + len(h.Value()) + len(": \r\n")
	}
	return n
}

// send makes the copy for this target and flow and starts its client transaction. RFC 3261, 16.6 step 10
func (b *branch) send(flow transport.Flow) {
	c := b.c
	req := b.copy(flow)
	if c.p.Anchor != nil {
		if err := b.bridge(req, flow); err != nil {
			b.fail(err)
			return
		}
	}
	if c.p.Metrics.Forwarded != nil {
		c.p.Metrics.Forwarded(c.req.CSeq.Method)
	}
	b.client = c.p.Layer.Start(c.owner, req, flow, b)
	b.setTimerC() // RFC 3261, 16.6 step 11
}

// copy is the request as it goes to one target over one flow. RFC 3261, 16.6 step 1
func (b *branch) copy(flow transport.Flow) *wire.Request {
	c := b.c
	req := c.req.Clone()
	req.SetURI(requestURI(b.t.uri)) // RFC 3261, 16.6 step 2
	c.countHop(req)                 // RFC 3261, 16.6 step 3
	b.route(req)                    // RFC 3261, 16.4, on the copy, and 16.6 step 6
	b.recordRoute(req, flow)        // RFC 3261, 16.6 step 4
	b.recordPath(req, flow)
	c.vouch(req) // RFC 3261, 16.6 step 5
	b.limitBreadth(req)
	c.pushVia(req, flow) // RFC 3261, 16.6 step 8; RFC 3261, 16.6 step 9, Content-Length, is done by wire.Append
	return req
}

// requestURI leaves out what a Request-URI may not have: headers and the method. RFC 3261, 16.6 step 2 and 19.1.1
func requestURI(u wire.URI) wire.URI {
	if _, method := u.Param("method"); !u.IsSIP() || u.Headers == "" && !method {
		return u
	}
	if clean, err := wire.ParseURI(without(u, u.Port, "method")); err == nil {
		return clean
	}
	return u
}

// RFC 3261, 16.6 step 3
func (c *call) countHop(req *wire.Request) {
	if req.MaxForwards < 0 {
		req.SetMaxForwards(maxForwards)
		return
	}
	req.SetMaxForwards(req.MaxForwards - 1)
}

// route leaves the Route values that 16.4 left, or writes those that the target is reached by, and makes the request fit for a strict router if one comes
// next. RFC 3261, 16.6 step 6; RFC 3327, 5.4
func (b *branch) route(req *wire.Request) {
	c, routes := b.c, b.routes()
	for range c.popped {
		wire.Pop(req, "Route")
	}
	if len(routes) == 0 {
		if c.rerouted {
			wire.Del(req, "Route")
		}
		return
	}
	first, err := wire.ParseAddress(routes[0])
	if _, lr := first.URI.Param("lr"); err == nil && !lr {
		routes = append(routes[1:len(routes):len(routes)], "<"+req.URI.Raw+">")
		req.SetURI(requestURI(first.URI))
	} else if !c.rerouted && len(c.routes) > 0 {
		return
	}
	wire.Del(req, "Route")
	for _, value := range routes {
		wire.Add(req, "Route", value)
	}
}

// limitBreadth: every forwarded request has one Max-Breadth. RFC 5393, 5.3.3
func (b *branch) limitBreadth(req *wire.Request) {
	value := strconv.Itoa(b.breadth)
	if b.c.facts&hasMaxBreadth == 0 {
		wire.Add(req, "Max-Breadth", value)
		return
	}
	wire.Set(req, "Max-Breadth", value)
}

// pushVia adds our Via: a branch that is unique, so that nobody can guess a response, and carries the loop mark. RFC 3261, 16.6 step 8
func (c *call) pushVia(req *wire.Request, flow transport.Flow) {
	var room [160]byte
	b := append(room[:0], "SIP/2.0/"...)
	b = append(b, flow.ID().Proto.String()...)
	b = append(b, ' ')
	b = flow.SentBy().AppendTo(b)
	b = append(b, ";branch="...)
	b = append(b, wire.NewBranch()...)
	b = append(b, c.mark[:]...)
	wire.Push(req, "Via", string(b))
}
