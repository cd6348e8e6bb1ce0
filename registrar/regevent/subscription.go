package regevent

import (
	"slices"
	"strings"
	"time"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
	"signalbox/location"
)

// subscription is one that we notify. Everything but the first block belongs to the owner.
type subscription struct {
	n       *Notifier
	owner   *transaction.Owner
	dialog  dialogID
	aor     wire.AOR // whose registrations
	watcher wire.AOR // who subscribed
	device  wire.AOR // that did so in his name, as long as he is logged in there; the zero value for a phone of his own
	event   string   // the value of Event
	from    string   // of NOTIFY: the To of SUBSCRIBE, with our tag
	to      string   // of NOTIFY: the From of SUBSCRIBE
	routes  []string // RFC 3261, 12.1.1: in the order of Record-Route
	secure  bool     // a sips dialog

	target   wire.URI    // the subscriber's Contact
	instance string      // of the phone, if it is known
	flow     wire.FlowID // that the last SUBSCRIBE came on
	seen     uint32      // CSeq of the last SUBSCRIBE
	expires  time.Time

	stream    wire.FlowID // the connection that a large NOTIFY went over
	datagrams bool        // there was none: all go in datagrams

	seq      uint32 // CSeq of the last NOTIFY
	version  uint32 // of the next document
	reserved bool   // seq and version of the next NOTIFY are on disk already

	full    bool     // the next NOTIFY tells everything
	changes []change // else these, in order of their happening
	ended   string   // why the next NOTIFY is the last one; "" while it is not

	prompt    bool      // the next NOTIFY answers a SUBSCRIBE, and does not wait
	notBefore time.Time // any other
	busy      bool      // a NOTIFY is under way, or the first SUBSCRIBE not yet answered
	last      bool      // the NOTIFY under way is the last one
	stranded  bool      // there is no way to the subscriber
	detached  bool      // it is over
	timer     *transaction.Timer
}

// newSubscription is the dialog that a SUBSCRIBE makes. What is kept of the message is copied: a subscription lives for hours.
func (r *request) newSubscription(routes []string) *subscription {
	req := r.req
	tag := wire.NewTag()
	s := &subscription{
		n: r.Notifier, owner: r.Layer.NewOwner(),
		dialog: dialogID{strings.Clone(req.CallID), tag, strings.Clone(req.From.Tag)},
		aor:    cloneAOR(r.aor), watcher: cloneAOR(r.watcher), device: r.device,
		event: strings.Clone(r.event), from: req.To.Raw + ";tag=" + tag, to: strings.Clone(req.From.Raw),
		secure: req.URI.Scheme == "sips", busy: true,
	}
	for _, route := range routes {
		s.routes = append(s.routes, strings.Clone(route))
	}
	r.sub = s
	return s
}

func cloneAOR(a wire.AOR) wire.AOR {
	return wire.AOR{User: strings.Clone(a.User), Host: strings.Clone(a.Host)}
}

// accept takes over what a SUBSCRIBE says, has it written down, and answers; then the state is told at once. RFC 6665, 4.2.1.2
func (s *subscription) accept(r *request) {
	began := r.req.To.Tag == ""
	switch {
	case s.detached || s.ended != "":
		r.answer(wire.Errorf(481, "Subscription Does Not Exist", "regevent: subscription has ended"), func() {})
		return
	case !began && r.req.CSeq.Seq <= s.seen:
		r.answer(wire.Errorf(500, "Out Of Order", "regevent: CSeq %d after %d", r.req.CSeq.Seq, s.seen), func() {}) // RFC 3261, 12.2.2
		return
	}
	s.seen = r.req.CSeq.Seq
	s.flow = r.tx.Flow.ID()
	if r.contact.URI.Raw != "" {
		s.target, _ = wire.ParseURI(strings.Clone(r.contact.URI.Raw))
		s.instance = s.phone(r.contact)
	}
	s.stranded = false
	s.expires = time.Now().Add(r.interval)
	if r.interval == 0 { // RFC 6665, 4.4.3: fetched, or unsubscribed
		s.ended = "timeout"
		if !began {
			s.forget("timeout")
		}
		r.answer(nil, func() { s.tellAll(began) })
		return
	}
	s.reserve()
	s.save(func(err error) {
		if err == nil {
			r.answer(nil, func() {
				if began {
					s.happened(true, "")
				}
				s.tellAll(began)
			})
			return
		}
		if began {
			s.detach()
		}
		r.answer(wire.Errorf(500, "", "regevent: %w", err), func() {})
	})
}

