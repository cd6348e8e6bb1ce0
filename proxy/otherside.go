package proxy

import (
	"signalbox/internal/gruu"
	"signalbox/internal/wire"
	"signalbox/location"
)

// findOtherSide makes the other side of the dialog the only target: a phone's leg goes over the phone's flow whatever the request says; another domain's
// goes where the Route or the Request-URI leads.
func (c *call) findOtherSide() error {
	if to := c.dialog.to; !to.foreign && c.p.GRUU != nil && gruu.Is(c.uri) {
		if aor, ours := c.p.Domains.AOR(c.uri); ours {
			return c.findGRUU(aor, to)
		}
	}
	c.add(c.dialogTarget())
	return nil
}

// dialogTarget is the other side as the token knows it, or, if it has another flow by now, as location does: the same phone, the same Request-URI.
func (c *call) dialogTarget() target {
	to := c.dialog.to
	if to.foreign {
		return target{uri: c.uri, foreign: true}
	}
	now := c.p.moved(to)
	if now != nil {
		to.flow, to.routed = now.Flow, len(now.Path) > 0
	}
	direct := len(c.routes) == 0 && !to.routed && c.p.direct(c.uri, to.flow)
	return target{uri: c.uri, flow: to.flow, routed: to.routed, direct: direct, binding: now}
}

// moved is the binding by which a phone is reached now if it is not the flow of the dialog any more: it has registered again from another address, or over another
// connection. nil if nothing is known to have changed. RFC 5626, 4.3 and 5.3.2
func (p *Proxy) moved(to leg) (now *location.Binding) {
	if to.member.user == "" {
		return nil
	}
	for _, host := range p.Domains.Names() {
		bindings := p.Location.Lookup(wire.AOR{User: to.member.user, Host: host})
		for i := range bindings {
			b := &bindings[i]
			if !b.Usable() || p.memberKey(host, b) != to.member.key {
				continue
			}
			if b.Flow == to.flow {
				if p.lives(b.Flow) {
					return nil
				}
				continue
			}
			if now == nil || b.Updated.After(now.Updated) {
				now = b
			}
		}
	}
	if now != nil && !p.lives(now.Flow) && p.lives(to.flow) {
		return nil // the dialog's connection was opened to the phone's contact, and outlives the one it registered over
	}
	return now
}

func (p *Proxy) lives(flow wire.FlowID) bool {
	_, alive := p.Network.Find(flow)
	return alive
}

// memberKey is what the bindings of one phone have in common over all its flows and addresses: the instance or, of a phone that has none, the Call-ID of its
// REGISTERs (RFC 3261, 10.2.4). FNV-1a, with a seed of ours: the token is signed, so that nobody can make use of two phones with one key.
func (p *Proxy) memberKey(host string, b *location.Binding) uint64 {
	h := p.signer.seed
	write := func(s string) {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211 // occurs in none of them
	}
	write(host)
	write(b.InstanceID)
	if b.InstanceID == "" {
		write(b.CallID)
	}
	return h
}

// caller is the sender as a member of the dialog, if it has registered over the flow that it calls by, or names itself by its GRUU: a phone that registers over
// UDP may call over TCP, if its INVITE is large.
func (c *call) caller() member {
	if c.user == (wire.AOR{}) {
		return member{}
	}
	bindings := c.p.Location.Lookup(c.user)
	id := c.tx.Flow.ID()
	for i := range bindings {
		if bindings[i].Flow == id {
			return c.p.memberOf(c.user, &bindings[i])
		}
	}
	if of, ok := c.contactGRUU(); ok && of.AOR == c.user {
		if bindings = c.p.instance(bindings, &of); len(bindings) > 0 {
			return c.p.memberOf(c.user, &bindings[0])
		}
	}
	return member{}
}

// callee is a target as a member of the dialog.
func (c *call) callee(t *target) member {
	if t.binding == nil {
		return member{}
	}
	return c.p.memberOf(c.aor, t.binding)
}

func (p *Proxy) memberOf(aor wire.AOR, b *location.Binding) member {
	if len(aor.User) > maxMember {
		return member{}
	}
	return member{aor.User, p.memberKey(aor.Host, b)}
}
