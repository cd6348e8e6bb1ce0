package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"go.uber.org/goleak"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func aor(user string) wire.AOR { return wire.AOR{User: user, Host: "example.org"} }

var (
	tv    = aor("tv")
	lobby = aor("lobby")
	alice = aor("alice")
	bob   = aor("bob")
	carol = aor("carol")
)

// flat is a service with two devices on real bindings and tables in memory, in virtual time.
type flat struct {
	*Service
	t        *testing.T
	devices  *database.Devices
	bindings *location.Service
	policy   atomic.Pointer[policy.Policy]
	mu       sync.Mutex
	events   []string
	reasons  []string
}

func play(t *testing.T, story func(f *flat)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &flat{t: t, devices: database.NewDevices()}
		for _, device := range []wire.AOR{tv, lobby} {
			if err := f.devices.Add(t.Context(), database.Device{AOR: device, Kind: "tv"}); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		f.bindings, err = location.Open(nil, location.Config{Volatile: true, Changed: func(a wire.AOR, before, after []location.Binding, why location.Reason) {
			f.mu.Lock()
			f.reasons = append(f.reasons, a.User+" "+string(why))
			f.mu.Unlock()
			f.Bound(a, before, after, why)
		}})
		if err != nil {
			t.Fatal(err)
		}
		f.Service, err = Open(Config{Store: f.devices, Bindings: f.bindings, Policy: f.policy.Load, Changed: func(l database.Login, happened Event) {
			f.mu.Lock()
			f.events = append(f.events, fmt.Sprintf("%s %s %s", l.User.User, l.Device.User, happened))
			f.mu.Unlock()
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(f.Close(context.Background()), f.bindings.Close(context.Background())); err != nil {
				t.Error(err)
			}
		}()
		story(f)
	})
}

func (f *flat) rules(doc string) *policy.Policy {
	f.t.Helper()
	var file policy.File
	if err := toml.Unmarshal([]byte(doc), &file); err != nil {
		f.t.Fatal(err)
	}
	p, found := policy.New(&file, wire.NewDomains([]string{"example.org"}, nil))
	if found != nil {
		f.t.Fatal(found)
	}
	return p
}

// told returns what happened since it was asked last.
func (f *flat) told() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.events
	f.events = nil
	return list
}

func (f *flat) expect(what string, want ...string) {
	f.t.Helper()
	if got := f.told(); !slices.Equal(got, want) {
		f.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// bind registers a contact.
func (f *flat) bind(user wire.AOR, contact string, set ...func(*location.Binding)) {
	f.t.Helper()
	uri, err := wire.ParseURI(contact)
	if err != nil {
		f.t.Fatal(err)
	}
	now := time.Now()
	b := location.Binding{
		Contact: uri, Q: 1000, CallID: "c", CSeq: 1, Created: now, Updated: now, Expires: now.Add(time.Hour), InstanceID: "<urn:" + user.User + ">",
		Flow: wire.FlowID{Proto: wire.UDP, Local: netip.MustParseAddrPort("192.0.2.100:5060"), Remote: netip.MustParseAddrPort("192.0.2.10:5060")},
	}
	for _, fn := range set {
		fn(&b)
	}
	f.update(user, func(now []location.Binding) []location.Binding {
		return append(slices.DeleteFunc(slices.Clone(now), func(o location.Binding) bool { return o.Contact.Equal(uri) }), b)
	})
}

func (f *flat) update(user wire.AOR, fn func([]location.Binding) []location.Binding) {
	f.t.Helper()
	f.bindings.Update(user, func(now []location.Binding) ([]location.Binding, error) { return fn(now), nil }, func(_ []location.Binding, err error) {
		if err != nil {
			f.t.Error(err)
		}
	})
	synctest.Wait()
}

func (f *flat) unbind(user wire.AOR) {
	f.t.Helper()
	f.update(user, func([]location.Binding) []location.Binding { return nil })
}

func on1(device wire.AOR) func(*location.Binding) {
	return func(b *location.Binding) { b.Device = device }
}

// contacts of a user, with what is left of them.
func (f *flat) contacts(user wire.AOR) []string {
	synctest.Wait()
	var list []string
	for _, b := range f.bindings.Lookup(user) {
		line := fmt.Sprintf("%s %v", b.Contact.Raw, time.Until(b.Expires).Round(time.Second))
		if !b.Usable() {
			line += " lost"
		}
		list = append(list, line)
	}
	return list
}

func (f *flat) has(user wire.AOR, want ...string) {
	f.t.Helper()
	if got := f.contacts(user); !slices.Equal(got, want) {
		f.t.Errorf("%s has %q, want %q", user, got, want)
	}
}

// begin logs in as the registrar does.
func (f *flat) begin(user, device wire.AOR, most int) error {
	done := make(chan error, 1)
	f.Begin(user, device, "device", most, func(_ database.Login, err error) { done <- err })
	return <-done
}

func (f *flat) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Error(err)
	}
}

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

