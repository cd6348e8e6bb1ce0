package database

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openTemp(t testing.TB) *DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "signalbox.db"))
}

func openAt(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestOpenMakesDirectoryAndFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a?b#c%20d", "data")
	path := filepath.Join(dir, "signal box.db")
	db := openAt(t, "sqlite:"+path)
	for _, want := range []struct {
		path string
		mode os.FileMode
	}{{dir, 0o700}, {path, 0o600}, {path + "-wal", 0o600}} {
		st, err := os.Stat(want.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Mode().Perm(); got != want.mode {
			t.Errorf("%s has mode %o, want %o", want.path, got, want.mode)
		}
	}
	if db.Path() != path {
		t.Errorf("Path() = %q, want %q", db.Path(), path)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*.new-*"))
	if len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestPragmas(t *testing.T) {
	db := openTemp(t)
	for _, conn := range []*sql.DB{db.writer, db.reader} {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000"} {
			var got string
			if err := conn.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %s (%v), want %s", pragma, got, err, want)
			}
		}
	}
	if _, err := db.reader.Exec("DELETE FROM user"); err == nil {
		t.Error("a reader could write")
	}
}

func TestSecretIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := openAt(t, path)
	first, err := db.Secret(t.Context(), "nonce")
	if err != nil || len(first) != 32 {
		t.Fatalf("Secret = %d bytes, %v", len(first), err)
	}
	other, err := db.Secret(t.Context(), "route")
	if err != nil || bytes.Equal(first, other) {
		t.Fatalf("two names, one secret (%v)", err)
	}
	db.Close()
	again, err := openAt(t, path).Secret(t.Context(), "nonce")
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the secret changed over a restart (%v)", err)
	}
}

// hardening figure 11: a file that cannot be read is refused with a clear message; never is an empty database put in its place.
func TestOpenRefusesWhatItCannotRead(t *testing.T) {
	tests := map[string]struct {
		damage func(t *testing.T, path string)
		want   string
	}{
		"empty":           {func(t *testing.T, p string) { truncate(t, p, 0) }, "the file is empty: restore it from a backup"},
		"shorter than 16": {func(t *testing.T, p string) { truncate(t, p, 7) }, "restore it from a backup"},
		"one page":        {func(t *testing.T, p string) { truncate(t, p, 4096) }, "restore it from a backup"},
		"half":            {func(t *testing.T, p string) { truncate(t, p, size(t, p)/2) }, "restore it from a backup"},
		"middle zeroed":   {func(t *testing.T, p string) { overwrite(t, p, 4096, make([]byte, size(t, p)-4096)) }, "restore it from a backup"},
		"rubbish":         {func(t *testing.T, p string) { overwrite(t, p, 0, []byte("#!/bin/sh\necho not a database\n")) }, "not a signalbox database"},
		"only its log":    {func(t *testing.T, p string) { os.Remove(p); os.WriteFile(p+"-wal", []byte("x"), 0o600) }, "put the file back"},
		"foreign": {func(t *testing.T, p string) {
			os.Remove(p)
			other, _ := sql.Open("sqlite", p)
			defer other.Close()
			if _, err := other.Exec("CREATE TABLE books (title TEXT)"); err != nil {
				t.Fatal(err)
			}
		}, "not a signalbox database"},
		"newer": {func(t *testing.T, p string) {
			other, _ := sql.Open("sqlite", p)
			defer other.Close()
			if _, err := other.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
				t.Fatal(err)
			}
		}, "newer signalbox"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			db := openAt(t, path)
			users, err := db.Users(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := users.Import(t.Context(), people(300), nil); err != nil {
				t.Fatal(err)
			}
			db.Close()
			tt.damage(t, path)
			before, _ := os.ReadFile(path)
			db, err = Open(t.Context(), path)
			if err == nil {
				db.Close()
				t.Fatal("opened")
			}
			if msg := err.Error(); !strings.Contains(msg, path) || !strings.Contains(msg, tt.want) || strings.Contains(msg, "\n") {
				t.Errorf("error is %q, want the path and %q in one line", msg, tt.want)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

func truncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

func overwrite(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestOpenPathErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "sqlite:", ":memory:", "sqlite::memory:", "postgres://db.example.org/x", filepath.Join(file, "x.db"), filepath.Dir(file)} {
		db, err := Open(t.Context(), path)
		if err == nil {
			db.Close()
			t.Errorf("Open(%q) succeeded", path)
		} else if !strings.HasPrefix(err.Error(), "database") {
			t.Errorf("Open(%q): %v", path, err)
		}
	}
}

// hardening figure 10: a directory that cannot be written is an error that says so.
func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o500)
	_, err := Open(t.Context(), filepath.Join(dir, "x.db"))
	if err == nil || !strings.Contains(err.Error(), "must own the file") {
		t.Errorf("Open = %v", err)
	}
}

// hardening figure 10: on a full disk a change fails and nothing shows it; when there is room again, it succeeds.
func TestDiskFull(t *testing.T) {
	db := openTemp(t)
	users, err := db.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.writer.Exec("PRAGMA max_page_count = 12"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err = users.Import(t.Context(), people(1000), nil); err == nil || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("Import on a full disk = %v", err)
		}
		if users.Len() != 0 {
			t.Fatalf("%d users after a failed import", users.Len())
		}
	}
	if _, err := db.writer.Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if n, err := users.Import(t.Context(), people(1000), nil); n != 1000 || err != nil {
		t.Fatalf("Import with room again = %d, %v", n, err)
	}
}

// hardening figure 11: another process holds the lock for longer than we wait.
func TestLockedByAnother(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the lock's timeout")
	}
	path := filepath.Join(t.TempDir(), "x.db")
	openAt(t, path).Close()
	other, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), path)
	if err == nil {
		db.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another process holds it") {
		t.Errorf("error is %q", err)
	}
	tx.Rollback()
	openAt(t, path)
}

// Two programs that start at once on nothing end up with one database.
func TestOpenTwiceAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	secrets := make(chan []byte, 4)
	errs := make(chan error, 4)
	for range cap(secrets) {
		go func() {
			db, err := Open(context.Background(), path)
			if err == nil {
				var s []byte
				s, err = db.Secret(context.Background(), "nonce")
				secrets <- s
				db.Close()
			} else {
				secrets <- nil
			}
			errs <- err
		}()
	}
	first := <-secrets
	for range cap(secrets) - 1 {
		if s := <-secrets; !bytes.Equal(s, first) {
			t.Error("two databases")
		}
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestCheckFindsDamageInARunningDatabase(t *testing.T) {
	db := openTemp(t)
	if err := db.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if errors.Is(db.Check(t.Context()), errDamaged) {
		t.Error("a sound file is called damaged")
	}
}
