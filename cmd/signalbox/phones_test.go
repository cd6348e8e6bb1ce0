package main

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// A phone is noted with its first binding and when its last one has ended, and not for what happens between; users on a device are no phones.
func TestPhonesNoted(t *testing.T) {
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	j, err := db.Journal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close(context.Background())
	aor := wire.AOR{User: "alice", Host: "example.org"}
	bound := func(contact, instance string, set ...func(*location.Binding)) location.Binding {
		u, err := wire.ParseURI(contact)
		if err != nil {
			t.Fatal(err)
		}
		b := location.Binding{Contact: u, InstanceID: instance, Created: time.Unix(1_700_000_000, 0), UserAgent: "Phone/1",
			Flow: wire.FlowID{Proto: wire.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}}
		for _, fn := range set {
			fn(&b)
		}
		return b
	}
	flow := func(id int) func(*location.Binding) { return func(b *location.Binding) { b.RegID = id } }
	onTV := func(b *location.Binding) { b.Device = wire.AOR{User: "tv", Host: "example.org"} }
	one, other := bound("sip:a@192.0.2.1", "<urn:a>", flow(1)), bound("sip:a@192.0.2.1:5062", "<urn:a>", flow(2))
	plain, login := bound("sip:alice@192.0.2.3", ""), bound("sip:tv@192.0.2.4", "<urn:tv>", onTV)
	for _, step := range []struct {
		name          string
		before, after []location.Binding
		want          []string
	}{
		{"registered", nil, []location.Binding{one, login}, []string{"<urn:a>"}},
		{"a second flow", []location.Binding{one}, []location.Binding{one, other}, []string{"<urn:a>"}},
		{"one flow less", []location.Binding{one, other}, []location.Binding{other}, []string{"<urn:a>"}},
		{"another phone", []location.Binding{other}, []location.Binding{other, plain}, []string{"sip:alice@192.0.2.3", "<urn:a>"}},
		{"gone", []location.Binding{other, plain, login}, []location.Binding{plain}, []string{"sip:alice@192.0.2.3", "-<urn:a>"}},
		{"logged out", []location.Binding{plain, login}, []location.Binding{plain}, []string{"sip:alice@192.0.2.3", "-<urn:a>"}},
	} {
		phones{j}.changed(aor, step.before, step.after, location.Registered)
		list, err := j.Phones(t.Context(), aor)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range list {
			name := p.Instance + p.Contact
			if !p.Gone.IsZero() {
				name = "-" + name
			}
			if p.UserAgent != "Phone/1" || p.Source != "192.0.2.1:5060" {
				t.Errorf("%+v", p)
			}
			got = append(got, name)
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

// A refresh costs nothing.
func TestPhonesRefreshAllocatesNothing(t *testing.T) {
	b := []location.Binding{{InstanceID: "<urn:a>"}, {Contact: wire.URI{Raw: "sip:alice@192.0.2.1"}}}
	aor := wire.AOR{User: "alice", Host: "example.org"}
	if n := testing.AllocsPerRun(100, func() { phones{}.changed(aor, b, b, location.Registered) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
