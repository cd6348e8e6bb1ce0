package login

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// An administrator's login follows its device: the user has the device's contact over the device's flow, whatever becomes of it, and independently of others.
func TestAdministratorsLoginFollowsTheDevice(t *testing.T) {
	play(t, func(f *flat) {
		f.bind(tv, "sip:tv@192.0.2.10")
		f.bind(alice, "sip:alice@192.0.2.1")
		f.must(f.Login(f.t.Context(), database.Login{User: alice, Device: tv}))
		f.must(f.Login(f.t.Context(), database.Login{User: bob, Device: tv, End: time.Now().Add(30 * time.Minute)}))
		f.has(bob, "sip:tv@192.0.2.10 30m0s")
		if got := f.contacts(alice); len(got) != 2 {
			t.Errorf("alice has %q", got)
		}
		f.expect("logged in", "alice tv login", "bob tv login")

		f.update(tv, func(now []location.Binding) []location.Binding { // its connection breaks
			lost := slices.Clone(now)
			lost[0].Lost = time.Now()
			return lost
		})
		f.has(bob, "sip:tv@192.0.2.10 30m0s lost")
		f.expect("device lost: one event each", "alice tv lost", "bob tv lost")
		f.unbind(tv)
		f.has(bob)
		f.has(alice, "sip:alice@192.0.2.1 1h0m0s")
		f.bind(tv, "sip:tv@192.0.2.20:5070")
		f.has(bob, "sip:tv@192.0.2.20:5070 30m0s")

		f.must(f.Logout(f.t.Context(), alice, tv))
		f.has(alice, "sip:alice@192.0.2.1 1h0m0s")
		f.has(bob, "sip:tv@192.0.2.20:5070 30m0s")
		f.told()
		time.Sleep(30 * time.Minute)
		f.expect("the end", "bob tv ended")
		f.has(bob)
		if err := f.Logout(f.t.Context(), bob, tv); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	})
}