// phone is the instance of the phone that subscribes: so it is found again on another connection. RFC 5626, 4.1
func (s *subscription) phone(contact wire.Address) string {
	if instance, ok := contact.Param("+sip.instance"); ok {
		return strings.Clone(instance)
	}
	for _, b := range s.n.Location.Lookup(s.watcher) {
		if b.InstanceID != "" && (b.Flow == s.flow || b.Contact.Equal(contact.URI)) {
			return b.InstanceID
		}
	}
	return ""
}

// tellAll sends full state at once: a SUBSCRIBE was accepted.
func (s *subscription) tellAll(began bool) {
	if began {
		s.busy = false
	}
	s.full, s.prompt = true, true
	s.next()
}

// tell sends what has changed, and only that, as soon as the pace allows. RFC 3680, 4.7.2
func (s *subscription) tell(list []change) {
	if s.detached {
		return
	}
	for _, c := range list {
		s.note(c)
	}
	s.next()
}

// note adds a change to those that wait, each contact once.
func (s *subscription) note(c change) {
	at := slices.IndexFunc(s.changes, func(old change) bool { return old.id == c.id })
	switch {
	case at < 0 && len(s.changes) >= maxPending:
		s.full, s.changes = true, nil
	case at < 0:
		s.changes = append(s.changes, c)
	default:
		if c.event == "refreshed" && (s.changes[at].event == "registered" || s.changes[at].event == "created") {
			c.event = s.changes[at].event // nobody has been told of it yet
		}
		s.changes[at] = c
	}
}

// next does what is due, or sees to it that it is done in time.
func (s *subscription) next() {
	s.timer.Stop()
	if s.busy || s.detached {
		return
	}
	now := time.Now()
	if s.ended == "" && !now.Before(s.expires) { // RFC 6665, 4.2.1
		s.ended, s.prompt, s.full, s.changes = "timeout", true, false, nil
		s.forget("timeout")
	}
	switch wanted := s.full || len(s.changes) > 0 || s.ended != ""; {
	case wanted && s.prompt, s.ended != "":
		s.begin()
	case wanted && !s.stranded && s.notBefore.Before(s.expires):
		// Never on the goroutine that brings the change: it has registrations to write.
		s.timer = s.owner.After(max(gather, s.notBefore.Sub(now)), s.due)
	default:
		s.timer = s.owner.After(s.expires.Sub(now), s.next)
	}
}

// due is the time of a NOTIFY that waited.
func (s *subscription) due() {
	s.prompt = true
	s.next()
}

// forget takes the subscription off the disk; it ends with the next NOTIFY.
func (s *subscription) forget(reason string) {
	if s.n.Store != nil {
		s.n.Store.Remove(s.dialog.local)
	}
	s.happened(false, reason)
}

// terminate ends it without a further word. RFC 6665, 4.2.2
func (s *subscription) terminate(reason string) {
	if s.ended == "" {
		s.forget(reason)
	}
	s.detach()
}

// detach lets go of everything: subscription and dialog end together. RFC 6665, 4.4.1
func (s *subscription) detach() {
	s.timer.Stop()
	s.detached, s.changes = true, nil
	s.n.table.remove(s)
}

func (s *subscription) happened(began bool, reason string) {
	if s.n.Happened != nil {
		s.n.Happened(Happening{AOR: s.aor, Watcher: s.watcher, Flow: s.flow, Began: began, Reason: reason})
	}
}

// Changed tells those who watch an address what has changed. It is location.Config.Changed: called in order for each address, while others wait.
func (n *Notifier) Changed(aor wire.AOR, before, after []location.Binding, why location.Reason) {
	to, of := n.table.watching(aor)
	if len(to) == 0 && len(of) == 0 {
		return
	}
	list := difference(before, after, why, time.Now())
	if len(list) == 0 {
		return
	}
	for _, s := range to {
		s.owner.Do(func() { s.stranded = false; s.tell(list) })
	}
	for _, s := range of { // its phone may be back on another connection
		s.owner.Do(func() {
			if s.stranded {
				s.stranded = false
				s.next()
			}
		})
	}
}
