package database

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openJournal(t testing.TB, db *DB) *Journal {
	t.Helper()
	j, err := db.Journal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closeJournal(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// lines are the events of a page, as "cursor event".
func lines(t testing.TB, p Page) []string {
	t.Helper()
	var list []string
	for s := bufio.NewScanner(bytes.NewReader(p.Text)); s.Scan(); {
		var e Event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprint(e.Cursor, " ", e.Event))
	}
	return list
}

func read(t testing.TB, db *DB, since int64) (all []string, last int64) {
	t.Helper()
	for {
		p, err := db.Events(t.Context(), since)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, lines(t, p)...)
		if p.Last == since {
			return all, since
		}
		since = p.Last
	}
}

// The feed is replayed from any cursor, as often as one likes: reading takes nothing away. The cursor goes on after a restart.
func TestEventFeedIsNotEmptiedByReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := openAt(t, path)
	j := openJournal(t, db)
	j.Append(Event{Event: "a"}, Event{Event: "b"}, Event{Event: "c"})
	closeJournal(t, j)
	for range 3 {
		if all, last := read(t, db, 0); last != 3 || cmp.Diff([]string{"1 a", "2 b", "3 c"}, all) != "" {
			t.Fatalf("read %v up to %d", all, last)
		}
	}
	if all, _ := read(t, db, 2); cmp.Diff([]string{"3 c"}, all) != "" {
		t.Errorf("behind 2: %v", all)
	}
	db.Close()

	db = openAt(t, path)
	j = openJournal(t, db)
	j.Append(Event{Event: "d"})
	closeJournal(t, j)
	if all, _ := read(t, db, 1); cmp.Diff([]string{"2 b", "3 c", "4 d"}, all) != "" {
		t.Errorf("after a restart, behind 1: %v", all)
	}
	for _, cursor := range []int64{5, -1} {
		if _, err := db.Events(t.Context(), cursor); !errors.Is(err, ErrCursor) {
			t.Errorf("Events(%d) = %v", cursor, err)
		}
	}
}

// A storm is written in several commits, in order and without gaps, also when the journal is closed in the middle.
func TestManyEvents(t *testing.T) {
	db := openTemp(t)
	j := openJournal(t, db)
	const n = 2*maxCommittedEvents + 100
	for i := range n {
		j.Append(Event{Event: fmt.Sprint(i)})
	}
	closeJournal(t, j)
	all, last := read(t, db, 0)
	if last != n || len(all) != n || all[n-1] != fmt.Sprint(n, " ", n-1) {
		t.Errorf("%d events up to %d, the last one %q", len(all), last, all[len(all)-1])
	}
	j.Append(Event{Event: "too late"})
	if _, last := read(t, db, 0); last != n {
		t.Error("appended to a closed journal")
	}
}

// More than the disk takes is not kept in memory without end: the feed says how many are missing.
func TestLostEventsAreCounted(t *testing.T) {
	db := openTemp(t)
	tx, err := db.writer.Begin() // the disk stands still
	if err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, db)
	j.Append(slices.Repeat([]Event{{Event: "a"}}, 2*maxWaitingEvents+maxCommittedEvents+10)...)
	tx.Rollback()
	closeJournal(t, j)
	var told, seen int
	for since := int64(0); ; {
		p, err := db.Events(t.Context(), since)
		if err != nil {
			t.Fatal(err)
		}
		if p.Last == since {
			break
		}
		since = p.Last
		for line := range bytes.Lines(p.Text) {
			if seen++; !bytes.Contains(line, []byte(`"lost"`)) {
				continue
			}
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			told += e.Count
			seen--
		}
	}
	if told == 0 || told+seen != 2*maxWaitingEvents+maxCommittedEvents+10 {
		t.Errorf("%d events and %d lost", seen, told)
	}
}

