package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

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
