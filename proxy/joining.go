package proxy

import (
	"sync"
	"time"

	"signalbox/internal/gruu"
	"signalbox/internal/wire"
	"signalbox/location"
)

// A phone that registers while its user is being called rings too: the target set follows the location service for as long as the search goes on. RFC 3261, 16.5

// joinAfter is a moment, in which the phone gets the answer to its REGISTER.
const joinAfter = 10 * time.Millisecond

// ringing are the calls that new contacts join, by the address-of-record they are for: no more than there are server transactions.
type ringing struct {
	mu    sync.Mutex
	first map[wire.AOR]*call // of those for one address, in a list
}

// listen has the call hear of new contacts. Who asks for certain phones has asked for these, not for those that may come.
func (c *call) listen() {
	if c.aor == (wire.AOR{}) || c.facts&(hasPreferences|hasDisposition) != 0 || gruu.Is(c.uri) {
		return
	}
	r := &c.p.ringing
	r.mu.Lock()
	defer r.mu.Unlock()
	c.listens = true
	if c.later = r.first[c.aor]; c.later != nil {
		c.later.earlier = c
	}
	r.first[c.aor] = c
}

// deafen ends that.
func (c *call) deafen() {
	if !c.listens {
		return
	}
	r := &c.p.ringing
	r.mu.Lock()
	defer r.mu.Unlock()
	c.listens = false
	if c.later != nil {
		c.later.earlier = c.earlier
	}
	switch {
	case c.earlier != nil:
		c.earlier.later = c.later
	case c.later != nil:
		r.first[c.aor] = c.later
	default:
		delete(r.first, c.aor)
	}
	c.earlier, c.later = nil, nil
}

// of returns the calls for an address.
func (r *ringing) of(aor wire.AOR) (list []*call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.first[aor]; c != nil; c = c.later {
		list = append(list, c)
	}
	return list
}

// Changed hears of every change of a binding, as location.Config.Changed.
func (p *Proxy) Changed(aor wire.AOR, before, after []location.Binding, _ location.Reason) {
	if len(after) <= len(before) {
		return
	}
	for _, c := range p.ringing.of(aor) {
		c.owner.After(joinAfter, func() { c.join(after) }) // not here: the owner might change bindings
	}
}

// join adds the contacts that are not in the target set yet. They ring at once, or when the search has come down to their q.
func (c *call) join(bindings []location.Binding) {
	for i := range bindings {
		b := &bindings[i]
		if c.closed || len(c.branches)+len(c.targets) >= maxBranches {
			return
		}
		if !c.usable(b) || c.superseded(bindings, i) || c.knows(b) {
			continue
		}
		t := []target{c.bindingTarget(b)}
		if _, wanted := judge(&t[0], c.implicitPreferences(t), nil); wanted {
			c.insert(t[0])
		}
	}
	c.advance()
}

// knows tells whether the phone is a target already, or was: no URI is a target twice, and no phone either, whatever address it has got meanwhile.
func (c *call) knows(b *location.Binding) bool {
	same := func(t *target) bool {
		return t.uri.Equal(b.Contact) || t.binding != nil && c.p.memberKey(c.aor.Host, t.binding) == c.p.memberKey(c.aor.Host, b)
	}
	for i := range c.targets {
		if same(&c.targets[i]) {
			return true
		}
	}
	for _, branch := range c.branches {
		if same(branch.t) {
			return true
		}
	}
	return false
}

// insert puts a target where its q belongs; one that would have been tried before those that ring joins them.
func (c *call) insert(t target) {
	t.q = min(t.q, c.q)
	if c.breadth == 0 && c.spare > 0 {
		c.breadth, c.spare = 1, c.spare-1
	}
	at := 0
	for at < len(c.targets) && c.targets[at].q >= t.q {
		at++
	}
	list := make([]target, 0, len(c.targets)+1) // the branches refer to the old one
	c.targets = append(append(append(list, c.targets[:at]...), t), c.targets[at:]...)
}