// hardening figure 10: what a full disk refuses is written when there is room again; a subscriber is told at once.
func TestEventsOnAFullDisk(t *testing.T) {
	db := openTemp(t)
	failed := make(chan error, 100)
	j, err := db.Journal(t.Context(), func(err error) { failed <- err })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.writer.Exec("PRAGMA max_page_count = 12"); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 100<<10)
	j.Append(Event{Event: "a", Contact: string(bytes.Repeat([]byte("x"), 50<<10))})
	told := make(chan error, 1)
	j.Save(Subscription{ID: "s", Expires: time.Now().Add(time.Hour), Data: big}, func(err error) { told <- err })
	if err := <-told; err == nil {
		t.Fatal("saved on a full disk")
	}
	<-failed
	if _, err := db.writer.Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := j.Wait(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if all, _ := read(t, db, 0); cmp.Diff([]string{"1 a"}, all) != "" {
		t.Errorf("%v", all)
	}
	closeJournal(t, j)
}

// Old events make room. Who asks for them hears how many are gone, and the cursor does not begin anew.
func TestEventRetention(t *testing.T) {
	db := openTemp(t)
	if _, err := db.writer.Exec("INSERT INTO event VALUES (1, 10, x''), (11, 10, x'')"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.writer.Exec("INSERT INTO event VALUES (?, 1, ?)", MaxEvents+15, `{"event":"a"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, db)
	j.Append(Event{Event: "b"})
	closeJournal(t, j)
	p, err := db.Events(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if p.Gone != 7 || p.Last != MaxEvents+16 {
		t.Errorf("%d are gone, up to %d", p.Gone, p.Last)
	}
}

// Who did something and then asks sees it, although events are written later.
func TestSync(t *testing.T) {
	db := openTemp(t)
	j := openJournal(t, db)
	defer closeJournal(t, j)
	for i := range 3 {
		j.Append(Event{Event: "a"})
		if err := j.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, _ := read(t, db, 0); len(all) != i+1 {
			t.Errorf("%v after %d events", all, i+1)
		}
	}
}

func TestWaitForEvents(t *testing.T) {
	db := openTemp(t)
	j := openJournal(t, db)
	heard := make(chan error, 1)
	go func() { heard <- j.Wait(context.Background(), 0) }()
	j.Append(Event{Event: "a"})
	if err := <-heard; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { heard <- j.Wait(ctx, 1) }()
	cancel()
	if err := <-heard; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() { heard <- j.Wait(context.Background(), 1) }()
	j.Release()
	if err := <-heard; err == nil {
		t.Error("nothing came")
	}
	closeJournal(t, j)
}

// Subscriptions are found again after a restart, in their latest form and as long as they last.
func TestSubscriptionsSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := openAt(t, path)
	j := openJournal(t, db)
	soon := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	saved := make(chan error, 1)
	j.Save(Subscription{"kept", soon, []byte("old")}, nil)
	j.Save(Subscription{"removed", soon, []byte("x")}, nil)
	j.Save(Subscription{"expired", time.Now().Add(-time.Second), []byte("x")}, nil)
	j.Save(Subscription{"kept", soon, []byte("new")}, nil)
	j.Remove("removed")
	j.Save(Subscription{"other", soon, []byte("y")}, func(err error) { saved <- err })
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	db.Close()

	db = openAt(t, path)
	for range 2 {
		got, err := db.Subscriptions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Subscription{{"kept", soon, []byte("new")}, {"other", soon, []byte("y")}}, got); diff != "" {
			t.Error(diff)
		}
	}
	j = openJournal(t, db)
	closeJournal(t, j)
	j.Save(Subscription{"late", soon, []byte("x")}, func(err error) { saved <- err })
	if err := <-saved; err == nil {
		t.Error("saved in a closed journal")
	}
}

func BenchmarkAppend(b *testing.B) {
	db := openTemp(b)
	j := openJournal(b, db)
	b.ReportAllocs()
	for b.Loop() {
		j.Append(Event{Event: "registered", AOR: "sip:alice@example.org", Contact: "sip:alice@192.0.2.1:5060"})
	}
	closeJournal(b, j)
}
