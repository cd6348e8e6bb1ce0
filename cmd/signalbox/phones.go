package main

import (
	"time"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// phones makes a device of every phone that registers (package database), and notes when it is gone. It is for location.Config.Changed. A refresh costs it a comparison.
type phones struct{ journal *database.Journal }

func (p phones) changed(aor wire.AOR, before, after []location.Binding, _ location.Reason) {
	for i := range after {
		if b := &after[i]; isPhone(b) && !hasPhone(after[:i], b) && !hasPhone(before, b) {
			p.journal.Sighted(sighting(aor, b))
		}
	}
	for i := range before {
		if b := &before[i]; isPhone(b) && !hasPhone(before[:i], b) && !hasPhone(after, b) {
			gone := sighting(aor, b)
			gone.Gone = time.Now()
			p.journal.Sighted(gone)
		}
	}
}

// expired notes that a phone has gone while no server ran: the feed knows that it was there.
func (p phones) expired(e *database.Event, bindings *location.Service) {
	u, err := wire.ParseURI(e.AOR)
	if err != nil || e.Device != "" {
		return
	}
	aor, ours := wire.NewDomains([]string{u.Host}, nil).AOR(u)
	b := location.Binding{InstanceID: e.Instance, Contact: wire.URI{Raw: e.Contact}, UserAgent: e.UserAgent, Created: e.Time}
	if !ours || hasPhone(bindings.Lookup(aor), &b) {
		return
	}
	gone := sighting(aor, &b)
	gone.Transport, gone.Source, gone.Gone = e.Transport, e.Source, time.Now()
	p.journal.Sighted(gone)
}

// isPhone leaves out logins: their device is somebody else's.
func isPhone(b *location.Binding) bool { return b.Device == (wire.AOR{}) }

// hasPhone tells whether one of the bindings is the same phone's.
func hasPhone(list []location.Binding, b *location.Binding) bool {
	for i := range list {
		if o := &list[i]; isPhone(o) && o.InstanceID == b.InstanceID && (b.InstanceID != "" || o.Contact.Raw == b.Contact.Raw) {
			return true
		}
	}
	return false
}

func sighting(aor wire.AOR, b *location.Binding) database.Phone {
	one := database.Phone{AOR: aor, Instance: b.InstanceID, UserAgent: harmless(b.UserAgent), Transport: b.Flow.Proto.String(), First: b.Created}
	if b.InstanceID == "" {
		one.Contact = b.Contact.Raw
	}
	if b.Flow.Remote.IsValid() {
		one.Source = b.Flow.Remote.String()
	}
	return one
}
