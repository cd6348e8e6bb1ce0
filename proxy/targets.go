package proxy

import (
	"signalbox/internal/gruu"
	"signalbox/internal/wire"
	"signalbox/location"
)

// target is one element of the target set of RFC 3261, 16.5.
type target struct {
	uri     wire.URI // the Request-URI it gets
	foreign bool     // found by its URI: not a phone of ours
	flow    wire.FlowID
	direct  bool // a phone that its URI reaches too: not behind NAT
	routed  bool // an edge proxy is at the other end of the flow, and can be connected to again
	edge    bool // a domain whose edge proxy we are, or a phone of its people
	q       int

	binding *location.Binding // that it was found by; nil when it was found otherwise
	next    *target           // another flow or contact of the same instance, for when this one fails
}

// findTargets fills the target set. RFC 3261, 16.5
func (c *call) findTargets() error {
	switch {
	case c.dialog.valid:
		return c.findOtherSide()
	case c.edge == edgeIn:
		c.add(target{uri: c.uri, flow: c.edgeFlow, edge: true})
		return nil
	case c.edge == edgeOut:
		c.add(target{uri: c.uri, foreign: true, edge: true})
		return c.checkEdgeRegister()
	}
	aor, local := c.p.Domains.AOR(c.uri)
	if !local || hasMaddr(c.uri) { // the Request-URI is the only target: another domain's, or one that maddr names
		if _, ours := c.p.Domains.Domain(c.uri.Host); ours && !hasMaddr(c.uri) {
			return wire.Errorf(404, "", "proxy: nobody can be %s", c.uri.Raw)
		}
		c.add(target{uri: c.uri, foreign: true})
		return nil
	}
	var of *gruu.Target
	if gruu.Is(c.uri) && c.p.GRUU != nil {
		t, ok := c.p.GRUU.Open(c.uri, aor)
		if !ok {
			return c.unknown("GRUU", aor)
		}
		aor, of = t.AOR, &t
	}
	if !c.p.Users.Exists(aor.User, aor.Host) {
		return c.unknown("user", aor)
	}
	if c.p.Devices != nil {
		if err := c.reachDevice(aor); err != nil {
			return err
		}
	}
	c.aor = aor
	bindings := c.p.Location.Lookup(aor)
	if of != nil {
		if bindings = c.p.instance(bindings, of); of.Temporary && len(bindings) == 0 {
			return c.unknown("GRUU", aor) // void since the phone has started anew, or has left (RFC 5627, 5.3 and 6.1)
		}
	}
	c.addBindings(bindings)
	if len(c.targets) == 0 {
		return wire.Errorf(480, "", "proxy: %s has no contact", aor) // RFC 5627, 6.1 for a public GRUU
	}
	return c.prefer()
}

// unknown is the answer for what does not exist. A stranger must not learn that: hardening 25
func (c *call) unknown(what string, aor wire.AOR) error {
	if c.stranger {
		return wire.Errorf(480, "", "proxy: no %s %s, asked by a stranger", what, aor)
	}
	return wire.Errorf(404, "", "proxy: no %s %s", what, aor)
}

func (c *call) add(t target) {
	if c.targets == nil {
		c.targets = c.oneTarget[:0]
	}
	c.targets = append(c.targets, t)
}

// addBindings takes over the contacts in their order, highest q first: of each instance only the most recently refreshed one, behind which its others wait
// (instances.go).
func (c *call) addBindings(bindings []location.Binding) {
	for i := range bindings {
		b := &bindings[i]
		if len(c.targets) == maxBranches {
			return
		}
		if !c.usable(b) || c.superseded(bindings, i) {
			continue
		}
		c.add(c.bindingTarget(b))
		if b.InstanceID != "" {
			c.targets[len(c.targets)-1].next = c.otherFlows(bindings, b)
		}
	}
}

// bindingTarget is the phone that a binding leads to.
func (c *call) bindingTarget(b *location.Binding) target {
	return target{uri: b.Contact, flow: b.Flow, direct: !b.Behind, routed: len(b.Path) > 0, q: b.Q, binding: b}
}

// usable: there is a way to the phone, and it suits the request.
func (c *call) usable(b *location.Binding) bool { return b.Usable() && c.suits(b) }

// suits: a sips address-of-record is called at sips contacts only, so that TLS leads from end to end; and a contact is one that SIP reaches.
// RFC 3261, 16.6 step 7; RFC 5630, 5.3
func (c *call) suits(b *location.Binding) bool {
	if c.uri.Scheme == "sips" {
		return b.Contact.Scheme == "sips"
	}
	return b.Contact.IsSIP()
}

// direct tells whether a URI reaches the phone of a flow without NAT between: it names the very address the phone sends from. A port below
// 1024 is not a phone's.
func (p *Proxy) direct(u wire.URI, flow wire.FlowID) bool {
	if flow.Proto != wire.UDP && flow.Proto != wire.TCP {
		return false // TLS needs a name to verify, WebSocket a server
	}
	addr, numeric := u.Addr()
	return numeric && addr == flow.Remote.Addr().Unmap() && (u.Port == 0 || u.Port >= 1024) &&
		u.Transport() == flow.Proto && !hasMaddr(u) && !p.Network.IsLocal(u.Host, u.Port)
}

// samePlace: the URI means exactly the far end of this UDP flow, and the flow saves the resolving.
func samePlace(u wire.URI, flow wire.FlowID) bool {
	addr, numeric := u.Addr()
	port := u.Port
	if port == 0 {
		port = int(wire.UDP.Port())
	}
	return numeric && flow.Proto == wire.UDP && addr == flow.Remote.Addr().Unmap() && port == int(flow.Remote.Port()) &&
		u.Transport() == wire.UDP && !hasMaddr(u)
}
