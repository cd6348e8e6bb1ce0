package login

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

// Device returns the device with that address that somebody added.
func (s *Service) Device(aor wire.AOR) (database.Device, bool) { return s.Store.Device(aor) }

// ByInstance returns the device that has this instance.
func (s *Service) ByInstance(instance string) (database.Device, bool) {
	return s.Store.ByInstance(instance)
}

// Granted tells whether a device may log a user in.
func (s *Service) Granted(device, user wire.AOR, now time.Time) bool {
	return s.Store.Granted(device, user, now)
}

// Users lists who is logged in on a device.
func (s *Service) Users(device wire.AOR) (users []wire.AOR) {
	now := time.Now()
	for _, l := range s.Store.OfDevice(device) {
		if active(l, now) {
			users = append(users, l.User)
		}
	}
	return users
}

func active(l database.Login, now time.Time) bool {
	return !l.Start.After(now) && (l.End.IsZero() || now.Before(l.End))
}

// OnFlow tells whether a device is registered over this very flow: nobody else can be there by naming it.
func (s *Service) OnFlow(device wire.AOR, flow wire.FlowID) bool {
	for _, b := range s.Bindings.Lookup(device) {
		if b.Flow == flow && b.Usable() {
			return true
		}
	}
	return false
}

// LoggedIn tells whether a user is logged in on a device, over this very flow.
func (s *Service) LoggedIn(user, device wire.AOR, flow wire.FlowID) bool {
	for _, b := range s.Bindings.Lookup(user) {
		if b.Device == device && b.Flow == flow && b.Usable() {
			return true
		}
	}
	return false
}

// Begin logs a user in on a device, unless he is, and says when that is on disk: at once for a login that goes on, whose start and end it returns. most
// is how many users the device may have, 0 for the usual limit. The error is the answer for the phone.
func (s *Service) Begin(user, device wire.AOR, method string, most int, done func(l database.Login, err error)) {
	now := time.Now()
	l, err := s.reserve(database.Login{User: user, Device: device, Method: method, Start: now.Truncate(time.Second)}, most, now)
	if err != nil || l.Method != "" {
		done(l, err)
		return
	}
	l = database.Login{User: cloned(user), Device: device, Method: method, Start: now.Truncate(time.Second)}
	posted := s.post(func() { done(l, s.open(l)) })
	if !posted {
		s.release(pairOf(l))
		done(l, wire.Errorf(503, "", "%w", errBusy).With("Retry-After", "5"))
	}
}

