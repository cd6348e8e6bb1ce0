package database

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// people yields n accounts with passwords' hashes.
func people(n int) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		for i := range n {
			name := fmt.Sprintf("user%06d", i)
			u := User{Name: name, Domain: "example.org", Created: 1}
			u.MD5, u.SHA256 = HA1(name, u.Domain, "secret")
			if !yield(u, nil) {
				return
			}
		}
	}
}

func newUser(t testing.TB, name, password string) User {
	t.Helper()
	u, err := NewUser(name, "example.org", password)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// RFC 7616, 3.4.2: A1 is username, realm and password joined by colons. The values are those of 3.9.1's user and password.
func TestHA1(t *testing.T) {
	m, s := HA1("Mufasa", "http-auth@example.org", "Circle of Life")
	if m != "3d78807defe7de2157e2b0b6573a855f" {
		t.Errorf("MD5 %s", m)
	}
	if s != "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232" {
		t.Errorf("SHA-256 %s", s)
	}
}

func TestUsersLife(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "x.db")
	db := openAt(t, path)
	users, err := db.Users(ctx)
	if err != nil {
		t.Fatal(err)
	}
	alice := newUser(t, "alice", "wonderland")
	if err := users.Add(ctx, alice); err != nil {
		t.Fatal(err)
	}
	if err := users.Add(ctx, alice); !errors.Is(err, ErrExists) {
		t.Errorf("Add again = %v", err)
	}
	if err := users.Set(ctx, newUser(t, "bob", "x")); !errors.Is(err, ErrNotFound) {
		t.Errorf("Set of nobody = %v", err)
	}
	if err := users.Remove(ctx, "bob", "example.org"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Remove of nobody = %v", err)
	}
	changed := newUser(t, "alice", "looking-glass")
	changed.Created = 12345 // not taken over
	if err := users.Set(ctx, changed); err != nil {
		t.Fatal(err)
	}
	changed.Created = alice.Created
	if got, ok := users.Get("alice", "example.org"); !ok || got != changed {
		t.Errorf("Get = %+v, %v", got, ok)
	}
	for _, name := range []string{"Alice", "alice ", "alic", ""} {
		if _, ok := users.Get(name, "example.org"); ok {
			t.Errorf("Get(%q) found somebody", name)
		}
	}
	db.Close()

	db = openAt(t, path)
	users, err = db.Users(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list, err := users.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]User{changed}, list); diff != "" {
		t.Error(diff)
	}
	if err := users.Remove(ctx, "alice", "example.org"); err != nil {
		t.Fatal(err)
	}
	if _, ok := users.Get("alice", "example.org"); ok || users.Len() != 0 {
		t.Error("still there")
	}
}

// A change made by another process shows after Reload.
func TestReload(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "x.db")
	here, err := openAt(t, path).Users(ctx)
	if err != nil {
		t.Fatal(err)
	}
	there, err := openAt(t, path).Users(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Add(ctx, newUser(t, "carol", "x")); err != nil {
		t.Fatal(err)
	}
	if _, ok := here.Get("carol", "example.org"); ok {
		t.Error("seen before Reload")
	}
	if err := here.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if _, ok := here.Get("carol", "example.org"); !ok {
		t.Error("not seen after Reload")
	}
	// What this process does not know yet, it can change and remove all the same.
	if err := there.Add(ctx, newUser(t, "dave", "x")); err != nil {
		t.Fatal(err)
	}
	if err := here.Add(ctx, newUser(t, "dave", "y")); !errors.Is(err, ErrExists) {
		t.Errorf("Add = %v", err)
	}
	if err := here.Set(ctx, newUser(t, "dave", "y")); err != nil {
		t.Fatal(err)
	}
	if u, ok := here.Get("dave", "example.org"); !ok || u.Created == 0 {
		t.Errorf("Get = %+v, %v", u, ok)
	}
}

