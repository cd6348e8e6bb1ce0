package registrar

import (
	"strings"
	"sync"
	"time"

	"signalbox/internal/wire"
	"signalbox/location"
)

// flows knows which addresses are reached over each living connection, so that their bindings are lost the moment it breaks: RFC 5626, 7. There is an
// entry for each connection that registrations came over, and in it each address once.
type flows struct {
	mu  sync.Mutex
	all map[wire.FlowID]map[wire.AOR]struct{}
}

// add notes that an address is reached over a flow; first is true for the first one.
func (f *flows) add(id wire.FlowID, aor wire.AOR) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	set := f.all[id]
	if _, known := set[aor]; known {
		return false
	}
	if set == nil {
		if f.all == nil {
			f.all = make(map[wire.FlowID]map[wire.AOR]struct{})
		}
		set, first = make(map[wire.AOR]struct{}, 1), true
		f.all[id] = set
	}
	set[wire.AOR{User: strings.Clone(aor.User), Host: aor.Host}] = struct{}{} // the user is a part of a message
	return first
}

// take forgets a flow and returns its addresses.
func (f *flows) take(id wire.FlowID) map[wire.AOR]struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	set := f.all[id]
	delete(f.all, id)
	return set
}

// watchFlow sees to it that the bindings which depend on this connection are lost with it. It comes after the commit: if the connection has died
// meanwhile, that is found at once.
func (g *registration) watchFlow(bindings []location.Binding) {
	r, flow := g.Registrar, g.tx.Flow
	id := flow.ID()
	if !id.Proto.Reliable() {
		return
	}
	for i := range bindings {
		if b := &bindings[i]; b.Flow == id && b.DependsOnFlow() {
			if g.flows.add(id, g.aor) {
				flow.OnClose(func(error) { r.flowLost(id) })
			}
			return
		}
	}
}

// flowLost invalidates the bindings of a connection, of whichever address. RFC 5626, 7. If the store fails the proxy still sees that the flow is gone.
func (r *Registrar) flowLost(id wire.FlowID) {
	for aor := range r.flows.take(id) {
		r.loseFlow(aor, func(b *location.Binding) bool { return b.Flow == id && b.DependsOnFlow() })
	}
}

// loseFlow marks bindings of an address whose flow has died.
func (r *Registrar) loseFlow(aor wire.AOR, lost func(b *location.Binding) bool) {
	r.Location.Change(aor, location.FlowLost, func(now []location.Binding) ([]location.Binding, error) {
		return lose(now, lost), nil
	}, func([]location.Binding, error) {})
}

// lose marks the bindings that a flow was the only way to, and returns the list as it is if there are none.
func lose(bindings []location.Binding, lost func(b *location.Binding) bool) []location.Binding {
	var after []location.Binding
	for i := range bindings {
		if b := &bindings[i]; !b.Usable() || !lost(b) {
			continue
		}
		if after == nil {
			after = append(after, bindings...)
		}
		after[i].Lost = time.Now()
	}
	if after == nil {
		return bindings
	}
	return after
}
