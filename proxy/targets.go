package proxy

import (
	"signalbox/internal/wire"
	"signalbox/location"
)

// target is one element of the target set of RFC 3261, 16.5.
type target struct {
	uri     wire.URI // the Request-URI it gets
	foreign bool     // found by its URI: not a phone of ours
	flow    wire.FlowID
	direct  bool // a phone that its URI reaches too: not behind NAT
	q       int
}

// findTargets fills the target set. RFC 3261, 16.5
func (c *call) findTargets() error {
	if c.dialog.valid {
		c.add(c.dialogTarget())
		return nil
	}
	aor, local := c.p.Domains.AOR(c.uri)
	if !local || hasMaddr(c.uri) { // the Request-URI is the only target: another domain's, or one that maddr names
		c.add(target{uri: c.uri, foreign: true})
		return nil
	}
	if !c.p.Users.Exists(aor.User, aor.Host) {
		if c.stranger {
			return wire.Errorf(480, "", "proxy: no user %s, asked by a stranger", aor) // who must not learn who exists: hardening 25
		}
		return wire.Errorf(404, "", "proxy: no user %s", aor)
	}
	c.addBindings(c.p.Location.Lookup(aor))
	if len(c.targets) == 0 {
		return wire.Errorf(480, "", "proxy: %s has no contact", aor)
	}
	return nil
}

func (c *call) add(t target) {
	if c.targets == nil {
		c.targets = c.oneTarget[:0]
	}
	c.targets = append(c.targets, t)
}

// addBindings takes over the contacts in their order, highest q first.
func (c *call) addBindings(bindings []location.Binding) {
	for i := range bindings {
		b := &bindings[i]
		if len(c.targets) == maxBranches {
			return
		}
		if superseded(bindings, i) || !c.suits(b) {
			continue
		}
		c.add(target{uri: b.Contact, flow: b.Flow, direct: !b.Behind, q: b.Q})
	}
}

// superseded: another contact of the same instance was refreshed later. RFC 5627, 6.1
func superseded(bindings []location.Binding, i int) bool {
	if bindings[i].InstanceID == "" {
		return false
	}
	for j := range bindings {
		if j == i || bindings[j].InstanceID != bindings[i].InstanceID {
			continue
		}
		if newer := bindings[j].Updated.Compare(bindings[i].Updated); newer > 0 || newer == 0 && j < i {
			return true
		}
	}
	return false
}

// suits: a sips address-of-record is called at sips contacts only, so that TLS leads from end to end; and a contact is one that SIP reaches.
// RFC 3261, 16.6 step 7; RFC 5630, 5.3
func (c *call) suits(b *location.Binding) bool {
	if c.uri.Scheme == "sips" {
		return b.Contact.Scheme == "sips"
	}
	return b.Contact.IsSIP()
}

// dialogTarget is the other side of the dialog: a phone's leg goes over the phone's flow whatever the request says; another domain's
// goes where the Route or the Request-URI leads.
func (c *call) dialogTarget() target {
	to := c.dialog.to
	if to.foreign {
		return target{uri: c.uri, foreign: true}
	}
	return target{uri: c.uri, flow: to.flow, direct: len(c.routes) == 0 && c.p.direct(c.uri, to.flow)}
}

// direct tells whether a URI reaches the phone of a flow without NAT between: it names the very address the phone sends from. A port below
// 1024 is not a phone's.
func (p *Proxy) direct(u wire.URI, flow wire.FlowID) bool {
	if flow.Proto != wire.UDP && flow.Proto != wire.TCP {
		return false // TLS needs a name to verify, WebSocket a server
	}
	addr, numeric := u.Addr()
	return numeric && addr == flow.Remote.Addr().Unmap() && (u.Port == 0 || u.Port >= 1024) &&
		transportOf(u) == flow.Proto && !hasMaddr(u) && !p.Network.IsLocal(u.Host, u.Port)
}

// samePlace: the URI means exactly the far end of this UDP flow, and the flow saves the resolving.
func samePlace(u wire.URI, flow wire.FlowID) bool {
	addr, numeric := u.Addr()
	port := u.Port
	if port == 0 {
		port = defaultPort(wire.UDP)
	}
	return numeric && flow.Proto == wire.UDP && addr == flow.Remote.Addr().Unmap() && port == int(flow.Remote.Port()) &&
		transportOf(u) == wire.UDP && !hasMaddr(u)
}
