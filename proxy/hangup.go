package proxy

import (
	"strconv"
	"strings"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// A proxy ends no calls. But where it bridges media it is a party to both halves of the call, and when these fall silent nobody else may be left to end
// it: then it sends BYE to both sides, each as if from the other (RFC 3261, 15.1.1). This file keeps what that takes: the state of the dialog as the two
// sides see it (RFC 3261, 12.1 and 12.2).

// party is one side of a bridged call that is up.
type party struct {
	address string   // From or To, with its tag
	tag     string   // of address
	target  wire.URI // its Contact
	routes  []string // beyond us
	at      leg
	cseq    uint32 // the highest it has used
}

func clone(s string) string { return strings.Clone(s) }

// legs tells which leg a request comes from and which it goes to. ok is false for another dialog of the same call, or one that is not up.
func (a *anchored) legs(req *wire.Request, fromCaller bool) (from, to int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	tag := req.From.Tag
	if fromCaller {
		tag = req.To.Tag
	}
	leg := a.early[tag]
	if a.up && tag != a.callee.tag || leg == 0 {
		return 0, 0, false
	}
	if fromCaller {
		return 0, leg, true
	}
	return leg, 0, true
}

// hear notes which leg a tag of a callee belongs to: a leg may have several, if something beyond it forks.
func (a *anchored) hear(tag string, leg int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.early == nil {
		a.early = map[string]int{}
	}
	if _, known := a.early[tag]; !known && len(a.early) < maxEarly {
		a.early[clone(tag)] = leg
	}
}

// answered writes the dialog down when the 2xx to the INVITE comes. Further ones are of other dialogs. RFC 3261, 12.1
func (a *anchored) answered(b *branch, res *wire.Response) {
	a.mu.Lock()
	first := !a.up && !a.over
	if first {
		a.up, a.branch, a.invite = true, b.leg, nil
		a.note(b, res)
	}
	a.mu.Unlock()
	if first {
		a.bridge.Choose(b.leg)
	}
}

// note takes the dialog from the INVITE and its response.
func (a *anchored) note(b *branch, res *wire.Response) {
	req := b.c.req
	routes := wire.List(req, "Record-Route")
	a.caller = party{
		address: clone(req.From.Raw), tag: clone(req.From.Tag), target: remoteTarget(req), routes: cloneAll(routes), cseq: req.CSeq.Seq,
		at: leg{foreign: b.c.stranger, flow: b.c.tx.Flow.ID(), routed: b.c.vias > 1, member: b.c.caller()},
	}
	a.callee = party{address: clone(res.To.Raw), tag: clone(res.To.Tag), target: remoteTarget(res)}
	a.callee.at = leg{foreign: b.t.foreign, flow: b.client.Flow.ID(), routed: b.t.routed, member: b.c.callee(b.t)}
	// Those above ours were added beyond us, the last one first. RFC 3261, 12.1.2
	all := wire.List(res, "Record-Route")
	for i := len(all) - len(routes) - 1; i >= 0; i-- {
		if route, err := wire.ParseAddress(all[i]); err == nil && !b.c.ours(route.URI) {
			a.callee.routes = append(a.callee.routes, clone(all[i]))
		}
	}
}

func cloneAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clone(s)
	}
	return out
}

// remoteTarget is the Contact of a message. RFC 3261, 12.1.1
func remoteTarget(m wire.Message) wire.URI {
	c, err := wire.ParseAddress(clone(wire.First(m, "Contact")))
	if err != nil {
		return wire.URI{}
	}
	return c.URI
}

// observe keeps the dialog up to date with a request: its sequence number, and the target that it refreshes. RFC 3261, 12.2.2
func (a *anchored) observe(req *wire.Request, fromCaller bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	who := &a.callee
	if fromCaller {
		who = &a.caller
	}
	who.cseq = max(who.cseq, req.CSeq.Seq)
	if refreshesTarget(req.CSeq.Method) {
		who.refresh(req)
	}
}

// refreshesTarget tells the requests that say where further ones shall go, in what they carry themselves and in their 2xx. RFC 3261, 12.2; RFC 3311, 5.1
func refreshesTarget(method string) bool { return method == "INVITE" || method == "UPDATE" }

// refresh is the same for a 2xx. RFC 3261, 12.2.1.2
func (a *anchored) refresh(res *wire.Response, byCaller bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if byCaller {
		a.caller.refresh(res)
	} else {
		a.callee.refresh(res)
	}
}

func (p *party) refresh(m wire.Message) {
	if target := remoteTarget(m); target.IsSIP() {
		p.target = target
	}
}

// owe notes that a leg was made an offer in a response: its ACK or PRACK is to bring the answer. RFC 3261, 13.2.2.4
func (a *anchored) owe(leg int) {
	a.mu.Lock()
	a.owed = leg
	a.mu.Unlock()
}

// pay tells whether that leg owed an answer.
func (a *anchored) pay(leg int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.owed != leg {
		return false
	}
	a.owed = -1
	return true
}

// searched: the INVITE's search is over. If none of the bridged branches answered, so is the bridge.
func (a *anchored) searched() {
	a.mu.Lock()
	up := a.up
	a.mu.Unlock()
	if !up {
		a.end()
	}
}

