package location

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	_ "modernc.org/sqlite"

	"go.uber.org/goleak"

	"signalbox/internal/wire"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		child(path)
	}
	goleak.VerifyTestMain(m)
}

var (
	alice = wire.AOR{User: "alice", Host: "example.org"}
	bob   = wire.AOR{User: "bob", Host: "example.org"}

	errStore = errors.New("no space left on device")
	errStale = wire.Errorf(500, "", "CSeq out of order")
)

// memStore is a store that can be stopped and can fail.
type memStore struct {
	segs    []memSegment
	next    int64
	fail    error
	hold    chan struct{} // commit waits for it when not nil
	commits int
}

type memSegment struct {
	id   int64
	data string
}

func (m *memStore) load(segment func(int64, string) error) error {
	for _, s := range m.segs {
		if err := segment(s.id, s.data); err != nil {
			return err
		}
	}
	return nil
}

func (m *memStore) commit(data []byte, drop []*segment) (int64, error) {
	if m.hold != nil {
		<-m.hold
	}
	m.commits++
	if m.fail != nil {
		return 0, m.fail
	}
	if len(drop) > len(m.segs) {
		return 0, errors.New("drops more than there is")
	}
	for i, d := range drop {
		if m.segs[i].id != d.id {
			return 0, fmt.Errorf("drops %d, the oldest is %d", d.id, m.segs[i].id)
		}
	}
	m.next++
	m.segs = append(m.segs[len(drop):], memSegment{m.next, string(data)})
	return m.next, nil
}

func (m *memStore) close() error { return nil }

// start opens a service over a store; nil is volatile.
func start(t testing.TB, st *memStore, c Config) *Service {
	t.Helper()
	var s *Service
	var err error
	if st == nil {
		c.Volatile = true
		s, err = Open(nil, c)
	} else {
		s, err = open(st, c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t testing.TB, s *Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// contact makes a binding that lives for d.
func contact(uri string, d time.Duration) Binding {
	u, err := wire.ParseURI(uri)
	if err != nil {
		u = wire.URI{Raw: uri}
	}
	now := time.Now()
	return Binding{
		Contact: u, Params: `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e128>";reg-id=1`, Q: 1000,
		CallID: "843817637684230@998sdasdh09", CSeq: 1826, Expires: now.Add(d), Created: now, Updated: now,
		Flow:       wire.FlowID{Proto: wire.UDP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.7:5062")},
		InstanceID: "<urn:uuid:00000000-0000-1000-8000-000a95a0e128>", RegID: 1, UserAgent: "baresip v1.0.0 (x86_64/linux)",
	}
}

// set returns an update that makes bs the whole set.
func set(bs ...Binding) func([]Binding) ([]Binding, error) {
	return func([]Binding) ([]Binding, error) { return bs, nil }
}

// add returns an update that adds or refreshes one contact, as the registrar does.
func add(b Binding) func([]Binding) ([]Binding, error) {
	return func(now []Binding) ([]Binding, error) {
		next := []Binding{b}
		for _, old := range now {
			if old.Contact.Raw != b.Contact.Raw {
				next = append(next, old)
			}
		}
		return next, nil
	}
}

// result collects what done is called with.
type result struct {
	calls int
	after []Binding
	err   error
}

func (r *result) done(after []Binding, err error) { r.calls, r.after, r.err = r.calls+1, after, err }

// update waits for the result.
func update(t testing.TB, s *Service, aor wire.AOR, fn func([]Binding) ([]Binding, error)) ([]Binding, error) {
	t.Helper()
	ch := make(chan result, 1)
	s.Update(aor, fn, func(after []Binding, err error) { ch <- result{1, after, err} })
	r := <-ch
	return r.after, r.err
}

// show names bindings by their contacts.
func show(bs []Binding) string {
	var names []string
	for _, b := range bs {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(b.Contact.Raw, "sip:"), "@192.0.2.7"))
	}
	return strings.Join(names, " ")
}

func expect(t testing.TB, s *Service, aor wire.AOR, want string) {
	t.Helper()
	if got := show(s.Lookup(aor)); got != want {
		t.Errorf("Lookup(%s) = %q, want %q", aor.User, got, want)
	}
}

func code(err error) int {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// openSQL opens a database file with the pragmas and the table of package database, which this package may not import: both stand on one floor.
func openSQL(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sqlOpen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func sqlOpen(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(1000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	var n int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil || n > 0 {
		return db, err
	}
	_, err = db.Exec(table())
	return db, err
}

// table is the statement that makes table binding.
func table() string {
	b, err := os.ReadFile(filepath.Join(source, "internal", "database", "migrations", "0001_tables.sql"))
	if err != nil {
		panic(err)
	}
	_, s, _ := strings.Cut(string(b), "CREATE TABLE binding")
	s, _, _ = strings.Cut(s, ";")
	return "CREATE TABLE binding" + s
}

// source is the root of the tree: a test runs in its package's folder.
const source = ".."

// within tells whether part is a substring of whole in memory.
func within(part, whole string) bool {
	p, w := uintptr(unsafe.Pointer(unsafe.StringData(part))), uintptr(unsafe.Pointer(unsafe.StringData(whole)))
	return p >= w && p+uintptr(len(part)) <= w+uintptr(len(whole))
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
