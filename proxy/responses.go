package proxy

import (
	"errors"
	"strconv"
	"strings"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
)

// final is a final response of one branch, or, without one, an error that counts as it.
type final struct {
	code int
	res  *wire.Response
	err  error
}

// ServeResponse processes one response. The client transaction's user is the branch, which knows its context. RFC 3261, 16.7 step 1
func (b *branch) ServeResponse(_ *transaction.Client, res *wire.Response) {
	switch code := res.StatusCode; {
	case code < 200:
		b.hearProvisional(res)
	case code < 300:
		b.hearSuccess(res)
	case code == 503 && b.failover(false):
		return
	default:
		b.hearFailure(res)
	}
}

// hearProvisional forwards every provisional response but 100 at once. RFC 3261, 16.7 step 5; to a non-INVITE there is none but 100 (RFC 4320, 4.1)
func (b *branch) hearProvisional(res *wire.Response) {
	b.provisional = true
	if res.StatusCode == 100 || !b.c.rings {
		return
	}
	b.putOffTimerC() // RFC 3261, 16.7 step 2
	if b.uncover(res) && !b.c.responded {
		_ = b.bridgeResponse(res)
		b.c.tx.Respond(res)
	}
}

// hearSuccess forwards a 2xx at once, the first and, of an INVITE, every other. RFC 3261, 16.7 step 5
func (b *branch) hearSuccess(res *wire.Response) {
	c := b.c
	b.end()
	if !b.uncover(res) {
		b.note(final{code: 502})
		c.advance()
		return
	}
	if c.responded && !c.rings {
		return
	}
	if err := b.bridgeResponse(res); err != nil {
		b.decline(res, err)
		c.advance()
		return
	}
	c.respond(res)
	if !c.noCancel {
		c.cancelAll(`SIP;cause=200;text="Call completed elsewhere"`) // RFC 3261, 16.7 step 10
	}
	c.advance()
}

// hearFailure stores a 3xx to 6xx and goes on searching. RFC 3261, 16.7 step 4. We never recurse on a 3xx: whom to call next is the caller's choice.
func (b *branch) hearFailure(res *wire.Response) {
	c := b.c
	if b.done || (res.StatusCode == 408 || res.StatusCode == 430) && b.another() || b.retrySRTP(res.StatusCode) {
		return
	}
	b.end()
	f := final{code: res.StatusCode, res: res}
	switch {
	case !b.uncover(res):
		f = final{code: 502}
	case b.expired:
		f = final{code: 408} // our own CANCEL's 487 is no news for the caller. RFC 3261, 16.8
	case res.StatusCode == 430 && !b.t.foreign:
		f = final{code: 480, err: wire.Errorf(480, "", "proxy: no flow of %s is left", b.t.uri.Raw)} // was for us (RFC 5626, 7)
	}
	b.note(f)
	if f.code >= 600 {
		c.stop() // a 6xx ends the search but is not forwarded yet: a 2xx may still win. RFC 3261, 16.7 step 5
		c.cancelAll("SIP;cause=" + strconv.Itoa(f.code))
	}
	c.advance()
}

// ServeFailure is a client transaction that got no final response. A transport error counts as 503 (RFC 3261, 16.9), a timeout as 408; either
// makes us try the next hop. RFC 3261, 16.6 step 7
func (b *branch) ServeFailure(_ *transaction.Client, err error) {
	broken := errors.Is(err, transaction.ErrTransport)
	if f := b.t.binding; f != nil && f.RegID != 0 && b.c.p.FlowFailed != nil && errors.Is(err, transaction.ErrUnreachable) {
		b.c.p.FlowFailed(f.Flow) // RFC 5626, 7
	}
	switch {
	case b.done || b.failover(broken):
		return
	case broken:
		b.fail(b.unreached(err))
	default:
		b.fail(wire.Errorf(408, "", "proxy: %w", err))
	}
	b.c.advance()
}

// failover tries the next hop if there is one and the branch is still wanted. RFC 3263, 4.3
func (b *branch) failover(broken bool) bool {
	if b.done || b.expired || b.c.closed {
		return false
	}
	switch {
	case b.large && broken: // the next hop is the same one over UDP
	case b.large:
		b.large, b.hops = false, b.hops[1:]
		b.c.p.Resolver.Failed(b.hop)
	case b.hop.Addr.IsValid():
		b.c.p.Resolver.Failed(b.hop)
	}
	if len(b.hops) == 0 {
		return false
	}
	b.stopTimerC()
	b.next()
	b.c.advance()
	return true
}

