package proxy

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// Anchor bridges the media of calls whose two sides could not hear each other: a browser and a phone, SRTP and RTP. A call that needs no bridge never
// meets it. Package media is behind it.
type Anchor interface {
	// Bridge begins the media of a call. ended is called once at most, on any goroutine, when they cannot go on.
	Bridge(caller MediaSide, ended func(why string)) Bridge
}

// Bridge is the media of one call: leg 0 is the caller's, and each branch that needs it has one. Its errors are responses (*wire.Error).
type Bridge interface {
	Branch(callee MediaSide) (leg int, err error)
	Offer(from, to int, sdp []byte) ([]byte, error)  // an offer of one leg, as the other one is to see it
	Answer(from, to int, sdp []byte) ([]byte, error) // and the answer
	Standing(leg int) []byte                         // the answer that a leg has got, nil if none
	Choose(leg int)                                  // this branch has answered the call
	Reoffer(leg int) []byte                          // what the caller must be offered since it was told something else, nil if nothing
	Drop(leg int)                                    // this one has not
	Close()
}

// MediaKind is what the signalling of a side tells about its media.
type MediaKind uint8

// The kinds of sides.
const (
	Browser     MediaKind = iota + 1 // comes over WebSocket
	Phone                            // RTP
	SecurePhone                      // over TLS, so that SRTP keys may be offered beside RTP
	SRTPPhone                        // over TLS, and it has refused RTP
)

// MediaSide is one side of a call.
type MediaSide struct {
	Kind   MediaKind
	Source netip.Addr // where its signalling comes from
	Local  netip.Addr // the address of ours that it reaches
}

func mediaKind(p wire.Proto) MediaKind {
	switch p {
	case wire.WS, wire.WSS:
		return Browser
	case wire.TLS:
		return SecurePhone
	}
	return Phone
}

// MediaSideOf is what a flow tells about the media of who is at its other end.
func MediaSideOf(f transport.Flow) MediaSide {
	return MediaSide{mediaKind(f.ID().Proto), f.ID().Remote.Addr().Unmap(), f.SentBy().Addr()}
}

// anchored is a call whose media is bridged. Requests of one dialog have owners of their own, so it has a lock; no call of the bridge is made under it.
type anchored struct {
	p      *Proxy
	bridge Bridge
	key    anchorKey
	next   *anchored   // of the same dialog: a spiral that is bridged each time it passes
	from   wire.FlowID // that the INVITE came over
	invite *call       // until it is answered

	mu             sync.Mutex
	caller, callee party
	up             bool // answered
	over           bool
	acked          bool           // and the caller's ACK has come
	owed           int            // leg from which an answer is awaited in an ACK or PRACK, -1 if none
	branch         int            // the callee's leg
	early          map[string]int // legs by the callee's tags
}

type anchorKey struct{ callID, callerTag string }

// anchors are the bridged calls by their dialogs. Their number is bounded by the ports of the bridge.
type anchors struct {
	n  atomic.Int32 // so that a server without bridged calls never takes the lock
	mu sync.Mutex
	m  map[anchorKey]*anchored
}

// add is false where the dialog passes too often.
func (t *anchors) add(a *anchored) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[anchorKey]*anchored{}
	}
	passes := 0
	for other := t.m[a.key]; other != nil; other = other.next {
		passes++
	}
	if passes == maxPasses {
		return false
	}
	a.next = t.m[a.key]
	t.m[a.key] = a
	t.n.Add(1)
	return true
}

func (t *anchors) remove(a *anchored) {
	t.mu.Lock()
	defer t.mu.Unlock()
	head := t.m[a.key]
	for at := &head; *at != nil; at = &(*at).next {
		if *at == a {
			*at = a.next
			t.n.Add(-1)
			break
		}
	}
	if t.m[a.key] = head; head == nil {
		delete(t.m, a.key)
	}
}

