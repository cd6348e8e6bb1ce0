package database

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

func openPhones(t testing.TB, path string) (_ *DB, _ *Journal, done func()) {
	t.Helper()
	db, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	j, err := db.Journal(context.Background(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return db, j, func() {
		if err := errors.Join(j.Close(context.Background()), db.Close()); err != nil {
			t.Error(err)
		}
	}
}

// settled waits until all that was noted is on disk: Phones does so for a moment only (syncWait).
func settled(t *testing.T, j *Journal) {
	t.Helper()
	for waiting := true; waiting; {
		if err := j.settlePhones(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.mu.Lock()
		waiting = len(j.phones)+len(j.writing.phones) > 0
		j.mu.Unlock()
	}
}

// phonesOf shows phones as "alice <urn:a>", with a minus for those that are gone.
func phonesOf(t *testing.T, j *Journal, of wire.AOR) (list []string) {
	t.Helper()
	settled(t, j)
	all, err := j.Phones(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		line := p.AOR.User + " " + p.Instance + p.Contact
		if !p.Gone.IsZero() {
			line = "-" + line
		}
		list = append(list, line)
	}
	return list
}

// A plain phone is a row from its first REGISTER on, whether it is there or not, through a restart, until somebody forgets it.
func TestPhones(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	_, j, done := openPhones(t, path)
	now := time.Unix(1_800_000_000, 0)
	desk := Phone{AOR: alice, Instance: "<urn:desk>", UserAgent: "Desk/1", Transport: "UDP", Source: "192.0.2.1:5060", First: now}
	soft := Phone{AOR: alice, Contact: "sip:alice@192.0.2.7:1001", UserAgent: "Soft/1", Transport: "TCP", Source: "192.0.2.7:1001", First: now}
	j.Sighted(desk)
	j.Sighted(soft)
	j.Sighted(Phone{AOR: wire.AOR{User: "alice2", Host: "example.org"}, Instance: "<urn:desk>", First: now})
	expect := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, phonesOf(t, j, alice)); diff != "" {
			t.Error(diff)
		}
	}
	expect("alice sip:alice@192.0.2.7:1001", "alice <urn:desk>")

	left := desk
	left.Gone, left.First, left.Source = now.Add(time.Hour), now.Add(time.Hour), "192.0.2.9:5060"
	j.Sighted(left)
	all, err := j.Phones(t.Context(), alice)
	if want := (Phone{AOR: alice, Instance: "<urn:desk>", UserAgent: "Desk/1", Transport: "UDP", Source: "192.0.2.9:5060", First: now, Gone: left.Gone}); err != nil || len(all) != 2 || all[1] != want {
		t.Errorf("%+v, %v; want %+v", all, err, want)
	}
	// The same program at another port is the same phone, once it has gone; another program is another.
	elsewhere := soft
	elsewhere.Contact = "sip:alice@192.0.2.7:1002"
	j.Sighted(elsewhere)
	expect("alice sip:alice@192.0.2.7:1001", "alice sip:alice@192.0.2.7:1002", "-alice <urn:desk>")
	elsewhere.Gone = now.Add(time.Hour)
	j.Sighted(elsewhere)
	third := soft
	third.Contact = "sip:alice@192.0.2.7:1003"
	j.Sighted(third)
	expect("alice sip:alice@192.0.2.7:1001", "alice sip:alice@192.0.2.7:1003", "-alice <urn:desk>")
	other := Phone{AOR: alice, Contact: "sip:alice@192.0.2.8", UserAgent: "Other/1", First: now}
	j.Sighted(other)
	expect("alice sip:alice@192.0.2.7:1001", "alice sip:alice@192.0.2.7:1003", "alice sip:alice@192.0.2.8", "-alice <urn:desk>")

	if err := j.Forget(t.Context(), alice, "", "sip:alice@192.0.2.8"); err != nil {
		t.Error(err)
	}
	for _, nobody := range []string{"<urn:des>", "<urn:desk>2"} {
		if err := j.Forget(t.Context(), alice, nobody, ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", nobody, err)
		}
	}
	j.Sighted(desk) // written by Close
	done()
	_, j, done = openPhones(t, path)
	defer done()
	expect("alice sip:alice@192.0.2.7:1001", "alice sip:alice@192.0.2.7:1003", "alice <urn:desk>")
	if err := j.Forget(t.Context(), alice, "", ""); err != nil {
		t.Error(err)
	}
	if got := phonesOf(t, j, wire.AOR{}); len(got) != 1 || got[0] != "alice2 <urn:desk>" {
		t.Errorf("left: %q", got)
	}
}

// Who makes up instances fills no disk: of an address the last ones are remembered, those that are registered first of all.
func TestPhonesAreBounded(t *testing.T) {
	_, j, done := openPhones(t, filepath.Join(t.TempDir(), "test.db"))
	defer done()
	at := time.Unix(1_800_000_000, 0)
	j.Sighted(Phone{AOR: alice, Instance: "<urn:stays>", First: at})
	for i := range 3 * maxPhones {
		p := Phone{AOR: alice, Instance: fmt.Sprintf("<urn:%03d>", i), First: at.Add(time.Duration(i) * time.Second)}
		j.Sighted(p)
		p.Gone = p.First.Add(time.Minute)
		j.Sighted(p)
	}
	got := phonesOf(t, j, alice)
	if len(got) != maxPhones || got[len(got)-1] != "alice <urn:stays>" || got[0] != fmt.Sprintf("-alice <urn:%03d>", 2*maxPhones+1) {
		t.Errorf("%d phones: %q", len(got), got)
	}
}

// A crowd is written as one phone after the other is: many rows by one statement, and the rest.
func TestCrowdOfPhones(t *testing.T) {
	_, j, done := openPhones(t, filepath.Join(t.TempDir(), "test.db"))
	defer done()
	at := time.Unix(1_800_000_000, 0)
	const users = 2*phoneRows + 7
	for _, port := range []int{1001, 1002} {
		for i := range users {
			p := Phone{AOR: wire.AOR{User: fmt.Sprintf("user%03d", i), Host: "example.org"}, Contact: fmt.Sprintf("sip:192.0.2.7:%d", port), UserAgent: "Soft/1", First: at}
			j.Sighted(p)
			if port == 1001 {
				p.Gone = at.Add(time.Hour)
				j.Sighted(p)
			}
		}
		settled(t, j)
		all, err := j.Phones(t.Context(), wire.AOR{})
		if err != nil || len(all) != users {
			t.Fatalf("%d phones, %v", len(all), err)
		}
		for i, p := range all {
			if want := fmt.Sprintf("user%03d sip:192.0.2.7:%d", i, port); p.AOR.User+" "+p.Contact != want || p.Gone.IsZero() != (port == 1002) {
				t.Errorf("%+v, want %s", p, want)
			}
		}
	}
}

// Names are data, whatever stands in them. hardening 70
func TestPhoneNamesAreLiteral(t *testing.T) {
	_, j, done := openPhones(t, filepath.Join(t.TempDir(), "test.db"))
	defer done()
	for _, s := range []string{"' OR 1=1--", `"; DROP TABLE phone`, "%", "_", `\`} {
		j.Sighted(Phone{AOR: wire.AOR{User: s, Host: "example.org"}, Instance: s, UserAgent: s, First: time.Now()})
	}
	if err := j.Forget(t.Context(), alice, "%", ""); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if got := phonesOf(t, j, wire.AOR{}); len(got) != 5 {
		t.Errorf("%q", got)
	}
}

// BenchmarkPhones is what a new phone costs the writer.
func BenchmarkPhones(b *testing.B) {
	db, _, done := openPhones(b, filepath.Join(b.TempDir(), "test.db"))
	defer done()
	j := &Journal{db: db}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		list := make([]Phone, maxCommittedPhones)
		for i := range list {
			n++
			list[i] = Phone{AOR: wire.AOR{User: fmt.Sprint("user", n), Host: "example.org"}, Instance: "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>", UserAgent: "Phone/1.0", Transport: "UDP", Source: "192.0.2.1:5060", First: time.Now()}
		}
		if err := j.write(&gathered{phones: list}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/phone")
}