// BenchmarkApply is a policy that changes nothing for 10,000 bindings.
func BenchmarkApply(b *testing.B) {
	bindings, err := location.Open(nil, location.Config{Volatile: true})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(Config{Store: database.NewDevices(), Bindings: bindings})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = errors.Join(s.Close(context.Background()), bindings.Close(context.Background())) }()
	uri, _ := wire.ParseURI("sip:u@192.0.2.1")
	now := time.Now()
	for i := range 10_000 {
		one := location.Binding{Contact: uri, CallID: "c", Created: now, Updated: now, Expires: now.Add(time.Hour), Flow: wire.FlowID{Proto: wire.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}}
		bindings.Update(aor(fmt.Sprint(i)), func([]location.Binding) ([]location.Binding, error) { return []location.Binding{one}, nil }, func([]location.Binding, error) {})
	}
	var file policy.File
	if err := toml.Unmarshal([]byte("[[rule]]\nwhen = { source = [\"198.51.100.0/24\"] }\ndeny = {}\n[[rule]]\nexpires_max = \"2h\""), &file); err != nil {
		b.Fatal(err)
	}
	p, _ := policy.New(&file, wire.NewDomains([]string{"example.org"}, nil))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := s.Apply(context.Background(), nil, p); err != nil || n != (Applied{}) {
			b.Fatal(n, err)
		}
	}
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

// RFC 3680, 4.7.1: what a changed policy does to bindings, and that it touches nothing else.
func TestApply(t *testing.T) {
	old := "[[rule]]\nwhen = { user = [\"frank\"] }\ndeny = {}\n"
	fresh := old + `
[[rule]]
when = { user = ["alice"] }
deny = {}
[[rule]]
when = { user = ["bob"] }
deny = { code = 480, retry_after = "5m" }
[[rule]]
when = { user = ["carol"] }
expires_max = "10m"
[[rule]]
when = { user = ["dave"] }
reauthenticate = "1m"
[[rule]]
when = { user = ["gina"] }
expires_max = "2h"
expires_min = "5m"
`
	play(t, func(f *flat) {
		for _, user := range []string{"alice", "bob", "carol", "dave", "erin", "frank", "gina"} {
			f.bind(aor(user), "sip:"+user+"@192.0.2.1")
		}
		f.bind(aor("erin"), "sip:erin@192.0.2.2")
		time.Sleep(2 * time.Minute)
		untouched := map[string][]location.Binding{}
		for _, user := range []string{"erin", "frank", "gina"} {
			untouched[user] = f.bindings.Lookup(aor(user))
		}
		f.reasons = nil
		n, err := f.Apply(f.t.Context(), f.rules(old), f.rules(fresh))
		if err != nil || n != (Applied{1, 1, 1, 1}) {
			t.Errorf("%+v, %v", n, err)
		}
		slices.Sort(f.reasons)
		if want := []string{"alice rejected", "bob probation", "carol shortened", "dave deactivated"}; !slices.Equal(f.reasons, want) {
			t.Errorf("changes %q, want %q", f.reasons, want)
		}
		f.has(alice)
		f.has(carol, "sip:carol@192.0.2.1 10m0s")
		// RFC 3680, 5.1: when a phone on probation may come back is what the policy says now.
		for rules, want := range map[string]time.Duration{old: 0, fresh: 5 * time.Minute} {
			f.policy.Store(f.rules(rules))
			if got := f.RetryAfter(aor("bob"), &f.bindings.Lookup(aor("erin"))[0]); got != want {
				t.Errorf("bob may come back after %v, want %v", got, want)
			}
		}
		for user, before := range untouched {
			if diff := cmp.Diff(fmt.Sprint(before), fmt.Sprint(f.bindings.Lookup(aor(user)))); diff != "" {
				t.Errorf("%s: %s", user, diff)
			}
		}
		// The same again changes nothing.
		if n, err := f.Apply(f.t.Context(), f.rules(fresh), f.rules(fresh)); err != nil || n != (Applied{}) {
			t.Errorf("again: %+v, %v", n, err)
		}
	})
}

// A time window that opens does what a new policy does.
func TestWindowOpens(t *testing.T) {
	play(t, func(f *flat) { // it is midnight, UTC
		f.policy.Store(f.rules("zone = \"UTC\"\n[[rule]]\nwhen = { user = [\"alice\"], time = \"00:30-08:00\" }\ndeny = {}"))
		f.bind(alice, "sip:alice@192.0.2.1")
		f.bind(bob, "sip:bob@192.0.2.2")
		time.Sleep(29 * time.Minute)
		f.has(alice, "sip:alice@192.0.2.1 31m0s")
		time.Sleep(2 * time.Minute)
		f.has(alice)
		f.has(bob, "sip:bob@192.0.2.2 29m0s")
	})
}

// Many bindings are changed in batches, every one of them.
func TestApplyToMany(t *testing.T) {
	play(t, func(f *flat) {
		const many = 3 * batch
		for i := range many {
			f.bind(aor(fmt.Sprint("user", i)), "sip:u@192.0.2.1")
		}
		n, err := f.Apply(f.t.Context(), nil, f.rules("[[rule]]\nexpires_max = \"1m\""))
		if err != nil || n.Shortened != many {
			t.Errorf("%+v, %v", n, err)
		}
		for i := range many {
			f.has(aor(fmt.Sprint("user", i)), "sip:u@192.0.2.1 1m0s")
		}
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
