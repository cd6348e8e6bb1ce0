package login

import (
	"time"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

// mirror brings the bindings of administrators' logins in line with those of their device: the same contacts over the same flow, as long as the device
// is there. It is the clerk's.
func (s *Service) mirror(device wire.AOR) {
	now := time.Now()
	for _, l := range s.Store.OfDevice(device) {
		if l.Method == policy.ByAdmin.String() {
			s.mirrorLogin(l, now, func(err error) {
				if err != nil {
					s.Logger.Error("login could not be bound", "user", l.User.String(), "device", device.String(), "error", err)
				}
			})
		}
	}
}

// mirrorLogin does it for one user. A user who has registered on the device himself needs no mirror.
func (s *Service) mirrorLogin(l database.Login, now time.Time, done func(error)) {
	copies := s.copies(l, now)
	was := bound(s.Bindings.Lookup(l.User), l.Device)
	if len(copies) == 0 && !was {
		done(nil)
		return
	}
	why := location.Reason("")
	if !was {
		why = location.Created
	}
	s.Bindings.Change(l.User, why, func(have []location.Binding) ([]location.Binding, error) {
		for i := range have {
			if have[i].Device == l.Device && !isCopy(&have[i]) {
				return have, nil
			}
		}
		return append(without(have, func(b *location.Binding) bool { return b.Device == l.Device }), copies...), nil
	}, func(_ []location.Binding, err error) { done(err) })
}

// isCopy: what a phone registers has a Call-ID.
func isCopy(b *location.Binding) bool { return b.Device != (wire.AOR{}) && b.CallID == "" }

// copies are the bindings of a login: none before it begins, when it has ended, or when the policy denies it.
func (s *Service) copies(l database.Login, now time.Time) []location.Binding {
	if !active(l, now) {
		return nil
	}
	device, ok := s.Store.Device(l.Device)
	if !ok {
		return nil
	}
	p := s.Policy()
	var list []location.Binding
	for _, b := range s.Bindings.Lookup(l.Device) {
		if device.Instance != "" && b.InstanceID != device.Instance {
			continue // an application on the device
		}
		b.Device, b.CallID, b.CSeq, b.Created, b.Session = l.Device, "", 0, l.Start, 0
		if !l.End.IsZero() && b.Expires.After(l.End) {
			b.Expires = l.End
		}
		f := s.factsOf(l.User, &b, now)
		f.Door = door(l.Method)
		if p.Decide(&f).Deny == nil {
			list = append(list, b)
		}
	}
	return list
}
