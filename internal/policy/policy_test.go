package policy

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"signalbox/internal/wire"
)

var ours = wire.NewDomains([]string{"example.org", "example.net"}, nil)

func read(doc string) (*Policy, []*Finding, error) {
	var f File
	if err := toml.NewDecoder(strings.NewReader(doc)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, nil, err
	}
	p, found := New(&f, ours)
	return p, found, nil
}

func must(t testing.TB, doc string) *Policy {
	t.Helper()
	p, found, err := read(doc)
	if err != nil || found != nil {
		t.Fatal(err, found)
	}
	return p
}

// facts of a softphone at home, changed by fn.
func facts(user string, fn ...func(*Facts)) *Facts {
	f := &Facts{
		User: wire.AOR{User: user, Host: "example.org"}, Kind: PhoneKind, Proto: wire.UDP, Source: netip.MustParseAddr("192.0.2.1"),
		Now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), // a Wednesday
	}
	for _, fn := range fn {
		fn(f)
	}
	return f
}

func at(clock string) func(*Facts) {
	return func(f *Facts) {
		now, err := time.Parse("2006-01-02 15:04", clock)
		if err != nil {
			panic(err)
		}
		f.Now = now
	}
}

const example = `
zone = "UTC"

[groups]
staff = ["alice", "bob"]
desks = ["desk-*"]

[[rule]]
name = "closed"
deny = { code = 480, reason = "Closed At Night", retry_after = "1h" }
[rule.when]
group = ["desks"]
time = "22:00-06:00"
days = ["mon", "tue", "wed", "thu"]

[[rule]]
name = "the boss"
when = { user = ["alice"] }
expires_max = "2h"
allow = true

[[rule]]
name = "far away"
when = { source = ["198.51.100.0/24", "2001:db8::1"] }
deny = {}

[[rule]]
name = "behind NAT"
when = { nat = true, transport = ["udp"] }
expires_min = "30s"
expires_max = "2m"

[[rule]]
name = "television"
when = { kind = ["tv"] }
max_users = 2
idle = "4h"
offline = "pending"

[[rule]]
expires_max = "1h"
`