// reserve finds the login that goes on, or makes room for a new one; then the login it returns is empty.
func (s *Service) reserve(l database.Login, most int, now time.Time) (database.Login, error) {
	if old, ok := s.Store.Login(l.User, l.Device); ok {
		switch {
		case old.Start.After(now):
			return old, wire.Errorf(403, "Login Not Yet Started", "login: %s on %s begins at %s", l.User, l.Device, old.Start.Format(time.RFC3339))
		case !active(old, now):
			return old, wire.Errorf(403, "Login Has Ended", "login: %s on %s ended at %s", l.User, l.Device, old.End.Format(time.RFC3339))
		}
		return old, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	users := 0
	for p := range s.opening {
		if p.device == l.Device && p.user != l.User {
			users++
		}
	}
	for _, other := range s.Store.OfDevice(l.Device) {
		if active(other, now) && !s.opening[pairOf(other)] {
			users++
		}
	}
	if users >= cmp.Or(most, maxUsers) {
		return database.Login{}, wire.Errorf(403, "Too Many Users On This Device", "login: %d users on %s", users, l.Device)
	}
	s.opening[pair{cloned(l.User), l.Device}] = true
	return database.Login{}, nil
}

// cloned copies the strings, which are parts of a message.
func cloned(a wire.AOR) wire.AOR {
	return wire.AOR{User: strings.Clone(a.User), Host: strings.Clone(a.Host)}
}

func (s *Service) release(p pair) {
	s.mu.Lock()
	delete(s.opening, p)
	s.mu.Unlock()
}

// open writes a login. It is the clerk's.
func (s *Service) open(l database.Login) error {
	defer s.release(pairOf(l))
	if _, again := s.Store.Login(l.User, l.Device); again {
		return nil
	}
	if err := s.Store.WriteLogins(context.Background(), []database.Login{l}, nil); err != nil {
		return wire.Errorf(500, "", "login: %w", err)
	}
	s.dueBy(l.Start)
	s.Changed(l, In)
	return nil
}

// Pin notes the instance that a device has registered with, when it has none yet.
func (s *Service) Pin(device wire.AOR, instance string) {
	s.post(func() {
		if err := s.Store.Pin(context.Background(), device, instance); err != nil {
			s.Logger.Warn("instance not noted", "device", device.String(), "error", err)
		}
	})
}

// Seen notes that a user does something.
func (s *Service) Seen(user wire.AOR) {
	if !s.Store.Any() {
		return
	}
	now := time.Now()
	for _, l := range s.Store.OfUser(user) {
		s.mu.Lock()
		if p := pairOf(l); now.Sub(s.seen[p]) > seenEvery {
			s.seen[p] = now
		}
		s.mu.Unlock()
	}
}

// Bound hears of every change of bindings. It does not block.
func (s *Service) Bound(aor wire.AOR, before, after []location.Binding, why location.Reason) {
	if !s.Store.Any() {
		return
	}
	if _, isDevice := s.Store.Device(aor); isDevice {
		s.post(func() { s.mirror(aor) })
	}
	for i := range before {
		device := before[i].Device
		if device == (wire.AOR{}) || !before[i].Usable() || on(after, device) {
			continue
		}
		how := why
		if bound(after, device) {
			how = location.FlowLost
		}
		s.post(func() { s.gone(aor, device, how) })
	}
	for i := range after {
		if b := &after[i]; b.Device != (wire.AOR{}) && b.Usable() {
			s.mu.Lock()
			delete(s.lost, pair{aor, b.Device})
			s.mu.Unlock()
		}
	}
}

// bound tells whether there is a binding on a device, and on whether there is one by which the user can be called.
func bound(bindings []location.Binding, device wire.AOR) bool {
	return slices.ContainsFunc(bindings, func(b location.Binding) bool { return b.Device == device })
}

func on(bindings []location.Binding, device wire.AOR) bool {
	return slices.ContainsFunc(bindings, func(b location.Binding) bool { return b.Device == device && b.Usable() })
}

// gone: a user has no binding on a device any more. Who unregistered has logged out; who only lost the connection has the grace period. An
// administrator's login is there until an administrator, or its time, ends it.
func (s *Service) gone(user, device wire.AOR, why location.Reason) {
	l, ok := s.Store.Login(user, device)
	if _, back := s.binding(user, device); !ok || back {
		return
	}
	switch {
	case l.Method == policy.ByAdmin.String() && !active(l, time.Now()): // ends in a moment, as it should
	case l.Method == policy.ByAdmin.String():
		s.Changed(l, Lost)
	case why == location.Removed, why == location.Registered: // or a REGISTER elsewhere took it away
		s.drop(l, Out)
	case why == location.Expired:
		s.drop(l, Expired)
	case why == location.Rejected, why == location.Deactivated, why == location.Probation:
		s.drop(l, Denied)
	default:
		s.mu.Lock()
		s.lost[pairOf(l)] = time.Now()
		s.next = time.Time{}
		s.mu.Unlock()
		s.Changed(l, Lost)
	}
}

// drop deletes the record of a login. It is the clerk's.
func (s *Service) drop(l database.Login, why Event) {
	if err := s.Store.WriteLogins(context.Background(), nil, []database.Login{l}); err != nil {
		s.Logger.Error("login could not be ended", "user", l.User.String(), "device", l.Device.String(), "error", err)
		return
	}
	s.forget(pairOf(l))
	s.Changed(l, why)
}

func (s *Service) forget(p pair) {
	s.mu.Lock()
	delete(s.seen, p)
	delete(s.lost, p)
	s.mu.Unlock()
}
