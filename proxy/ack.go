package proxy

import (
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// forwardACK sends the ACK to a 2xx on its way: by the signed route of its dialog, without a transaction, since nothing answers an ACK. One that
// proves no dialog, or has looped, is dropped: nobody can be challenged for an ACK (RFC 3261, 22.1). RFC 3261, 16.11
func (c *call) forwardACK() error {
	c.preprocessRoute()
	if c.req.To.Tag == "" || c.req.MaxForwards == 0 || !c.uri.IsSIP() || !c.dialog.valid || !c.dialog.open {
		return nil
	}
	c.mark = c.loopMark()
	if c.looped() || c.checkMaxBreadth() != nil {
		return nil
	}
	if c.findOtherSide() != nil {
		return nil
	}
	b := &c.first
	*b = branch{c: c, t: &c.targets[0], breadth: c.breadth}
	b.sendACK()
	return nil
}

func (b *branch) sendACK() {
	flow, own := b.ownFlow()
	switch {
	case own:
		b.pass(flow)
	case b.t.foreign || b.t.direct || b.t.routed:
		b.c.p.Resolver.Resolve(b.leading(), func(hops []wire.Hop, err error) {
			b.c.owner.Do(func() { b.passToFirst(hops) })
		})
	}
}

// passToFirst takes the first hop: the one the INVITE's 2xx came from, unless the name has changed its meaning since.
func (b *branch) passToFirst(hops []wire.Hop) {
	for _, hop := range b.allowed(hops) {
		if flow, err := b.c.p.Network.Dial(hop); err == nil {
			b.pass(flow)
			return
		}
	}
}

// pass sends the copy, once.
func (b *branch) pass(flow transport.Flow) {
	req := b.copy(flow)
	b.bridgeACK(req)
	_ = flow.Send(wire.Append(nil, req)) // a lost ACK is asked for by the next 2xx
}