// end gives the bridge back. It may be called twice.
func (a *anchored) end() {
	a.mu.Lock()
	over := a.over
	a.over, a.invite = true, nil
	a.mu.Unlock()
	if !over {
		a.p.anchors.remove(a)
		a.bridge.Close()
	}
}

// lost is told by the bridge that media cannot go on. A call that is up is ended on both sides, one that rings is refused.
func (a *anchored) lost(why string) {
	a.mu.Lock()
	c := a.invite
	a.mu.Unlock()
	if c == nil {
		a.hangup(why)
		return
	}
	c.owner.Do(func() {
		if c.responded || c.req == nil {
			a.hangup(why)
			return
		}
		c.stop()
		c.note(final{code: 488, err: wire.Errorf(488, "", "proxy: media: %s", why)})
		c.cancelAll("SIP;cause=488")
		c.advance()
	})
}

// note adds an error of the call itself to the responses to choose from.
func (c *call) note(f final) { c.finals = append(c.finals, f) }

// hangup ends the call on both sides.
func (a *anchored) hangup(why string) {
	a.mu.Lock()
	up := a.up && !a.over
	caller, callee := a.caller, a.callee
	a.mu.Unlock()
	a.end()
	if up {
		a.p.sayBye(a.key.callID, caller, callee, why)
		a.p.sayBye(a.key.callID, callee, caller, why)
	}
}

// HangUp ends all bridged calls on both sides: without this server their media are gone.
func (p *Proxy) HangUp(why string) {
	for _, a := range p.anchors.all() {
		a.hangup(why)
	}
}

// Bridged is how many calls have their media bridged.
func (p *Proxy) Bridged() int { return int(p.anchors.n.Load()) }

// sayBye sends one side a BYE as if from the other. RFC 3261, 15.1.1 and 12.2.1.1
func (p *Proxy) sayBye(callID string, to, from party, why string) {
	if !to.target.IsSIP() {
		return
	}
	bye := p.withinDialog("BYE", callID, to, from, from.cseq+1)
	wire.Add(bye, "Reason", `SIP;cause=408;text="`+why+`"`)
	p.reach(to, func(flow transport.Flow) {
		pushOwnVia(bye, flow)
		p.Layer.Start(nil, bye, flow, farewell{})
	})
}

// withinDialog builds a request of one side of a dialog to the other. RFC 3261, 12.2.1.1
func (p *Proxy) withinDialog(method, callID string, to, from party, cseq uint32) *wire.Request {
	req := wire.NewRequest(method, requestURI(to.target))
	wire.Add(req, "Max-Forwards", strconv.Itoa(maxForwards))
	for _, route := range to.routes {
		wire.Add(req, "Route", route)
	}
	wire.Add(req, "From", from.address)
	wire.Add(req, "To", to.address)
	wire.Add(req, "Call-ID", callID)
	wire.Add(req, "CSeq", strconv.FormatUint(uint64(cseq), 10)+" "+method)
	return req
}

// reach finds the flow to a side: a phone's own, or that of where its address leads. There may be none any more.
func (p *Proxy) reach(to party, send func(transport.Flow)) {
	at := to.at
	if !at.foreign {
		if now := p.moved(at); now != nil {
			at.flow = now.Flow
		}
		if flow, ok := p.Network.Find(at.flow); ok {
			send(flow)
		}
		return
	}
	uri := to.target
	if len(to.routes) > 0 {
		if route, err := wire.ParseAddress(to.routes[0]); err == nil {
			uri = route.URI
		}
	}
	p.Resolver.Resolve(uri, func(hops []wire.Hop, _ error) {
		for _, hop := range hops {
			if !p.Reachable(hop) {
				continue
			}
			if flow, err := p.Network.Dial(hop); err == nil {
				send(flow)
				return
			}
		}
	})
}

// pushOwnVia is the Via of a request that we make ourselves. RFC 3261, 8.1.1.7
func pushOwnVia(req *wire.Request, flow transport.Flow) {
	b := append([]byte("SIP/2.0/"), flow.ID().Proto.String()...)
	b = flow.SentBy().AppendTo(append(b, ' '))
	b = append(append(b, ";branch="...), wire.NewBranch()...)
	wire.Push(req, "Via", string(b))
}

// decline ends the call of a callee who answered with what the caller cannot have: it gets its ACK and a BYE, the caller a refusal. RFC 3261, 13.2.2.4
func (b *branch) decline(res *wire.Response, err error) {
	c, a := b.c, b.c.anchored
	if c.req == nil {
		return // said before
	}
	if c.mediaFrom != c.mediaTo { // a re-INVITE: the two sides do not agree any more on what they have
		a.hangup("media description not acceptable")
		b.fail(err)
		return
	}
	var at anchored
	at.note(b, res)
	ack := c.p.withinDialog("ACK", c.req.CallID, at.callee, at.caller, c.req.CSeq.Seq)
	pushOwnVia(ack, b.client.Flow)
	_ = b.client.Flow.Send(wire.Append(nil, ack))
	c.p.sayBye(a.key.callID, at.callee, at.caller, "media description not acceptable")
	b.fail(err)
}

// farewell does not care what becomes of a BYE.
type farewell struct{}

func (farewell) ServeResponse(*transaction.Client, *wire.Response) {}
func (farewell) ServeFailure(*transaction.Client, error)           {}