// Each setting comes from the first rule that holds and has it.
func TestFirstRuleCounts(t *testing.T) {
	p := must(t, example)
	behind := func(f *Facts) { f.NAT = true }
	tv := func(f *Facts) { f.Kind = "tv" }
	far := func(f *Facts) { f.Source = netip.MustParseAddr("198.51.100.7") }
	mapped := func(f *Facts) { f.Source = netip.MustParseAddr("::ffff:198.51.100.7") }
	for _, test := range []struct {
		name  string
		facts *Facts
		want  string
	}{
		{"nothing special", facts("bob"), "allow; max 1h0m0s"},
		{"NAT", facts("bob", behind), "allow; min 30s; max 2m0s"},
		{"an earlier rule has the longest time", facts("alice", behind), "allow; min 30s; max 2h0m0s"},
		{"denied", facts("bob", far), "deny 403 by far away; max 1h0m0s"},
		{"denied though written as IPv6", facts("bob", mapped), "deny 403 by far away; max 1h0m0s"},
		{"allowed before denied", facts("alice", far), "allow; max 2h0m0s"},
		{"kind", facts("bob", tv), "allow; max 1h0m0s; users 2; pending"},
		{"beginning of a name", facts("desk-7", at("2026-03-04 23:00")), "deny 480 by closed; max 1h0m0s"},
		{"past midnight, the day it began on", facts("desk-7", at("2026-03-06 05:59")), "deny 480 by closed; max 1h0m0s"},
		{"end of the window", facts("desk-7", at("2026-03-06 06:00")), "allow; max 1h0m0s"},
		{"another day", facts("desk-7", at("2026-03-06 23:00")), "allow; max 1h0m0s"},
		{"another name", facts("desk", at("2026-03-04 23:00")), "allow; max 1h0m0s"},
	} {
		d := p.Decide(test.facts)
		if got := show(d); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func show(d Decision) string {
	parts := []string{"allow"}
	if d.Deny != nil {
		parts[0] = "deny " + string(rune('0'+d.Deny.Code/100)) + string(rune('0'+d.Deny.Code/10%10)) + string(rune('0'+d.Deny.Code%10)) + " by " + d.Deny.Rule
	}
	add := func(name string, v time.Duration) {
		if v != 0 {
			parts = append(parts, name+" "+v.String())
		}
	}
	add("min", d.ExpiresMin)
	add("max", d.ExpiresMax)
	if d.MaxUsers != 0 {
		parts = append(parts, "users "+string(rune('0'+d.MaxUsers)))
	}
	if d.Pending {
		parts = append(parts, "pending")
	}
	return strings.Join(parts, "; ")
}

// Decisions change with the time only where a window opens or closes.
func TestTurned(t *testing.T) {
	p := must(t, example)
	for span, want := range map[[2]string]bool{
		{"2026-03-04 21:59", "2026-03-04 22:00"}: true,
		{"2026-03-04 22:00", "2026-03-05 05:59"}: false,
		{"2026-03-05 05:59", "2026-03-05 06:00"}: true,
		{"2026-03-06 21:59", "2026-03-06 22:00"}: false, // a Friday
	} {
		if got := p.Turned(facts("alice", at(span[0])).Now, facts("alice", at(span[1])).Now); got != want {
			t.Errorf("%v: %v", span, got)
		}
	}
	if (*Policy)(nil).Turned(time.Time{}, time.Now()) {
		t.Error("no policy turns")
	}
}

// Prefix confusion: alice is not alice2, nor alice of another domain, nor Alice.
func TestNamesAreWhole(t *testing.T) {
	p := must(t, `
[[rule]]
when = { user = ["alice"] }
deny = {}
`)
	for user, denied := range map[string]bool{"alice": true, "alice2": false, "alic": false, "Alice": false, "alice@example.org": false} {
		if d := p.Decide(facts(user)); (d.Deny != nil) != denied {
			t.Errorf("%s: %+v", user, d.Deny)
		}
	}
	other := facts("alice")
	other.User.Host = "example.net"
	if d := p.Decide(other); d.Deny != nil {
		t.Errorf("example.net: %+v", d.Deny)
	}
}

// A policy must not fail open: what a rule asks for and nobody knows denies, whatever the rule would have said.
func TestUnknownFactsDeny(t *testing.T) {
	for name, test := range map[string]struct {
		rule  string
		facts func(*Facts)
	}{
		"source":    {`when = { source = ["192.0.2.0/24"] }`, func(f *Facts) { f.Source = netip.Addr{} }},
		"transport": {`when = { transport = ["udp"] }`, func(f *Facts) { f.Proto = 0 }},
		"nat":       {`when = { nat = false }`, func(f *Facts) { f.Proto = 0 }},
		"user":      {`when = { user = ["alice"] }`, func(f *Facts) { f.User = wire.AOR{} }},
		"time":      {`when = { time = "08:00-09:00" }`, func(f *Facts) { f.Now = time.Time{} }},
	} {
		p := must(t, "[[rule]]\nname = \"r\"\nallow = true\n"+test.rule)
		if d := p.Decide(facts("alice")); d.Deny != nil {
			t.Errorf("%s known: %+v", name, d.Deny)
		}
		d := p.Decide(facts("alice", test.facts))
		if d.Deny == nil || d.Deny.Code != 500 || d.Deny.Error().Err == nil {
			t.Errorf("%s unknown: %+v", name, d.Deny)
		}
	}
}

// A mistake in our own code denies too.
func TestPanicDenies(t *testing.T) {
	p := &Policy{rules: []rule{{name: "broken", has: 1 << sDecided, allow: true, when: conditions{actions: 1 << Register, groups: []*names{nil}}}}}
	if d := p.Decide(facts("alice")); d.Deny == nil || d.Deny.Code != 500 {
		t.Errorf("%+v", d.Deny)
	}
}

// Trust can be demanded; each level includes those below it.
func TestRequireTrust(t *testing.T) {
	p := must(t, `
[[rule]]
name = "cameras"
when = { kind = ["camera"] }
require_trust = "certificate"
[[rule]]
require_trust = "tls"
`)
	for _, test := range []struct {
		kind  string
		trust Trust
		want  string
	}{
		{PhoneKind, Password, "TLS Required"},
		{PhoneKind, TLS, ""},
		{PhoneKind, Certificate, ""},
		{"camera", TLS, "Client Certificate Required"},
		{"camera", Certificate, ""},
	} {
		d := p.Decide(facts("alice", func(f *Facts) { f.Kind, f.Trust = test.kind, test.trust }))
		got := ""
		if d.Deny != nil {
			got = d.Deny.Reason
		}
		if got != test.want {
			t.Errorf("%s with %v: %q, want %q", test.kind, test.trust, got, test.want)
		}
	}
}

// Nobody watches others unless a rule allows it; calls are allowed unless a rule denies them.
func TestActions(t *testing.T) {
	p := must(t, `
[groups]
operators = ["carol"]
[[rule]]
when = { action = ["watch"], group = ["operators"], target = ["alice"] }
allow = true
[[rule]]
when = { action = ["call"], user = ["bob"], target = ["alice"] }
deny = { code = 603 }
[[rule]]
deny = {}
when = { user = ["dave"] }
`)
	for _, test := range []struct {
		action       Action
		user, target string
		allowed      bool
	}{
		{Watch, "alice", "alice", true},
		{Watch, "bob", "alice", false},
		{Watch, "carol", "alice", true},
		{Watch, "carol", "bob", false},
		{Call, "carol", "alice", true},
		{Call, "bob", "alice", false},
		{Call, "dave", "alice", true}, // a rule without action is about registering
		{Register, "dave", "dave", false},
	} {
		f := facts(test.user, func(f *Facts) { f.Action, f.Target = test.action, wire.AOR{User: test.target, Host: "example.org"} })
		if d := p.Decide(f); (d.Deny == nil) != test.allowed {
			t.Errorf("%s %s %s: %+v", test.user, test.action, test.target, d.Deny)
		}
		if d := (*Policy)(nil).Decide(f); (d.Deny == nil) != (test.action != Watch || test.user == test.target) {
			t.Errorf("without policy: %s %s %s: %+v", test.user, test.action, test.target, d.Deny)
		}
	}
}

// What is written as zero is a mistake, and not the same as nothing; times are said as they are written.
func TestZeroIsNotNothing(t *testing.T) {
	for rule, want := range map[string]string{
		`expires_max = "0s"`:            `rule[0].expires_max: 0s: want whole seconds, from 1s to 366d`,
		`expires_min = "90m"`:           `rule[0].expires_min: 1h30m: want whole seconds, from 1s to 1h`,
		`max_users = 0`:                 `rule[0].max_users: 0: want a number from 1 to 100`,
		`deny = { retry_after = "0s" }`: `rule[0].deny.retry_after: 0s: want whole seconds, from 1s to 366d`,
		`allow = false`:                 `rule[0].allow: false says nothing: want deny = { code = 403 }`,
		`name = "idle"`:                 `rule[0]: the rule sets nothing`,
	} {
		if _, found, err := read("[[rule]]\n" + rule); err != nil || len(found) != 1 || found[0].Error() != want {
			t.Errorf("%s: %v %v, want %s", rule, found, err, want)
		}
	}
}

// All findings are shown at once, each with its place.
func TestFindings(t *testing.T) {
	_, found, err := read(`
zone = "Moon/Crater"
[groups]
g = ["alice@example.com", "a*b", ""]
[[rule]]
[[rule]]
allow = true
deny = {}
expires_min = "2h"
address_change = "maybe"
max_users = 1000
when = { group = ["h"], source = ["10.0.0.0/8", "home"], time = "25:00-26:00", days = ["someday"], user = [], action = ["sing"], transport = ["sctp"] }
[[rule]]
deny = { code = 200, reason = "a\nb", retry_after = "1ms" }
expires_min = "1h"
expires_max = "1m"
`)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, f := range found {
		keys = append(keys, f.Key)
		if f.Message == "" || !strings.HasPrefix(f.Error(), f.Key) {
			t.Errorf("%+v", f)
		}
	}
	want := []string{"groups.g[0]", "groups.g[1]", "groups.g[2]", "rule[0]", "rule[1].address_change", "rule[1].deny", "rule[1].expires_min", "rule[1].max_users",
		"rule[1].when.action[0]", "rule[1].when.days[0]", "rule[1].when.group[0]", "rule[1].when.source[1]", "rule[1].when.time", "rule[1].when.transport[0]",
		"rule[1].when.user", "rule[2].deny.code", "rule[2].deny.reason", "rule[2].deny.retry_after", "rule[2].expires_max", "zone"}
	if !slices.Equal(keys, want) {
		t.Errorf("findings\n%q, want\n%q", keys, want)
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "7d": 7 * 24 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "60": -1, "0": -1, "99999d": -1, "d": -1, "x": -1, "-1dd": -1, "9999999999d": -1, "1.5d": -1} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || !d.set || (d.text == text) != (want < 0) || want >= 0 && d.time != want {
			t.Errorf("%s: %+v, %v", text, d, err)
		}
	}
}

func TestExplain(t *testing.T) {
	p := must(t, example)
	d, lines := p.Explain(facts("alice", func(f *Facts) { f.NAT, f.Kind = true, "tv" }))
	want := []Line{{"decision", "allow", "the boss"}, {"expires_min", "30s", "behind NAT"}, {"expires_max", "2h", "the boss"},
		{"max_users", "2", "television"}, {"idle", "4h", "television"}, {"offline", "pending", "television"}}
	if d.Deny != nil || !slices.Equal(lines, want) {
		t.Errorf("%+v\n%v", d, lines)
	}
	_, lines = p.Explain(facts("bob", func(f *Facts) { f.Source = netip.MustParseAddr("2001:db8::1") }))
	if lines[0] != (Line{"decision", "deny 403", "far away"}) {
		t.Errorf("%v", lines)
	}
	if _, lines = (*Policy)(nil).Explain(facts("bob")); !slices.Equal(lines, []Line{{Setting: "decision", Value: "allow"}}) {
		t.Errorf("without policy %v", lines)
	}
}

func TestSchema(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(Schema(), []byte(`"auto-logout"`)) || !bytes.Contains(Schema(), []byte(`"retry_after"`)) {
		t.Error("keys are missing")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("[[rule]]\nwhen = { source = [\"::/0\"], time = \"23:59-24:00\" }\ndeny = {}")
	f.Fuzz(func(t *testing.T, doc string) {
		p, found, err := read(doc)
		if err != nil || found != nil {
			return
		}
		for _, facts := range []*Facts{facts("alice"), facts("desk-1", at("2026-03-07 23:59")), {}} {
			d := p.Decide(facts)
			if d.Deny != nil && (d.Deny.Code < 400 || d.Deny.Error() == nil) {
				t.Errorf("%+v", d.Deny)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	p, f := must(b, example), facts("bob")
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(f)
	}
}
