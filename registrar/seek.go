package registrar

import (
	"errors"
	"net/netip"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
	"signalbox/location"
)

// A phone that listens where its Contact says is connected to again when there is something to send (RFC 3261, 18.1.1). It may have closed its connection because it needs none, or it
// may be gone: an OPTIONS over a new connection tells which.

// seek asks the phones of an address that registered over a connection which has ended.
func (r *Registrar) seek(aor wire.AOR, id wire.FlowID) {
	if r.Network == nil || r.Timers == nil || r.Layer == nil {
		return
	}
	bindings := r.Location.Lookup(aor)
	for i := range bindings {
		b := &bindings[i]
		if hop, ok := listensAt(b); ok && b.Flow == id && b.Usable() && !b.DependsOnFlow() {
			r.Timers.Do(func() { r.askAt(hop, aor, b) })
		}
	}
}

// listensAt is where a phone takes connections. Registrations come from the host that their Contact names, or are behind NAT (reach.go).
func listensAt(b *location.Binding) (wire.Hop, bool) {
	addr, numeric := b.Contact.Addr()
	proto := b.Contact.Transport()
	if !numeric || b.Behind || len(b.Path) > 0 || proto != wire.TCP && proto != wire.TLS {
		return wire.Hop{}, false
	}
	port := uint16(b.Contact.Port)
	if port == 0 {
		port = proto.Port()
	}
	return wire.Hop{Proto: proto, Addr: netip.AddrPortFrom(addr, port), Name: b.Contact.Host}, true
}

// askAt sends OPTIONS to where a phone listens.
func (r *Registrar) askAt(hop wire.Hop, aor wire.AOR, b *location.Binding) {
	if r.sought.Load() >= maxSought {
		return
	}
	flow, err := r.Network.Dial(hop)
	if err != nil {
		return // it says nothing of the phone
	}
	m, wrong := wire.Parse(appendPing(make([]byte, 0, 512), flow, b.Contact, r.Domains.Primary()))
	if req, ok := m.(*wire.Request); wrong == nil && ok {
		r.sought.Add(1)
		r.Layer.Start(r.Timers, req, flow, &sought{r, aor, b.Flow, hop})
	}
}

// sought is a phone that was asked whether it is still there.
type sought struct {
	r    *Registrar
	aor  wire.AOR
	flow wire.FlowID // that has ended
	hop  wire.Hop
}

// ServeResponse: whatever it answers, it is there.
func (s *sought) ServeResponse(_ *transaction.Client, res *wire.Response) {
	if res.StatusCode >= 200 {
		s.r.sought.Add(-1)
	}
}

// ServeFailure: there is no connection to the phone. One that takes our connection and is silent may only not know OPTIONS.
func (s *sought) ServeFailure(_ *transaction.Client, err error) {
	s.r.sought.Add(-1)
	if !errors.Is(err, transaction.ErrTransport) {
		return
	}
	s.r.loseFlow(s.aor, func(b *location.Binding) bool {
		hop, ok := listensAt(b)
		return ok && b.Flow == s.flow && hop == s.hop
	})
}
