package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