// find returns the call that a request of a dialog belongs to, from whichever side it comes. Of a spiral it is the pass whose side the request comes from.
func (t *anchors) find(req *wire.Request, flow wire.FlowID) (a *anchored, fromCaller bool) {
	if t.n.Load() == 0 || req.To.Tag == "" {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a, fromCaller = t.m[anchorKey{req.CallID, req.From.Tag}], true
	if a == nil {
		a, fromCaller = t.m[anchorKey{req.CallID, req.To.Tag}], false
	}
	if a == nil || a.next == nil {
		return a, fromCaller
	}
	for pass := a; pass != nil; pass = pass.next {
		if pass.comesFrom(flow, fromCaller) {
			return pass, fromCaller
		}
	}
	return a, fromCaller
}

// passes are all bridges of a dialog.
func (t *anchors) passes(key anchorKey) (list []*anchored) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a := t.m[key]; a != nil; a = a.next {
		list = append(list, a)
	}
	return list
}

// comesFrom tells whether one of its sides is at the other end of a flow.
func (a *anchored) comesFrom(flow wire.FlowID, caller bool) bool {
	if caller {
		return a.from.Remote == flow.Remote
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.callee.at.flow.Remote == flow.Remote
}

func (t *anchors) all() []*anchored {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*anchored, 0, len(t.m))
	for _, a := range t.m {
		for ; a != nil; a = a.next {
			list = append(list, a)
		}
	}
	return list
}

// needsBridge: one side is a browser's WebRTC and the other is not; or SRTP keys would leave TLS (RFC 4568, 8); or the phone has refused RTP before.
// It looks into the body only where the transports differ.
func (b *branch) needsBridge(out transport.Flow) bool {
	c := b.c
	from, to := mediaKind(c.tx.Flow.ID().Proto), mediaKind(out.ID().Proto)
	switch {
	case b.srtp, c.anchored != nil && c.anchored.bridge.Standing(0) != nil: // a caller who has had an answer gets no other
		return true
	case from == to || from == Phone && to == SecurePhone:
		return false
	case len(c.req.Body()) > 0 && !isSDP(c.req):
		return false
	case from == Browser:
		return len(c.req.Body()) == 0 || bytes.Contains(c.req.Body(), []byte("a=fingerprint:"))
	case to == Browser:
		return !bytes.Contains(c.req.Body(), []byte("a=fingerprint:"))
	}
	return bytes.Contains(c.req.Body(), []byte("RTP/SAVP")) && !bytes.Contains(c.req.Body(), []byte("a=fingerprint:"))
}

// Service is a user agent of ours. transaction.Handler says what ServeSIP may do.
type Service interface {
	ServeSIP(tx *transaction.Server) error
}

// saved is about what the bridge takes off a browser's description for a phone: two thirds, its candidates and what no phone knows.
func (b *branch) saved(out transport.Flow) int {
	c := b.c
	if c.p.Anchor == nil || mediaKind(c.tx.Flow.ID().Proto) != Browser || !c.rings || !b.needsBridge(out) {
		return 0
	}
	return len(c.req.Body()) * 2 / 3
}

// service answers for its name in our domains, for authenticated callers.
func (c *call) service() Service {
	s := c.p.Services[c.uri.User]
	if s == nil || c.dialog.valid || c.user == (wire.AOR{}) {
		return nil
	}
	aor, local := c.p.Domains.AOR(c.uri)
	if !local || hasMaddr(c.uri) || c.p.Users.Exists(aor.User, aor.Host) {
		return nil
	}
	return s
}

// isSDP tells whether the body is a session description.
func isSDP(m wire.Message) bool {
	if len(m.Body()) == 0 {
		return false
	}
	kind, _, _ := strings.Cut(wire.Get(m, "Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/sdp")
}

// description is the session description that a message carries, nil if none.
func description(m wire.Message) []byte {
	if isSDP(m) {
		return m.Body()
	}
	return nil
}

// describe replaces the body by a session description; nil takes it out.
func describe(m wire.Message, sdp []byte) {
	if sdp == nil {
		wire.Del(m, "Content-Type")
	} else if !wire.Has(m, "Content-Type") {
		wire.Add(m, "Content-Type", "application/sdp")
	}
	m.SetBody(sdp)
}
