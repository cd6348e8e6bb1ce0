package registrar

import (
	"strings"
	"sync"
	"time"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// A phone behind NAT that registers over UDP is reached only as long as the NAT remembers it: half a minute with many (RFC 5626, 4.4). Phones that know outbound see to that
// themselves (RFC 5626, 4.4.2); to the others we send an OPTIONS now and then, whose answer keeps the way open in both directions, whatever the
// answer is (RFC 3261, 11.2). Bare line ends would be cheaper, but RFC 5626, 4.4.1 forbids them over UDP, and NATs need not count what comes from outside. Connections
// need nothing of that: TCP's own keep-alive does it (package transport).
//
// None of this prolongs a registration, nor does anything else that arrives but a REGISTER with credentials: so nobody keeps a phone registered by
// sending in its name.

// Network finds the flow to a phone.
type Network interface {
	Find(id wire.FlowID) (transport.Flow, bool)
}

// keepAlive is a wheel of one slot for each second of the interval. A flow is in it once, however many addresses and refreshes it carries.
type keepAlive struct {
	network Network
	timers  *transaction.Owner

	mu      sync.Mutex
	running bool
	at      int // the slot that comes next
	slots   [pingInterval][]wire.FlowID
	flows   map[wire.FlowID]wire.AOR // whose binding keeps it in the wheel
}

// needsPing: a phone behind NAT on UDP that does not keep its flow itself. What is behind an edge proxy is that proxy's.
func needsPing(b *location.Binding) bool {
	return b.Behind && b.RegID == 0 && len(b.Path) == 0 && b.Flow.Proto == wire.UDP
}

// keepOpen puts the flows of bindings that need it on the wheels. It is called for the bindings of a REGISTER, and at the start for all.
func (r *Registrar) keepOpen(aor wire.AOR, bindings []location.Binding) {
	for i := range bindings {
		switch b := &bindings[i]; {
		case needsPing(b):
			r.pings.add(b.Flow, aor, r.ping)
		case keepsItself(b) && r.Network != nil && r.Timers != nil && r.Layer != nil:
			r.watch.add(b, aor, r.listen)
		}
	}
}

// add puts a flow as far from its turn as it can be.
func (k *keepAlive) add(id wire.FlowID, aor wire.AOR, turn func()) {
	if k.network == nil || k.timers == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, known := k.flows[id]; known && old == aor || len(k.flows) >= maxPinged {
		return
	} else if !known {
		last := (k.at + pingInterval - 1) % pingInterval
		k.slots[last] = append(k.slots[last], id)
	}
	if k.flows == nil {
		k.flows = make(map[wire.FlowID]wire.AOR)
	}
	k.flows[id] = wire.AOR{User: strings.Clone(aor.User), Host: aor.Host} // the user is a part of a message
	if !k.running {
		k.running = true
		k.timers.After(time.Second, turn)
	}
}

// next takes the flows whose turn it is, as many as may be sent in a second; the rest comes a second later. The wheel stops when it is empty.
func (k *keepAlive) next(turn func()) (due []wire.FlowID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.flows) == 0 {
		k.running = false
		return nil
	}
	k.timers.After(time.Second, turn)
	due = k.slots[k.at]
	k.slots[k.at] = nil
	k.at = (k.at + 1) % pingInterval
	if len(due) > maxPings {
		k.slots[k.at] = append(k.slots[k.at], due[maxPings:]...)
		due = due[:maxPings]
	}
	return due
}

// again puts a flow back for its next turn, or forgets it.
func (k *keepAlive) again(id wire.FlowID, wanted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !wanted {
		delete(k.flows, id)
		return
	}
	last := (k.at + pingInterval - 1) % pingInterval
	k.slots[last] = append(k.slots[last], id)
}

func (k *keepAlive) whose(id wire.FlowID) wire.AOR {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.flows[id]
}

// ping is one turn of the wheel: every flow on it is asked, if some binding still needs it.
func (r *Registrar) ping() {
	for _, id := range r.pings.next(r.ping) {
		b := r.pinged(r.pings.whose(id), id)
		if b != nil {
			if flow, ok := r.pings.network.Find(id); ok {
				_ = flow.Send(appendPing(make([]byte, 0, 512), flow, b.Contact, r.Domains.Primary())) // lost like any datagram; the next one comes soon
			}
		}
		r.pings.again(id, b != nil)
	}
}

// pinged is the binding that keeps a flow on the wheel.
func (r *Registrar) pinged(aor wire.AOR, id wire.FlowID) *location.Binding {
	bindings := r.Location.Lookup(aor)
	for i := range bindings {
		if b := &bindings[i]; b.Flow == id && needsPing(b) {
			return b
		}
	}
	return nil
}

// appendPing writes an OPTIONS that is sent once and needs no transaction: its response matches none and is dropped.
func appendPing(dst []byte, flow transport.Flow, contact wire.URI, domain string) []byte {
	uri := strings.TrimSuffix(contact.Raw, contact.Headers)
	branch := wire.NewBranch()
	dst = append(append(append(dst, "OPTIONS "...), uri...), " SIP/2.0\r\nVia: SIP/2.0/"...)
	dst = append(append(dst, flow.ID().Proto.String()...), ' ')
	dst = flow.SentBy().AppendTo(dst)
	dst = append(append(append(dst, ";branch="...), branch...), ";rport\r\nMax-Forwards: 70\r\nFrom: <sip:"...)
	dst = append(append(append(dst, domain...), ">;tag="...), wire.NewTag()...)
	dst = append(append(append(dst, "\r\nTo: <"...), uri...), ">\r\nCall-ID: "...)
	dst = append(append(dst, branch[len(wire.MagicCookie):]...), '@')
	dst = append(dst, domain...)
	return append(dst, "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"...)
}
