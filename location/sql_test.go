package location

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Restart: everything that was acknowledged is there, with all its fields.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	want := samples()
	delete(want, "none")
	s, err := Open(openSQL(t, path), Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, bs := range want {
		aor := alice
		aor.User = name
		if _, err := update(t, s, aor, set(bs...)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := update(t, s, bob, set(contact("sip:b@192.0.2.7", time.Hour))); err != nil {
		t.Fatal(err)
	}
	if _, err := update(t, s, bob, set()); err != nil {
		t.Fatal(err)
	}
	n := s.Len()
	stop(t, s)
	s, err = Open(openSQL(t, path), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if s.Len() != n {
		t.Errorf("%d bindings, were %d", s.Len(), n)
	}
	expect(t, s, bob, "")
	for name, bs := range want {
		aor := alice
		aor.User = name
		if diff := cmp.Diff(ordered(bs), s.Lookup(aor), sameTimes); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// hardening figure 10: on a full disk nothing is acknowledged that is not stored, reads go on, and when there is room again so do writes.
func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := openSQL(t, path)
	s, err := Open(db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	acked, refused := 0, 0
	for round := range 3 {
		if _, err := db.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", 16+16*round)); err != nil {
			t.Fatal(err)
		}
		const n = 400
		errs := make(chan error, n)
		for i := range n {
			s.Update(user(1000*round+i), set(phone(i, 1)), func(_ []Binding, err error) { errs <- err })
			if i%40 != 39 {
				continue
			}
			for range 40 {
				switch err := <-errs; {
				case err == nil:
					acked++
				case code(err) == 500 && strings.Contains(err.Error(), "full"):
					refused++
				default:
					t.Fatal(err)
				}
			}
		}
		expectUser(t, s, 0)
	}
	if acked == 0 || refused == 0 || s.Len() != acked {
		t.Errorf("%d acknowledged, %d refused, %d there", acked, refused, s.Len())
	}
	stop(t, s)
	s, err = Open(db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if s.Len() != acked {
		t.Errorf("%d acknowledged, %d after a restart", acked, s.Len())
	}
}

func expectUser(t *testing.T, s *Service, i int) {
	t.Helper()
	if bs := s.Lookup(user(i)); len(bs) != 1 {
		t.Errorf("user %d has %d bindings", i, len(bs))
	}
}

// hardening 70: what looks like SQL, or has a NUL, is stored and looked up literally.
func TestNamesAreLiteral(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(openSQL(t, path), Config{})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"' OR 1=1--", `"; DROP TABLE binding;--`, "%", "_", `\`, "a\x00b", "a", "a\r\nb", "\xff"}
	for _, name := range names {
		aor := alice
		aor.User = name
		b := contact("sip:a@192.0.2.7", time.Hour)
		b.CallID = name
		if _, err := update(t, s, aor, set(b)); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, s)
	if s, err = Open(openSQL(t, path), Config{}); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	for _, name := range names {
		aor := alice
		aor.User = name
		if bs := s.Lookup(aor); len(bs) != 1 || bs[0].CallID != name {
			t.Errorf("%q: %+v", name, bs)
		}
	}
	if s.Len() != len(names) {
		t.Errorf("%d bindings", s.Len())
	}
}

// hardening figure 11: a damaged record is an error of Open, never an empty service.
func TestDamagedRecord(t *testing.T) {
	damage := map[string]string{
		"cut":     "UPDATE binding SET data = substr(data, 1, length(data) - 3)",
		"empty":   "UPDATE binding SET data = x''",
		"version": "UPDATE binding SET data = x'7f' || substr(data, 2)",
		"NULs":    "UPDATE binding SET data = zeroblob(length(data))",
	}
	for name, stmt := range damage {
		t.Run(name, func(t *testing.T) {
			db := openSQL(t, filepath.Join(t.TempDir(), "x.db"))
			s, err := Open(db, Config{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := update(t, s, alice, set(contact("sip:a@192.0.2.7", time.Hour))); err != nil {
				t.Fatal(err)
			}
			stop(t, s)
			if _, err := db.Exec(stmt); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(db, Config{}); err == nil || !strings.Contains(err.Error(), "segment 1") {
				t.Errorf("Open = %v", err)
			}
		})
	}
}

func TestOpenNeedsItsTable(t *testing.T) {
	db := openSQL(t, filepath.Join(t.TempDir(), "x.db"))
	if _, err := db.Exec("DROP TABLE binding"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(db, Config{}); err == nil {
		t.Error("opened")
	}
	if _, err := Open(nil, Config{}); err == nil {
		t.Error("opened without a database")
	}
}

// The log is cleaned: however often phones refresh, it holds not much more than twice what is alive.
func TestLogIsCleaned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := openSQL(t, path)
	s, err := Open(db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	const users, rounds = 500, 60
	for i := range users {
		s.Update(user(users+i), set(phone(i, 7)), func([]Binding, error) {}) // never refreshed
	}
	for round := range rounds {
		done := make(chan error, users)
		for i := range users {
			s.Update(user(i), set(phone(i, uint32(round))), func(_ []Binding, err error) { done <- err })
		}
		for range users {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	stop(t, s)
	if s.log.total > 2*s.log.live+logSlack+users || s.log.live != 2*users {
		t.Errorf("the log holds %d records, %d live", s.log.total, s.log.live)
	}
	var n int
	if err := db.QueryRow("SELECT count(*) FROM binding").Scan(&n); err != nil || n != len(s.log.list) {
		t.Errorf("%d rows on disk, %d segments in memory, %v", n, len(s.log.list), err)
	}
	before := s
	if s, err = Open(db, Config{}); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if s.log.live != before.log.live || s.log.total != before.log.total {
		t.Errorf("loaded as %d records, %d live; were %d, %d", s.log.total, s.log.live, before.log.total, before.log.live)
	}
	for i := range users {
		if bs := s.Lookup(user(i)); len(bs) != 1 || bs[0].CSeq != rounds-1 {
			t.Fatalf("user %d: %+v", i, bs)
		}
		expectUser(t, s, users+i)
	}
}

// hardening figure 14: the wall clock decides only how much time is left after a restart.
func TestRestartAfterClockWasSet(t *testing.T) {
	for _, jump := range []time.Duration{0, time.Hour, -time.Hour, -10 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			st := &memStore{}
			s := start(t, st, Config{})
			// What the service sees when somebody sets the clock: its base no longer agrees with the wall clock.
			s.clock.baseMS -= jump.Milliseconds()
			s.wheel.start = s.clock.baseMS
			var r result
			s.Update(alice, set(contact("sip:a@192.0.2.7", time.Minute)), r.done)
			pass(30 * time.Second)
			expect(t, s, alice, "a")
			if left := time.Until(r.after[0].Expires); left != 30*time.Second {
				t.Errorf("clock set by %v: %v left", jump, left)
			}
			stop(t, s)
			s = start(t, st, Config{})
			bs := s.Lookup(alice)
			if len(bs) != 1 || time.Until(bs[0].Expires) != 30*time.Second {
				t.Errorf("clock set by %v, after restart: %+v", jump, bs)
			}
			pass(29999 * time.Millisecond)
			expect(t, s, alice, "a")
			pass(time.Millisecond)
			expect(t, s, alice, "")
			stop(t, s)
			s = start(t, st, Config{})
			if s.Len() != 0 {
				t.Errorf("clock set by %v: an expired binding came back", jump)
			}
			stop(t, s)
		})
	}
}

// The schema that the tests use is the one that is shipped.
func TestSchemaIsFound(t *testing.T) {
	if _, err := os.Stat(filepath.Join(source, "internal", "database", "migrations", "0001_tables.sql")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table(), "data BLOB NOT NULL") {
		t.Errorf("%s", table())
	}
}