// What an administrator may not do: a login that ends before it starts, on no device, on one that is offline, against the policy. Each leaves nothing.
func TestLoginRefused(t *testing.T) {
	play(t, func(f *flat) {
		now := time.Now()
		f.policy.Store(f.rules("[[rule]]\nwhen = { user = [\"bob\"], door = [\"admin\"] }\ndeny = {}\n[[rule]]\nwhen = { kind = [\"tv\"] }\nmax_users = 1\n[[rule]]\nmulti_login = \"deny\""))
		f.bind(lobby, "sip:lobby@192.0.2.11")
		cut := aor("cut")
		f.must(f.devices.Add(f.t.Context(), database.Device{AOR: cut, Kind: "booth"}))
		f.bind(cut, "sip:cut@192.0.2.12", func(b *location.Binding) { b.Lost = now })
		f.must(f.Login(f.t.Context(), database.Login{User: carol, Device: lobby}))
		for name, test := range map[string]struct {
			login database.Login
			want  error
		}{
			"ends when it starts":   {database.Login{User: alice, Device: tv, Start: now.Add(time.Hour), End: now.Add(time.Hour)}, ErrTime},
			"ended long ago":        {database.Login{User: alice, Device: tv, Start: now.Add(-2 * time.Hour), End: now.Add(-time.Hour)}, ErrTime},
			"no device":             {database.Login{User: alice, Device: carol}, ErrUnknown},
			"not even by beginning": {database.Login{User: alice, Device: aor("t")}, ErrUnknown},
			"offline":               {database.Login{User: alice, Device: tv}, ErrOffline},
			"its connection broke":  {database.Login{User: alice, Device: cut}, ErrOffline},
			"a device":              {database.Login{User: tv, Device: lobby}, ErrDevice},
			"denied":                {database.Login{User: bob, Device: lobby}, ErrDenied},
			"too many users":        {database.Login{User: alice, Device: lobby}, ErrDenied},
			"on another device":     {database.Login{User: carol, Device: tv, Start: now.Add(time.Hour)}, ErrDenied},
		} {
			if err := f.Login(f.t.Context(), test.login); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
		if list := f.devices.Logins(); len(list) != 1 {
			t.Errorf("logins %v", list)
		}
	})
}

// With a policy that says so, a login waits for its device.
func TestPending(t *testing.T) {
	play(t, func(f *flat) {
		f.policy.Store(f.rules("[[rule]]\noffline = \"pending\""))
		f.must(f.Login(f.t.Context(), database.Login{User: alice, Device: tv}))
		f.has(alice)
		f.bind(tv, "sip:tv@192.0.2.10")
		f.has(alice, "sip:tv@192.0.2.10 1h0m0s")
	})
}

// A policy that lets a user be on one device ends the other login, whichever door the new one came by.
func TestAutoLogout(t *testing.T) {
	play(t, func(f *flat) {
		f.policy.Store(f.rules("[[rule]]\nmulti_login = \"auto-logout\""))
		f.bind(tv, "sip:tv@192.0.2.10")
		f.bind(lobby, "sip:lobby@192.0.2.11")
		f.must(f.begin(alice, tv, 0))
		f.bind(alice, "sip:alice@192.0.2.10", on1(tv))
		f.told()
		f.must(f.Login(f.t.Context(), database.Login{User: alice, Device: lobby}))
		f.expect("by the administrator's", "alice lobby login", "alice tv logout")
		f.has(alice, "sip:lobby@192.0.2.11 1h0m0s")
		f.must(f.begin(bob, tv, 0))
		f.bind(bob, "sip:bob@192.0.2.10", on1(tv))
		f.told()
		f.update(bob, func(now []location.Binding) []location.Binding { // as the registrar does
			other := now[0]
			other.Device, other.CallID = wire.AOR{}, "at home"
			return []location.Binding{other}
		})
		f.expect("by a REGISTER elsewhere", "bob tv logout")
	})
}

// Users who come by REGISTER: the limit counts those who are just coming in too; who unregisters has logged out and nobody else; whose registration runs out, too.
func TestBegin(t *testing.T) {
	play(t, func(f *flat) {
		errs := make(chan error, 3)
		for _, user := range []wire.AOR{alice, bob, carol} {
			f.Begin(user, tv, "device", 2, func(_ database.Login, err error) { errs <- err })
		}
		refused := 0
		for range 3 {
			var e *wire.Error
			if err := <-errs; errors.As(err, &e) && e.Code == 403 {
				refused++
			}
		}
		if refused != 1 || len(f.Users(tv)) != 2 {
			t.Errorf("%d refused, users %v", refused, f.Users(tv))
		}
		f.bind(alice, "sip:tv@192.0.2.10", on1(tv))
		f.bind(bob, "sip:tv@192.0.2.10", on1(tv))
		f.told()
		f.must(f.begin(alice, tv, 2)) // a refresh
		f.expect("refresh")
		f.unbind(alice)
		f.expect("unregistered", "alice tv logout")
		time.Sleep(time.Hour + time.Second)
		f.expect("not refreshed", "bob tv expired")
		if len(f.devices.Logins()) != 0 {
			t.Error(f.devices.Logins())
		}
	})
}

// fullDisk fails every write.
type fullDisk struct{ *database.Devices }

func (fullDisk) WriteLogins(context.Context, []database.Login, []database.Login) error {
	return errors.New("no space left on device")
}

// A login that cannot be written is refused, takes nobody's place, and ends no other.
func TestDiskFull(t *testing.T) {
	play(t, func(f *flat) {
		f.must(f.begin(bob, tv, 0))
		f.bind(bob, "sip:tv@192.0.2.10", on1(tv))
		f.bind(tv, "sip:tv@192.0.2.10")
		f.told()
		f.Store = fullDisk{f.devices}
		for range 3 {
			var e *wire.Error
			if err := f.begin(alice, tv, 2); !errors.As(err, &e) || e.Code != 500 {
				t.Errorf("%v", err)
			}
		}
		if err := f.Login(f.t.Context(), database.Login{User: carol, Device: tv}); err == nil {
			t.Error("the administrator's login is taken")
		}
		if err := f.Logout(f.t.Context(), bob, tv); err == nil {
			t.Error("logged out, until the next restart")
		}
		f.has(bob, "sip:tv@192.0.2.10 1h0m0s")
		f.has(alice)
		f.has(carol)
		f.Store = f.devices // room again
		f.must(f.begin(alice, tv, 2))
		f.expect("afterwards", "alice tv login")
	})
}

// A login whose device is lost lives on for its grace period, and goes on if the device is back.
func TestGrace(t *testing.T) {
	lose := func(now []location.Binding) []location.Binding {
		lost := slices.Clone(now)
		for i := range lost {
			lost[i].Lost = time.Now()
		}
		return lost
	}
	for grace, left := range map[string]int{`grace = "5m"`: 1, `idle = "9h"`: 0} {
		t.Run(grace, func(t *testing.T) {
			play(t, func(f *flat) {
				f.policy.Store(f.rules("[[rule]]\n" + grace))
				f.must(f.begin(alice, tv, 0))
				f.bind(alice, "sip:tv@192.0.2.10", on1(tv))
				f.told()
				f.update(alice, lose)
				f.expect("lost", "alice tv lost")
				time.Sleep(4 * time.Minute)
				if n := len(f.devices.Logins()); n != left {
					t.Fatalf("%d logins after 4 minutes, want %d", n, left)
				}
				if left == 0 {
					f.has(alice)
					return
				}
				f.bind(alice, "sip:tv@192.0.2.10", on1(tv))
				time.Sleep(5 * time.Minute)
				f.expect("back")
				f.update(alice, lose)
				time.Sleep(5*time.Minute + 2*time.Second)
				f.expect("lost for good", "alice tv lost", "alice tv expired")
				f.has(alice)
			})
		})
	}
}

// A login ends when nothing is said for too long, or in any case after its longest time.
func TestIdleAndLongest(t *testing.T) {
	play(t, func(f *flat) {
		f.policy.Store(f.rules("[[rule]]\nidle = \"10m\"\nlongest = \"25m\""))
		f.bind(tv, "sip:tv@192.0.2.10")
		f.bind(lobby, "sip:lobby@192.0.2.11")
		f.must(f.Login(f.t.Context(), database.Login{User: alice, Device: tv}))
		f.must(f.Login(f.t.Context(), database.Login{User: bob, Device: lobby}))
		f.told()
		for range 2 {
			time.Sleep(9 * time.Minute)
			f.Seen(alice)
		}
		f.expect("silent for 10 minutes", "bob lobby idle")
		time.Sleep(8 * time.Minute)
		f.expect("for 25 minutes", "alice tv ended")
		f.has(alice)
		f.has(bob)
	})
}

// A user or device that is no more leaves no login behind.
func TestLogoutAll(t *testing.T) {
	play(t, func(f *flat) {
		f.bind(tv, "sip:tv@192.0.2.10")
		f.bind(lobby, "sip:lobby@192.0.2.11")
		for _, l := range []database.Login{{User: alice, Device: tv}, {User: bob, Device: tv}, {User: bob, Device: lobby}} {
			f.must(f.Login(f.t.Context(), l))
		}
		f.must(f.LogoutAll(f.t.Context(), tv))
		f.has(alice)
		f.has(bob, "sip:lobby@192.0.2.11 1h0m0s")
		f.must(f.LogoutAll(f.t.Context(), bob))
		f.has(bob)
		if !strings.HasPrefix(f.contacts(tv)[0], "sip:tv@") {
			t.Error("the device itself is gone")
		}
	})
}