// uncover removes our Via. What is left must be the Via the request came with: a response that somebody else's Via tops goes nowhere.
// RFC 3261, 16.7 step 3. Who the callee says it is counts for nothing: we have not asked it to prove that. RFC 3325, 5
func (b *branch) uncover(res *wire.Response) bool {
	wire.Pop(res, "Via")
	for _, h := range res.Headers() {
		if claimsIdentity(h.Name()) {
			wire.Del(res, "P-Asserted-Identity")
			wire.Del(res, "P-Preferred-Identity")
			wire.Del(res, "Remote-Party-ID")
			break
		}
	}
	return wire.Has(res, "Via") && res.Via.Branch == b.c.via
}

// end takes the branch out of the count, once. RFC 5393, 5.3.3.1
func (b *branch) end() {
	if b.done {
		return
	}
	b.done = true
	b.stopTimerC()
	b.c.pending--
	b.c.breadth += b.breadth
}

// fail ends a branch without a response, unless the same phone can be reached another way.
func (b *branch) fail(err error) {
	if b.another() {
		return
	}
	b.end()
	b.note(final{code: codeOf(err), err: err})
}

// note adds a final response to the response context. RFC 3261, 16.7 step 4
func (b *branch) note(f final) {
	b.dropMedia()
	b.c.note(f)
}

// codeOf is the status an error stands for.
func codeOf(err error) int {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 500
}

// respond sends a response upstream and remembers a final one. RFC 3261, 16.7 step 9
func (c *call) respond(res *wire.Response) {
	c.stop()
	c.responded = true
	c.tx.Respond(res)
}

// stop: no new branches.
func (c *call) stop() {
	c.closed = true
	c.targets = nil
	c.ring.Stop()
	c.deafen()
}

// finish ends a search in which nothing more is awaited.
func (c *call) finish() {
	if !c.responded {
		c.answerBest()
	}
	c.releaseMedia()
	c.letGo()
}

// answerBest answers with the best of what came back. RFC 3261, 16.7 step 6
func (c *call) answerBest() {
	c.stop()
	c.responded = true
	best := c.best()
	switch {
	case c.cancelled && (best.res == nil || best.code == 408):
		c.tx.Reply(487, "") // the caller gave up before anybody was reached
	case best.code == 503:
		c.tx.Reply(500, "") // a 503 would say that we ourselves can do nothing
	case best.err != nil:
		c.tx.Fail(best.err)
	case best.res == nil:
		c.tx.Reply(best.code, "") // a 408 to a non-INVITE ends in silence. RFC 4320, 4.2
	default:
		c.addChallenges(best.res)
		c.tx.Respond(best.res)
	}
}

// best chooses: a 6xx before all, else the lowest class, and in it what helps the caller most. Without any it is 408.
func (c *call) best() final {
	best, found := final{code: 408}, false
	for _, f := range c.finals {
		if f.code == 408 && !c.rings {
			continue // it could not be sent. RFC 4320, 4.2
		}
		if !found || rank(f.code) < rank(best.code) {
			best, found = f, true
		}
	}
	return best
}

// rank orders final responses, the best first: by class, and within one those that tell how to send the request again, then those that say
// something of the callee, then those that only say that nobody answered.
func rank(code int) int {
	if code >= 600 {
		return 0
	}
	class := code / 100 * 10
	switch code {
	case 401, 407:
		return class
	case 415, 420, 484:
		return class + 1
	case 404, 410, 480:
		return class + 3
	case 408, 430, 481, 503:
		return class + 4
	case 487:
		return class + 5
	}
	return class + 2
}

// addChallenges gives the caller the challenges of all branches, since it needs credentials for each; those of one response keep
// their order. RFC 3261, 16.7 step 7; RFC 8760, 2.5
func (c *call) addChallenges(best *wire.Response) {
	if best.StatusCode != 401 && best.StatusCode != 407 {
		return
	}
	for _, f := range c.finals {
		if f.res == nil || f.res == best || f.code != 401 && f.code != 407 {
			continue
		}
		for _, h := range f.res.Headers() {
			if strings.EqualFold(h.Name(), "WWW-Authenticate") || strings.EqualFold(h.Name(), "Proxy-Authenticate") {
				best.AppendHeader(h)
			}
		}
	}
}
