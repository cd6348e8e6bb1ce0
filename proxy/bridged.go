package proxy

import (
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// What a proxy does for a call whose media is bridged, beside forwarding: each offer and answer on its way is handed to the bridge (RFC 3264; RFC 3261, 13.2.1;
// RFC 3262, 5; RFC 3311, 5), and what the bridge must know to end the call is written down (hangup.go).

// bridge takes the media of a request through the bridge, if its call has one or needs one. It changes the copy. An error is the branch's failure.
func (b *branch) bridge(req *wire.Request, out transport.Flow) error {
	c := b.c
	if c.req.To.Tag != "" {
		return c.bridgeInDialog(req)
	}
	if !c.rings {
		return nil
	}
	b.dropMedia() // of a hop that was tried before
	if !b.needsBridge(out) {
		b.direct = true
		return nil
	}
	a := c.anchored
	if a == nil {
		if a = c.p.newAnchored(c); a == nil {
			return wire.Errorf(482, "", "proxy: the dialog's INVITE has needed a bridge %d times", maxPasses)
		}
		c.anchored, c.offered = a, description(c.req) != nil
	}
	side := MediaSideOf(out)
	if b.srtp {
		side.Kind = SRTPPhone
	}
	leg, err := a.bridge.Branch(side)
	if err != nil {
		return err
	}
	b.leg = leg
	offer := description(c.req)
	if offer == nil {
		return nil // the callee will make the offer. RFC 3261, 13.2.1
	}
	if offer, err = a.bridge.Offer(0, leg, offer); err != nil {
		return err
	}
	describe(req, offer)
	return nil
}

// newAnchored begins to bridge the call of an INVITE.
func (p *Proxy) newAnchored(c *call) *anchored {
	a := &anchored{p: p, invite: c, from: c.tx.Flow.ID(), key: anchorKey{clone(c.req.CallID), clone(c.req.From.Tag)}, owed: -1}
	if !p.anchors.add(a) {
		return nil
	}
	a.bridge = p.Anchor.Bridge(MediaSideOf(c.tx.Flow), a.lost)
	return a
}

// bridgeInDialog is for the requests of a call that is up.
func (c *call) bridgeInDialog(req *wire.Request) error {
	a, fromCaller := c.p.anchors.find(c.req, c.tx.Flow.ID())
	if a == nil || !c.dialog.valid {
		return nil
	}
	from, to, ok := a.legs(c.req, fromCaller)
	if !ok {
		return nil // another dialog of the same fork
	}
	a.observe(c.req, fromCaller)
	sdp := description(c.req)
	c.anchored, c.mediaFrom, c.mediaTo, c.offered = a, from, to, sdp != nil
	switch c.req.CSeq.Method {
	case "BYE":
		for _, pass := range c.p.anchors.passes(a.key) {
			pass.end() // nobody is heard who has hung up
		}
	case "INVITE", "UPDATE", "PRACK", "ACK":
		if fromCaller && c.req.CSeq.Method == "ACK" {
			a.acknowledged()
		}
		if sdp == nil {
			return nil
		}
		return a.exchange(req, c.req.CSeq.Method, from, to, sdp)
	}
	return nil
}

// exchange takes the description in a request through the bridge: an answer where one is owed, else an offer.
func (a *anchored) exchange(req *wire.Request, method string, from, to int, sdp []byte) (err error) {
	owed := a.pay(from)
	if method == "ACK" || method == "PRACK" && owed {
		sdp, err = a.bridge.Answer(from, to, sdp)
	} else {
		sdp, err = a.bridge.Offer(from, to, sdp)
	}
	if err != nil {
		if method == "ACK" && owed {
			a.hangup("media description not acceptable")
		}
		return err
	}
	describe(req, sdp)
	return nil
}

// bridgeACK is bridge for an ACK, which nobody answers.
func (b *branch) bridgeACK(req *wire.Request) {
	if b.c.p.Anchor == nil {
		return
	}
	if b.c.bridgeInDialog(req) != nil {
		describe(req, nil)
	}
}

// bridgeResponse takes the description in a response through the bridge. It is called when our Via is off.
func (b *branch) bridgeResponse(res *wire.Response) error {
	a := b.c.anchored
	if a == nil {
		return nil
	}
	if b.c.mediaFrom != b.c.mediaTo {
		return b.bridgeLater(a, res)
	}
	if b.leg == 0 {
		return nil
	}
	sdp := description(res)
	final := res.StatusCode >= 200
	a.hear(res.To.Tag, b.leg)
	switch {
	case !final && b.c.mixed():
		// The browser takes one answer only, and the one that counts may come from a branch without a bridge.
		if sdp != nil {
			describe(res, nil)
		}
		sdp = nil
	case sdp == nil && final && b.c.offered:
		// The answer was in a reliable provisional response (RFC 3262, 5). JsSIP wants to see it again.
		if standing := a.bridge.Standing(0); standing != nil {
			describe(res, standing)
		}
	}
	if sdp != nil {
		if err := a.respond(res, b.leg, 0, b.c.offered, sdp); err != nil {
			return err
		}
	}
	if final {
		a.answered(b, res)
	}
	return nil
}

// bridgeLater is for the responses to requests within the dialog.
func (b *branch) bridgeLater(a *anchored, res *wire.Response) error {
	c := b.c
	if code := res.StatusCode; code >= 200 && code < 300 && refreshesTarget(res.CSeq.Method) {
		a.refresh(res, c.mediaFrom != 0)
	}
	sdp := description(res)
	if sdp == nil || !c.rings && c.req.CSeq.Method != "UPDATE" && c.req.CSeq.Method != "PRACK" {
		return nil
	}
	return a.respond(res, c.mediaTo, c.mediaFrom, c.offered, sdp)
}

// respond takes an answer through the bridge or, where the request made no offer, an offer.
func (a *anchored) respond(res *wire.Response, from, to int, offered bool, sdp []byte) (err error) {
	switch {
	case offered:
		sdp, err = a.bridge.Answer(from, to, sdp)
	case res.StatusCode < 200 && !wire.Has(res, "RSeq"):
		sdp = nil // an unreliable response carries no offer. RFC 3261, 13.2.1
	default:
		if sdp, err = a.bridge.Offer(from, to, sdp); err == nil {
			a.owe(to)
		}
	}
	if err == nil || res.StatusCode < 200 {
		if err != nil {
			sdp = nil
		}
		describe(res, sdp)
		return nil
	}
	return err
}

// mixed: this search has branches with a bridge and without, and a browser for a caller.
func (c *call) mixed() bool {
	if mediaKind(c.tx.Flow.ID().Proto) != Browser {
		return false
	}
	for _, b := range c.branches {
		if b.direct && !b.done {
			return true
		}
	}
	return false
}

// retrySRTP tries a phone once more that has refused RTP: over TLS it is offered SRTP. RFC 8643 offers both at once, which not every phone
// takes.
func (b *branch) retrySRTP(code int) bool {
	c := b.c
	if c.p.Anchor == nil || code != 488 && code != 606 || b.srtp || b.done || b.expired || c.closed || !c.rings || c.req.To.Tag != "" ||
		b.client == nil || b.client.Flow.ID().Proto != wire.TLS || description(c.req) == nil {
		return false
	}
	b.srtp, b.direct = true, false
	b.stopTimerC()
	b.send(b.client.Flow)
	return true
}

// dropMedia gives back what a branch had of the bridge.
func (b *branch) dropMedia() {
	if b.leg != 0 {
		b.c.anchored.bridge.Drop(b.leg)
		b.leg = 0
	}
}

// releaseMedia ends the bridge of a search that nobody on it has answered.
func (c *call) releaseMedia() {
	if a := c.anchored; a != nil && c.mediaFrom == c.mediaTo {
		a.searched()
	}
}
