package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// feedLines reads the whole feed, as "event contact reason", with an R behind what was recovered.
func feedLines(t *testing.T, db *database.DB) []string {
	t.Helper()
	p, err := db.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for s := bufio.NewScanner(bytes.NewReader(p.Text)); s.Scan(); {
		var e database.Event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		line := e.Event
		for _, more := range []string{e.Contact, e.Reason} {
			if more != "" {
				line += " " + more
			}
		}
		if e.Recovered {
			line += " R"
		}
		list = append(list, line)
	}
	return list
}

func feedBinding(contact string) location.Binding {
	u, err := wire.ParseURI(contact)
	if err != nil {
		panic(err)
	}
	now := time.Now()
	return location.Binding{
		Contact: u, Q: 1000, CallID: "c", CSeq: 1, Created: now, Updated: now, Expires: now.Add(time.Hour), UserAgent: "phone\x1b[2J",
		Flow: wire.FlowID{Proto: wire.UDP, Local: netip.MustParseAddrPort("192.0.2.100:5060"), Remote: netip.MustParseAddrPort("192.0.2.1:5060")},
	}
}

// The feed tells of changes of state, each once, and of no refresh.
func TestFeedOfChanges(t *testing.T) {
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	j, err := db.Journal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	aor, f := wire.AOR{User: "alice", Host: "example.org"}, feed{j}
	a := feedBinding("sip:a@192.0.2.1")
	step := func(why location.Reason, before, after []location.Binding) { f.changed(aor, before, after, why) }
	with := func(b location.Binding, fn func(*location.Binding)) []location.Binding {
		fn(&b)
		return []location.Binding{b}
	}
	list := []location.Binding{a}
	step(location.Registered, nil, list)
	step(location.Created, list, []location.Binding{a, feedBinding("sip:b@192.0.2.1")})
	step(location.Registered, list, with(a, func(b *location.Binding) {
		b.Updated, b.Expires = b.Updated.Add(time.Minute), b.Expires.Add(time.Minute)
	}))
	step(location.Registered, list, with(a, func(b *location.Binding) { b.Flow.Remote = netip.MustParseAddrPort("192.0.2.2:5060") }))
	lost := with(a, func(b *location.Binding) { b.Lost = time.Now() })
	step(location.FlowLost, list, lost)
	step(location.Registered, lost, list)
	step(location.Shortened, list, with(a, func(b *location.Binding) { b.Expires = b.Expires.Add(-time.Minute) }))
	step(location.Deactivated, list, nil)
	step(location.Probation, list, nil)
	step(location.Rejected, list, nil)
	step(location.Removed, list, nil)
	step(location.Expired, with(a, func(b *location.Binding) { b.Expires = time.Now() }), nil)
	flow := with(a, func(b *location.Binding) { b.InstanceID, b.RegID = "<urn:uuid:1>", 1 })
	step(location.Registered, flow, with(flow[0], func(b *location.Binding) { b.Contact.Raw, b.Contact.User = "sip:c@192.0.2.1", "c" })) // the same flow, refreshed
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, event := range []string{"registered", "created", "moved", "offline", "online", "shortened", "deactivated", "probation", "rejected", "unregistered", "expired"} {
		contact := "sip:a@192.0.2.1"
		if event == "created" {
			contact = "sip:b@192.0.2.1"
		}
		want = append(want, event+" "+contact)
	}
	if diff := cmp.Diff(want, feedLines(t, db)); diff != "" {
		t.Error(diff)
	}
	// hardening 71: what a phone calls itself moves no cursor.
	p, _ := db.Events(t.Context(), 0)
	if bytes.ContainsRune(p.Text, 0x1b) || !bytes.Contains(p.Text, []byte(`"user_agent":"phone\\x1b[2J"`)) {
		t.Errorf("%s", p.Text)
	}
}

// What a crash kept out of the feed, and what expired while no server ran, is found at the next start; an orderly restart adds nothing.
func TestFeedCatchesUp(t *testing.T) {
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// run is one life of a server: it starts, something happens that the feed hears of or not, and it stops, or crashes.
	run := func(hears, stops bool, happen func(s *location.Service)) {
		t.Helper()
		j, err := db.Journal(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := location.Config{}
		if hears {
			c.Changed = feed{j}.changed
		}
		s, err := location.Open(db.SQL(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := (feed{j}).catchUp(t.Context(), db, s); err != nil {
			t.Fatal(err)
		}
		happen(s)
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if stops {
			j.Append(database.Event{Event: "stopped"})
		}
		if err := j.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	age := time.Minute // of a new binding
	bindings := func(list ...string) func(*location.Service) {
		return func(s *location.Service) {
			done := make(chan error, 1)
			s.Update(wire.AOR{User: "alice", Host: "example.org"}, func(now []location.Binding) ([]location.Binding, error) {
				var after []location.Binding
				for _, contact := range list {
					b := feedBinding(contact)
					b.Created = b.Created.Add(-age)
					if old := counterpart(&b, now); old != nil {
						b = *old
					}
					after = append(after, b)
				}
				return after, nil
			}, func(_ []location.Binding, err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	const a, b, c = "sip:a@192.0.2.1", "sip:b@192.0.2.1", "sip:c@192.0.2.1"
	before, err := location.Open(db.SQL(), location.Config{}) // before there was a feed
	if err != nil {
		t.Fatal(err)
	}
	bindings(c)(before)
	if err := before.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	age = 0
	run(true, true, func(s *location.Service) { bindings(c, a)(s); bindings(c, a, b)(s) })
	run(false, false, bindings(c, b)) // a goes in the last moments before a crash, unheard; so does
	run(true, true, func(*location.Service) {})
	run(false, false, bindings(c, b, "sip:d@192.0.2.1")) // d
	run(true, true, func(*location.Service) {})
	want := []string{
		"started", "registered " + a, "registered " + b, "stopped",
		"started",
		"expired " + a + " R", "started after a crash", "stopped",
		"started",
		"registered sip:d@192.0.2.1 R", "started after a crash", "stopped",
	}
	if diff := cmp.Diff(want, feedLines(t, db)); diff != "" {
		t.Error(diff)
	}
}

// A start reads the whole feed: it must not take longer than people wait.
func BenchmarkCatchUp(b *testing.B) {
	db, err := database.Open(b.Context(), filepath.Join(b.TempDir(), "x.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	j, err := db.Journal(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range database.MaxEvents {
		one := feedBinding(fmt.Sprintf("sip:%d@192.0.2.1", i/2))
		j.Append(bindingEvent([]string{"registered", "unregistered"}[i%2], wire.AOR{User: "alice", Host: "example.org"}, &one, time.Now()))
		if i%10000 == 0 {
			if err := j.Wait(b.Context(), int64(i)/2); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := j.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readLedger(b.Context(), db); err != nil {
			b.Fatal(err)
		}
	}
}

// What a refresh, of which there are most, pays for the feed; and what a new registration does.
func BenchmarkFeed(b *testing.B) {
	db, err := database.Open(b.Context(), filepath.Join(b.TempDir(), "x.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	j, err := db.Journal(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close(context.Background())
	aor, f := wire.AOR{User: "alice", Host: "example.org"}, feed{j}
	before := []location.Binding{feedBinding("sip:a@192.0.2.1")}
	after := []location.Binding{before[0]}
	after[0].UserAgent = "phone"
	after[0].Updated = after[0].Updated.Add(time.Minute)
	b.Run("refresh", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.changed(aor, before, after, location.Registered)
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.changed(aor, nil, after, location.Registered)
		}
	})
}
