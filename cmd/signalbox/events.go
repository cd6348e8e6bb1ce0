package main

import (
	"context"
	"sync/atomic"
	"time"

	"signalbox/internal/auth"
	"signalbox/internal/database"
	"signalbox/internal/gruu"
	"signalbox/internal/wire"
	"signalbox/location"
	"signalbox/registrar/regevent"
)

// changes tells several rooms of every change of a binding: location.Config.Changed is one function.
type changes struct {
	watchers atomic.Pointer[[]changed]
}

type changed func(aor wire.AOR, before, after []location.Binding, why location.Reason)

// add is called while the server is assembled.
func (c *changes) add(fn changed) {
	var list []changed
	if old := c.watchers.Load(); old != nil {
		list = append(list, *old...)
	}
	list = append(list, fn)
	c.watchers.Store(&list)
}

func (c *changes) changed(aor wire.AOR, before, after []location.Binding, why location.Reason) {
	if list := c.watchers.Load(); list != nil {
		for _, fn := range *list {
			fn(aor, before, after, why)
		}
	}
}

// gruusOf are those that the registrar hands out: the temporary one that the latest REGISTER of the instance got. RFC 5628, 5
func gruusOf(m *gruu.Maker, bindings *location.Service) func(wire.AOR, *location.Binding) regevent.GRUU {
	return func(aor wire.AOR, b *location.Binding) regevent.GRUU {
		g := regevent.GRUU{Public: string(m.AppendPublic(nil, aor, b.InstanceID))}
		newest := location.Newest(bindings.Lookup(aor), b.InstanceID)
		if newest == nil || newest.EpochCSeq == 0 {
			return g
		}
		if temporary, ok := m.AppendTemporary(nil, aor, b.InstanceID, newest.Epoch, newest.Stamp()); ok {
			g.Temporary, g.FirstCSeq = string(temporary), newest.EpochCSeq
		}
		return g
	}
}

// addEvents makes the notifier of registrations and has it hear of every change.
func (c *core) addEvents(p parts, users directory, verifier *auth.Verifier, gruus *gruu.Maker) (err error) {
	c.events, err = regevent.New(regevent.Config{
		Domains:    p.domains,
		Users:      users,
		Auth:       verifier,
		Location:   p.bindings,
		Network:    p.network,
		Layer:      c.layer,
		Store:      p.subscriptions,
		GRUUs:      gruusOf(gruus, p.bindings),
		RetryAfter: c.logins.RetryAfter,
		Happened:   p.happened,
		Allow:      mayWatch(p.policy),
		Vouches:    c.logins.Vouches,
	})
	if err != nil {
		return err
	}
	c.dispatch.events = c.events
	if p.changes != nil {
		p.changes.add(c.events.Changed)
	}
	return nil
}

// restoreSubscriptions takes up those of before the restart. One that cannot be read is forgotten: its subscriber will come again when it should have been refreshed.
func (s *server) restoreSubscriptions(ctx context.Context) error {
	list, err := s.db.Subscriptions(ctx)
	if err != nil {
		return err
	}
	for _, one := range list {
		if err := s.core.events.Restore(one.Expires, one.Data); err != nil {
			s.log.Warn("a subscription is lost", "error", err)
			s.journal.Remove(one.ID)
		}
	}
	return nil
}

// subscriptionStore is the journal as regevent sees it.
type subscriptionStore struct{ *database.Journal }

func (s subscriptionStore) Save(id string, expires time.Time, data []byte, done func(error)) {
	s.Journal.Save(database.Subscription{ID: id, Expires: expires, Data: data}, done)
}

// feed writes the event feed (package database): what happened to registrations and subscriptions, once, but no refreshes.
type feed struct{ journal *database.Journal }

// changed is for location.Config.Changed. What it appends is written later: registrations do not wait for it.
func (f feed) changed(aor wire.AOR, before, after []location.Binding, why location.Reason) {
	now := time.Now()
	for i := range after {
		b := &after[i]
		if event := became(b, before, why); event != "" {
			f.journal.Append(bindingEvent(event, aor, b, now))
		}
	}
	for i := range before {
		b := &before[i]
		if counterpart(b, after) == nil {
			f.journal.Append(bindingEvent(ended(b, why, now), aor, b, now))
		}
	}
}

// became says what has happened to a binding that is there; "" is nothing worth a line.
func became(b *location.Binding, before []location.Binding, why location.Reason) string {
	was := counterpart(b, before)
	switch {
	case was == nil && why == location.Created:
		return "created"
	case was == nil:
		return "registered"
	case was.Usable() && !b.Usable():
		return "offline"
	case !was.Usable() && b.Usable():
		return "online"
	case why == location.Shortened && b.Expires.Before(was.Expires):
		return "shortened"
	case b.Flow != was.Flow:
		return "moved"
	}
	return ""
}

// ended says why a binding is gone.
func ended(b *location.Binding, why location.Reason, now time.Time) string {
	switch {
	case !now.Before(b.Expires):
		return "expired"
	case why == location.Removed, why == location.Registered:
		return "unregistered"
	}
	return string(why)
}

// counterpart is the same binding in another list: by instance and reg-id where it has them, else by its URI. RFC 5626, 6
func counterpart(b *location.Binding, list []location.Binding) *location.Binding {
	for i := range list {
		o := &list[i]
		if b.RegID != o.RegID {
			continue
		}
		if b.RegID != 0 && b.InstanceID == o.InstanceID || b.RegID == 0 && b.Contact.Equal(o.Contact) {
			return o
		}
	}
	return nil
}

func bindingEvent(event string, aor wire.AOR, b *location.Binding, now time.Time) database.Event {
	e := database.Event{
		Event: event, Time: now, AOR: aor.String(), Contact: b.Contact.Raw, Instance: harmless(b.InstanceID), RegID: b.RegID,
		Transport: b.Flow.Proto.String(), UserAgent: harmless(b.UserAgent),
	}
	if b.Flow.Remote.IsValid() { // else an administrator made it
		e.Source = b.Flow.Remote.String()
	}
	if b.Device != (wire.AOR{}) {
		e.Device = b.Device.String()
	}
	if left := b.Expires.Sub(now); left > 0 {
		e.Expires = int(left.Round(time.Second) / time.Second)
	}
	return e
}

// subscription is regevent.Config.Happened.
func (f feed) subscription(h regevent.Happening) {
	e := database.Event{
		Event: "unsubscribed", AOR: h.AOR.String(), Watcher: h.Watcher.String(), Reason: h.Reason,
		Transport: h.Flow.Proto.String(), Source: h.Flow.Remote.String(),
	}
	if h.Began {
		e.Event = "subscribed"
	}
	f.journal.Append(e)
}
