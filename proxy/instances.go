package proxy

import (
	"signalbox/internal/wire"
	"signalbox/location"
)

// A phone that is registered with its instance may have several bindings: flows for redundancy (RFC 5626), or contacts of its former addresses (RFC 5627, 6.1). It
// is one phone all the same: it rings once, the others are for when the first one fails.

// superseded: another contact of the same instance was refreshed later. RFC 5626, 7; RFC 5627, 6.1
func (c *call) superseded(bindings []location.Binding, i int) bool {
	if bindings[i].InstanceID == "" {
		return false
	}
	for j := range bindings {
		if j != i && bindings[j].InstanceID == bindings[i].InstanceID && c.usable(&bindings[j]) && newer(bindings, j, i) {
			return true
		}
	}
	return false
}

// newer puts bindings of an instance in the order in which they are tried.
func newer(bindings []location.Binding, i, j int) bool {
	order := bindings[i].Updated.Compare(bindings[j].Updated)
	return order > 0 || order == 0 && i < j
}

// otherFlows are the bindings of an instance but for the first one, the newest first.
func (c *call) otherFlows(bindings []location.Binding, first *location.Binding) *target {
	var rest []int
	for i := range bindings {
		b := &bindings[i]
		if b == first || b.InstanceID != first.InstanceID || !c.usable(b) {
			continue
		}
		at := len(rest)
		for at > 0 && newer(bindings, i, rest[at-1]) {
			at--
		}
		rest = append(rest, 0)
		copy(rest[at+1:], rest[at:])
		rest[at] = i
	}
	var list *target
	for at := len(rest) - 1; at >= 0; at-- {
		t := c.bindingTarget(&bindings[rest[at]])
		t.next = list
		list = &t
	}
	return list
}

// another goes on with another flow of the same phone when this one has failed: its connection is gone, nobody answered, or the edge proxy says 430. Any other
// response is the phone's own, and final. RFC 5626, 7; RFC 5627, 6.1
func (b *branch) another() bool {
	if b.done || b.expired || b.c.closed || b.t.next == nil {
		return false
	}
	b.stopTimerC()
	b.dropMedia()
	*b = branch{c: b.c, t: b.t.next, breadth: b.breadth}
	b.find()
	return true
}

// routes are the Route values of the copy: what is left of the received ones, else the Path of the target's binding. Both would lead in circles
// (RFC 5627, 6.1). RFC 3327, 5.4
func (b *branch) routes() []string {
	if len(b.c.routes) == 0 && b.t.binding != nil {
		return b.t.binding.Path
	}
	return b.c.routes
}

// atEdge: a Path is believed only to lead back to where the REGISTER came from: hardening 42.
func atEdge(hop wire.Hop, flow wire.FlowID) bool {
	return hop.Addr.Addr().Unmap() == flow.Remote.Addr().Unmap() && hop.Addr.Port() >= 1024
}
