package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

// What Login and Logout refuse.
var (
	ErrUnknown = errors.New("no such device or login")
	ErrTime    = errors.New("a login cannot be then")
	ErrOffline = errors.New("the device is offline")
	ErrDenied  = errors.New("denied by policy")
	ErrExists  = errors.New("logged in already")
	ErrDevice  = errors.New("is a device itself: users log in, devices do not")
)

// Login logs a user in on a device, on behalf of an administrator, and returns when that is on disk and, for a login that begins now on a device
// that is there, the user can be called. A zero start is now, a zero end never. Without a policy that says so, a device that is
// offline is refused, unless the start lies in the future.
func (s *Service) Login(ctx context.Context, l database.Login) error {
	now := time.Now()
	l.Method = policy.ByAdmin.String()
	if l.Start.IsZero() {
		l.Start = now.Truncate(time.Second)
	}
	switch {
	case !l.End.IsZero() && !l.End.After(now):
		return fmt.Errorf("the end, %s, has passed: %w", l.End.Format(time.RFC3339), ErrTime)
	case !l.End.IsZero() && !l.End.After(l.Start):
		return fmt.Errorf("the end is not after the start: %w", ErrTime)
	}
	if _, ok := s.Store.Device(l.Device); !ok {
		return fmt.Errorf("device %s: %w", name(l.Device), ErrUnknown)
	}
	if _, isDevice := s.Store.Device(l.User); isDevice {
		return fmt.Errorf("%s: %w", name(l.User), ErrDevice)
	}
	if old, ok := s.Store.Login(l.User, l.Device); ok && active(old, now) && old.Method != l.Method {
		return fmt.Errorf("%s on %s: %w", name(l.User), name(l.Device), ErrExists)
	}
	f := s.facts(l, now)
	f.Door = policy.ByAdmin
	online := slices.DeleteFunc(slices.Clone(s.Bindings.Lookup(l.Device)), func(b location.Binding) bool { return !b.Usable() })
	if len(online) > 0 && f.Offline {
		f = s.factsOf(l.User, &online[0], now)
		f.Device, f.Kind, f.Door = l.Device, s.kind(l.Device), policy.ByAdmin
	}
	d := s.Policy().Decide(&f)
	if d.Deny != nil {
		return fmt.Errorf("%s on %s: %w: %w", name(l.User), name(l.Device), ErrDenied, d.Deny.Error())
	}
	if len(online) == 0 && !l.Start.After(now) && !d.Pending {
		return fmt.Errorf("device %s: %w", name(l.Device), ErrOffline)
	}
	if err := s.limits(l, &d, now); err != nil {
		return err
	}
	return s.wait(ctx, func(done func(error)) {
		if err := s.Store.WriteLogins(ctx, []database.Login{l}, nil); err != nil {
			done(err)
			return
		}
		s.dueBy(l.Start)
		s.Changed(l, In)
		if d.MultiLogin == policy.AutoLogout {
			s.logoutOthers(l)
		}
		s.mirrorLogin(l, now, func(err error) { done(err) })
	})
}

// name is an address as people write it.
func name(a wire.AOR) string { return a.User + "@" + a.Host }

// limits refuses a login beyond what the policy allows.
func (s *Service) limits(l database.Login, d *policy.Decision, now time.Time) error {
	users, devices := 0, 0
	for _, other := range s.Store.OfDevice(l.Device) {
		if other.User != l.User && (other.End.IsZero() || now.Before(other.End)) {
			users++
		}
	}
	for _, other := range s.Store.OfUser(l.User) {
		if other.Device != l.Device && (other.End.IsZero() || now.Before(other.End)) {
			devices++
		}
	}
	switch {
	case users >= cmp.Or(d.MaxUsers, maxUsers):
		return fmt.Errorf("%s has %d users: %w", name(l.Device), users, ErrDenied)
	case d.MaxDevices > 0 && devices >= d.MaxDevices && d.MultiLogin != policy.AutoLogout:
		return fmt.Errorf("%s is logged in on %d devices: %w", name(l.User), devices, ErrDenied)
	case d.MultiLogin == policy.One && devices > 0:
		return fmt.Errorf("%s is logged in on another device: %w", name(l.User), ErrDenied)
	}
	return nil
}

// logoutOthers ends the user's logins on other devices. It is the clerk's.
func (s *Service) logoutOthers(l database.Login) {
	for _, other := range s.Store.OfUser(l.User) {
		if other.Device != l.Device {
			s.end(other, Out, location.Rejected, func(error) {})
		}
	}
}

// Logout ends a login and returns when that is on disk.
func (s *Service) Logout(ctx context.Context, user, device wire.AOR) error {
	l, ok := s.Store.Login(user, device)
	if !ok {
		return fmt.Errorf("%s on %s: %w", name(user), name(device), ErrUnknown)
	}
	return s.wait(ctx, func(done func(error)) { s.end(l, Out, location.Rejected, done) })
}

// LogoutAll ends all logins of a user who is no more, or on a device that is no more.
func (s *Service) LogoutAll(ctx context.Context, who wire.AOR) error {
	var all []error
	for _, l := range append(s.Store.OfUser(who), s.Store.OfDevice(who)...) {
		all = append(all, s.wait(ctx, func(done func(error)) { s.end(l, Out, location.Rejected, done) }))
	}
	return errors.Join(all...)
}

// wait lets the clerk do something and waits for it.
func (s *Service) wait(ctx context.Context, fn func(done func(error))) error {
	result := make(chan error, 1)
	if !s.post(func() { fn(func(err error) { result <- err }) }) {
		return errBusy
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end takes the bindings of a login away, and then its record: a crash between leaves a record whose time is over or that the administrator sees.
// It is the clerk's.
func (s *Service) end(l database.Login, happened Event, why location.Reason, done func(error)) {
	if err := s.Store.WriteLogins(context.Background(), nil, []database.Login{l}); err != nil {
		done(err)
		return
	}
	s.forget(pairOf(l))
	s.Changed(l, happened)
	s.unbind(l.User, l.Device, why, done)
}

// unbind takes away what a user has on a device, and nothing else.
func (s *Service) unbind(user, device wire.AOR, why location.Reason, done func(error)) {
	if !bound(s.Bindings.Lookup(user), device) {
		done(nil)
		return
	}
	s.Bindings.Change(user, why, func(now []location.Binding) ([]location.Binding, error) {
		return without(now, func(b *location.Binding) bool { return b.Device == device }), nil
	}, func(_ []location.Binding, err error) { done(err) })
}

// without returns the bindings but for some; now itself is not changed.
func without(now []location.Binding, some func(*location.Binding) bool) []location.Binding {
	var left []location.Binding
	for i := range now {
		if !some(&now[i]) {
			left = append(left, now[i])
		}
	}
	return left
}