func TestImportIsAllOrNothing(t *testing.T) {
	ctx := t.Context()
	users, err := openTemp(t).Users(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := users.Add(ctx, newUser(t, "alice", "old")); err != nil {
		t.Fatal(err)
	}
	old, _ := users.Get("alice", "example.org")
	line := errors.New("users.csv:3: no password")
	broken := func(yield func(User, error) bool) {
		_ = yield(newUser(t, "alice", "new"), nil) && yield(newUser(t, "bob", "new"), nil) && yield(User{}, line)
	}
	if n, err := users.Import(ctx, broken, nil); n != 0 || !errors.Is(err, line) {
		t.Errorf("Import = %d, %v", n, err)
	}
	if err := users.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if u, _ := users.Get("alice", "example.org"); u != old || users.Len() != 1 {
		t.Errorf("alice is %+v of %d", u, users.Len())
	}
	// The last of two lines for one user counts; an existing user keeps the time of its creation.
	twice := func(yield func(User, error) bool) {
		_ = yield(newUser(t, "alice", "new"), nil) && yield(newUser(t, "alice", "newer"), nil)
	}
	if n, err := users.Import(ctx, twice, nil); n != 2 || err != nil {
		t.Errorf("Import = %d, %v", n, err)
	}
	want := newUser(t, "alice", "newer")
	want.Created = old.Created
	for range 2 {
		if u, _ := users.Get("alice", "example.org"); u != want {
			t.Errorf("alice is %+v", u)
		}
		if err := users.Reload(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// hardening 70: what looks like SQL is a name like any other, stored and looked up literally.
func TestNamesAreLiteral(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "x.db")
	db := openAt(t, path)
	users, err := db.Users(ctx)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"' OR 1=1--", `"; DROP TABLE user;--`, "%", "_", `\`, "a%b", "*)(uid=*", "ünï", "<script>", "=cmd|", strings.Repeat("x", MaxName)}
	for _, name := range names {
		if err := users.Add(ctx, newUser(t, name, name)); err != nil {
			t.Errorf("Add(%q): %v", name, err)
		}
	}
	db.Close()
	users, err = openAt(t, path).Users(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if users.Len() != len(names) {
		t.Errorf("%d users, want %d", users.Len(), len(names))
	}
	for _, name := range names {
		if u, ok := users.Get(name, "example.org"); !ok || u.Name != name {
			t.Errorf("Get(%q) = %+v, %v", name, u, ok)
		}
		if err := users.Remove(ctx, name, "example.org"); err != nil {
			t.Errorf("Remove(%q): %v", name, err)
		}
	}
	for _, name := range []string{"alice\x00x", "al%69ce"} {
		if _, ok := users.Get(name, "example.org"); ok {
			t.Errorf("Get(%q) found somebody", name)
		}
	}
}

// hardening 71: no name can end a line or start an escape sequence.
func TestNamesRefused(t *testing.T) {
	ok := newUser(t, "alice", "x")
	change := map[string]func(u *User){
		"empty name":       func(u *User) { u.Name = "" },
		"long name":        func(u *User) { u.Name = strings.Repeat("x", MaxName+1) },
		"NUL":              func(u *User) { u.Name = "a\x00b" },
		"CRLF":             func(u *User) { u.Name = "a\r\nVia: x" },
		"escape":           func(u *User) { u.Name = "\x1b[31m" },
		"C1 control":       func(u *User) { u.Name = "\u009b31m" },
		"line separator":   func(u *User) { u.Name = "a\u2028b" },
		"not UTF-8":        func(u *User) { u.Name = "a\xff" },
		"overlong UTF-8":   func(u *User) { u.Name = "a\xc0\xaf" },
		"colon":            func(u *User) { u.Name = "a:b" },
		"empty domain":     func(u *User) { u.Domain = "" },
		"long domain":      func(u *User) { u.Domain = strings.Repeat("x", MaxDomain+1) },
		"upper case":       func(u *User) { u.Domain = "Example.org" },
		"blank in domain":  func(u *User) { u.Domain = "example org" },
		"no hash":          func(u *User) { u.MD5, u.SHA256 = "", "" },
		"short hash":       func(u *User) { u.MD5 = u.MD5[1:] },
		"upper-case hash":  func(u *User) { u.SHA256 = strings.ToUpper(u.SHA256) },
		"hash of nonsense": func(u *User) { u.MD5 = strings.Repeat("z", 32) },
	}
	users, err := openTemp(t).Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range change {
		u := ok
		f(&u)
		if err := users.Add(t.Context(), u); err == nil {
			t.Errorf("%s: added", name)
		} else if strings.ContainsAny(err.Error(), "\r\n\x1b\x00") {
			t.Errorf("%s: error has control characters: %q", name, err)
		}
	}
	for _, password := range []string{"", "a\nb", "a\x00", "\xff", strings.Repeat("x", MaxPassword+1)} {
		if _, err := NewUser("alice", "example.org", password); !errors.Is(err, ErrPassword) {
			t.Errorf("password %.10q: %v", password, err)
		}
	}
}

// An imported account may know one algorithm only.
func TestOneHash(t *testing.T) {
	users, err := openTemp(t).Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, s := HA1("x", "example.org", "p")
	for _, u := range []User{{Name: "a", MD5: m}, {Name: "b", SHA256: s}, {Name: "c", MD5: m, SHA256: s}} {
		u.Domain, u.Created = "example.org", 1
		if err := users.Add(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if got, _ := users.Get(u.Name, u.Domain); got != u {
			t.Errorf("got %+v, want %+v", got, u)
		}
		gm, gs, ok := users.HA1(u.Name, u.Domain)
		if gm != u.MD5 || gs != u.SHA256 || !ok {
			t.Errorf("HA1 = %q %q %v", gm, gs, ok)
		}
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	users, err := openTemp(t).Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := users.Import(t.Context(), people(100), nil); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { users.Get("user000050", "example.org") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGet(b *testing.B) {
	users, err := openTemp(b).Users(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := users.Import(b.Context(), people(20000), nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		users.Get("user010000", "example.org")
	}
}

func BenchmarkImport20000(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		users, err := openTemp(b).Users(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if n, err := users.Import(b.Context(), people(20000), func(int) {}); n != 20000 || err != nil {
			b.Fatal(n, err)
		}
	}
}
