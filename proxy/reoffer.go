package proxy

import (
	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// A caller takes one answer to its offer. Where early media gave it that of one phone of a fork, and another phone, which has none of these formats, answers the call, the two would be
// silent for each other. The bridge knows; then the caller gets a re-INVITE, as if from the callee, that offers what the callee has (RFC 3261, 14; RFC 3264, 8).
//
// Its sequence number is the last that the callee has used, or 0 if it has used none: no lower than what the caller has seen, as RFC 3261, 12.2.2 wants it, and no
// higher than what the callee will use next.

// acknowledged is told of the caller's ACK: no re-INVITE may come before it.
func (a *anchored) acknowledged() {
	a.mu.Lock()
	first := a.up && !a.over && !a.acked
	a.acked = true
	branch, caller, callee := a.branch, a.caller, a.callee
	a.mu.Unlock()
	if !first {
		return
	}
	if offer := a.bridge.Reoffer(branch); offer != nil && caller.target.IsSIP() {
		a.reoffer(branch, caller, callee, offer)
	}
}

func (a *anchored) reoffer(branch int, caller, callee party, offer []byte) {
	req := a.p.withinDialog("INVITE", a.key.callID, caller, callee, callee.cseq)
	wire.Add(req, "Contact", "<"+callee.target.Raw+">")
	describe(req, offer)
	a.p.reach(caller, func(flow transport.Flow) {
		pushOwnVia(req, flow)
		a.p.Layer.Start(nil, req, flow, &reoffer{a: a, branch: branch, caller: caller, callee: callee})
	})
}

// reoffer is the user of the re-INVITE's transaction.
type reoffer struct {
	a              *anchored
	branch         int
	caller, callee party
	answered       bool
}

// ServeResponse takes the caller's answer to the bridge. RFC 3261, 14.1: 491 says that the caller is about to make an offer of its own, which settles the
// same; with any other refusal there is no call.
func (r *reoffer) ServeResponse(tx *transaction.Client, res *wire.Response) {
	switch code := res.StatusCode; {
	case code < 200 || code == 491:
	case code < 300:
		r.acknowledge(tx.Flow)
		if r.answered {
			return
		}
		r.answered = true
		if sdp := description(res); sdp != nil {
			if _, err := r.a.bridge.Answer(0, r.branch, sdp); err == nil {
				r.a.refresh(res, true)
				return
			}
		}
		fallthrough
	default:
		r.a.hangup("media description not acceptable")
	}
}

// ServeFailure: a caller who is not there any more is missed by the bridge.
func (r *reoffer) ServeFailure(*transaction.Client, error) {}

// acknowledge sends the ACK, for each 2xx that comes. RFC 3261, 13.2.2.4
func (r *reoffer) acknowledge(flow transport.Flow) {
	ack := r.a.p.withinDialog("ACK", r.a.key.callID, r.caller, r.callee, r.callee.cseq)
	pushOwnVia(ack, flow)
	_ = flow.Send(wire.Append(nil, ack))
}
