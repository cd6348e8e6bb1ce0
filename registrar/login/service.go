package login

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

// Store keeps devices, grants and logins: database.Devices.
type Store interface {
	Any() bool
	Device(aor wire.AOR) (database.Device, bool)
	ByInstance(instance string) (database.Device, bool)
	ByCertificate(fingerprint string) (database.Device, bool)
	Pin(ctx context.Context, aor wire.AOR, instance string) error
	Granted(device, user wire.AOR, now time.Time) bool
	Login(user, device wire.AOR) (database.Login, bool)
	OfUser(user wire.AOR) []database.Login
	OfDevice(device wire.AOR) []database.Login
	Logins() []database.Login
	WriteLogins(ctx context.Context, put, drop []database.Login) error
}

// Bindings is the location service.
type Bindings interface {
	Lookup(aor wire.AOR) []location.Binding
	All(yield func(aor wire.AOR, b []location.Binding) bool)
	Change(aor wire.AOR, why location.Reason, fn func(now []location.Binding) ([]location.Binding, error), done func(after []location.Binding, err error))
}

// Event is what happened to a login.
type Event string

const (
	In      Event = "login"
	Out     Event = "logout"  // the user, the device or an administrator ended it
	Ended   Event = "ended"   // its time was over
	Idle    Event = "idle"    // nothing was said for too long
	Expired Event = "expired" // the registration was not refreshed
	Lost    Event = "lost"    // the device is gone; the login lives on for its grace period
	Denied  Event = "denied"  // by the policy
)

// Config is what Open needs.
type Config struct {
	Store    Store
	Bindings Bindings
	Domains  *wire.Domains                          // for the names in certificates; nil: they name nobody
	Policy   func() *policy.Policy                  // the one that holds now; nil is none
	Changed  func(l database.Login, happened Event) // must not block; nil is silent
	Logger   *slog.Logger                           // nil is silent
}

// Validate reports what is missing.
func (c *Config) Validate() error {
	if c.Store == nil || c.Bindings == nil {
		return errors.New("login: Store and Bindings are needed")
	}
	return nil
}

// Service keeps the logins.
type Service struct {
	Config

	mu      sync.Mutex
	opening map[pair]bool      // begun, not yet stored
	seen    map[pair]time.Time // last activity; no entry is the start
	lost    map[pair]time.Time // since when the device is gone
	next    time.Time          // nothing is due before
	work    []func()
	closed  bool

	wake          chan struct{}
	stop, stopped chan struct{}
}

// pair is a user on a device.
type pair struct{ user, device wire.AOR }

func pairOf(l database.Login) pair { return pair{l.User, l.Device} }

// Open starts the clerk.
func Open(c Config) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Policy == nil {
		c.Policy = func() *policy.Policy { return nil }
	}
	if c.Changed == nil {
		c.Changed = func(database.Login, Event) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		Config:  c,
		opening: make(map[pair]bool), seen: make(map[pair]time.Time), lost: make(map[pair]time.Time),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go s.run()
	return s, nil
}

// Close does what waits and ends the clerk. It may be called once.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is the clerk.
func (s *Service) run() {
	defer close(s.stopped)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	minute := time.Now()
	for {
		select {
		case <-s.wake:
			s.doAll()
		case now := <-ticker.C:
			s.due(now)
			if now.Sub(minute) >= time.Minute || now.Minute() != minute.Minute() {
				s.turn(minute, now)
				minute = now
			}
		case <-s.stop:
			s.doAll()
			return
		}
	}
}

func (s *Service) doAll() {
	s.mu.Lock()
	work := s.work
	s.work = nil
	s.mu.Unlock()
	for _, fn := range work {
		fn()
	}
}

var errBusy = errors.New("login: too much waits for the disk")

// post gives the clerk something to do; it says whether there was room.
func (s *Service) post(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.work) >= maxWaiting {
		return false
	}
	s.work = append(s.work, fn)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// dueBy sees to it that the clerk looks at the logins at that time.
func (s *Service) dueBy(t time.Time) {
	s.mu.Lock()
	if s.next.After(t) {
		s.next = t
	}
	s.mu.Unlock()
}

// binding returns the binding of a user on a device by which he can be called.
func (s *Service) binding(user, device wire.AOR) (location.Binding, bool) {
	for _, b := range s.Bindings.Lookup(user) {
		if b.Device == device && b.Usable() {
			return b, true
		}
	}
	return location.Binding{}, false
}

// facts are those of a login, as far as its binding tells.
func (s *Service) facts(l database.Login, now time.Time) policy.Facts {
	if b, online := s.binding(l.User, l.Device); online {
		return s.factsOf(l.User, &b, now)
	}
	f := policy.Facts{User: l.User, Device: l.Device, Kind: s.kind(l.Device), Door: door(l.Method), Offline: true, Now: now}
	return f
}

// factsOf are those of a binding.
func (s *Service) factsOf(user wire.AOR, b *location.Binding, now time.Time) policy.Facts {
	f := policy.Facts{
		User: user, Device: b.Device, Kind: policy.PhoneKind, Now: now,
		Proto: b.Flow.Proto, NAT: b.Behind, Source: b.Flow.Remote.Addr(), Offline: b.Flow.Proto == 0,
	}
	switch {
	case b.Certified:
		f.Trust = policy.Certificate
	case b.Flow.Proto.Secure():
		f.Trust = policy.TLS
	}
	if !s.Store.Any() {
		return f
	}
	if _, ok := s.Store.Device(user); ok {
		f.Device = user
	}
	if f.Device != (wire.AOR{}) {
		f.Kind = s.kind(f.Device)
		if l, ok := s.Store.Login(user, b.Device); ok {
			f.Door = door(l.Method)
		}
	}
	return f
}

func (s *Service) kind(device wire.AOR) string {
	if d, ok := s.Store.Device(device); ok {
		return d.Kind
	}
	return policy.PhoneKind
}

func door(method string) policy.Door {
	for _, d := range []policy.Door{policy.ByDevice, policy.ByAdmin} {
		if d.String() == method {
			return d
		}
	}
	return policy.Own
}
