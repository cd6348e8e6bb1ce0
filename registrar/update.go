package registrar

import (
	"slices"
	"time"

	"signalbox/internal/wire"
	"signalbox/location"
)

// update changes the bindings, all or nothing, and answers when they are on disk (RFC 3261, 10.3 step 7). A REGISTER without Contact changes
// nothing: it is answered at once.
func (g *registration) update() {
	if !g.all && len(g.contacts) == 0 {
		if g.Metrics.Queried != nil {
			g.Metrics.Queried()
		}
		g.answer(g.Location.Lookup(g.aor))
		g.end()
		return
	}
	if device, begins := g.logsIn(); begins {
		g.logIn(device)
		return
	}
	g.bind()
}

// bind asks the location service for the change. It is finished by whoever comes second, this or the answer: so nothing waits where there is no disk to wait for.
func (g *registration) bind() {
	g.Location.Update(g.aor, g.apply, func(after []location.Binding, err error) {
		g.after, g.failed = after, err
		if g.met.Swap(true) {
			g.tx.Owner().Do(g.finish)
		}
	})
	if g.met.Swap(true) {
		g.finish()
	}
}

// finish answers a REGISTER that wanted a change. An error is ours, or that of the location service: 500 if the store failed, 503 if
// it has no room.
func (g *registration) finish() {
	defer g.end()
	if g.failed != nil {
		g.tx.Fail(g.failed)
		return
	}
	after := g.after
	if g.Metrics.Changed != nil {
		g.Metrics.Changed(len(after))
	}
	g.watchFlow(after)
	g.keepOpen(g.aor, after)
	g.answer(after)
}

// apply makes the new bindings of the address from the ones it has now. It does not change now.
func (g *registration) apply(now []location.Binding) ([]location.Binding, error) {
	if g.all {
		for i := range now {
			if err := g.inOrder(&now[i]); err != nil {
				return nil, err
			}
		}
		return g.notOurs(now), nil
	}
	after := append(g.few[:0], now...)
	for i := range g.contacts {
		c := &g.contacts[i]
		at := c.find(after)
		if at >= 0 {
			if err := g.inOrder(&after[at]); err != nil {
				return nil, err
			}
			if err := g.mayReplace(&after[at]); err != nil {
				return nil, err
			}
		}
		epoch, cseq := g.epoch(after, c)
		session := g.shown(after, c)
		switch {
		case c.interval == 0 && (at < 0 || g.replacedBy(&after[at], c)): // nothing to remove
		case at < 0:
			after = append(after, g.binding(c, time.Time{}, epoch, cseq, session))
		case c.interval == 0:
			after = slices.Delete(after, at, at+1)
		default:
			after[at] = g.binding(c, after[at].Created, epoch, cseq, session)
		}
	}
	after = g.tidy(after)
	if len(after) > g.terms.contacts && len(after) > len(now) {
		return nil, wire.Errorf(403, "Too Many Contacts", "registrar: %d contacts for %s", len(after), g.aor)
	}
	return g.limitDevices(now, after)
}

// replacedBy tells whether what is to be removed has made way for this binding already: the same phone has come back on another flow before its leaving was heard, as a web page does that
// is loaded anew. RFC 5626, 6
func (g *registration) replacedBy(b *location.Binding, c *contact) bool {
	return b.RegID != 0 && b.CallID != g.req.CallID && b.Flow != g.tx.Flow.ID() && b.Contact.Raw != c.uri.Raw
}

// inOrder refuses a request that a later one from the same phone has overtaken. RFC 3261, 10.3 says that it fails, and RFC 3261, 12.2.2 which
// response says so.
func (g *registration) inOrder(b *location.Binding) error {
	if b.CallID == g.req.CallID && g.req.CSeq.Seq <= b.CSeq {
		return wire.Errorf(500, "Out Of Order", "registrar: CSeq %d after %d for %s", g.req.CSeq.Seq, b.CSeq, g.aor)
	}
	return nil
}

// binding is the binding that a contact asks for; created is zero for a new one.
func (g *registration) binding(c *contact, created time.Time, epoch, cseq, session uint32) location.Binding {
	now := time.Now()
	if created.IsZero() {
		created = now
	}
	agent := wire.Get(g.req, "User-Agent")
	return location.Binding{
		Contact: c.uri, Params: c.params, Q: c.q,
		CallID: g.req.CallID, CSeq: g.req.CSeq.Seq,
		Expires: g.endOf(now, created, c.interval), Created: created, Updated: now,
		Flow: g.tx.Flow.ID(), Behind: c.behind,
		Path: g.path, InstanceID: c.instance, RegID: c.regID, Epoch: epoch, EpochCSeq: cseq,
		UserAgent: agent[:min(len(agent), maxUserAgent)], Session: session,
		Device: c.device, Certified: g.door.certified,
	}
}
