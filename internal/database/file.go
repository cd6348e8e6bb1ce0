package database

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	errDamaged = errors.New("the file is damaged")
	errEmpty   = errors.New("the file is empty")
	errForeign = errors.New("the file is not a signalbox database")
	errNewer   = errors.New("the file was made by a newer signalbox")
	errOrphan  = errors.New("the file is missing, but its write-ahead log is there")
)

// The header of a SQLite file (https://sqlite.org/fileformat.html, 1.3).
const (
	headerBytes   = 100
	applicationAt = 68
	// applicationID marks the file as ours ("SGBX"), so that a wrong path does not put our tables into somebody else's file.
	applicationID = 0x53474258
)

// magic is how every SQLite file begins.
var magic = []byte("SQLite format 3\x00")

// cleanPath takes "sqlite:PATH" or PATH and makes it absolute.
func cleanPath(path string) (string, error) {
	file := strings.TrimPrefix(path, "sqlite:")
	if file == "" {
		return "", errors.New("database: no path: say sqlite:PATH")
	}
	// ":memory:" and the like would be a database that forgets; "//host" a server.
	if strings.HasPrefix(file, ":") || strings.Contains(file, "://") || strings.ContainsRune(file, 0) {
		return "", fmt.Errorf("database: %q is not the path of a file: say sqlite:PATH", path)
	}
	return filepath.Abs(file)
}

// ensureFile sees to it that a database file is there. An existing one must begin as SQLite files do: an empty file is one that lost its
// content, because a new database comes into being whole, under its name only when its tables are on disk.
func ensureFile(ctx context.Context, path string) error {
	switch err := checkFile(path); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if st, err := os.Stat(path + "-wal"); err == nil && st.Size() > 0 {
		return errOrphan
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	fresh, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	fresh.Close()
	defer os.Remove(fresh.Name())
	if err := build(ctx, fresh.Name()); err != nil {
		return err
	}
	// Link, unlike Rename, does not replace a database that another process has made meanwhile.
	if err := os.Link(fresh.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// checkFile looks at the header, before SQLite does: SQLite changes the files it opens (to a write-ahead log), and a foreign one must not be changed.
func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, headerBytes)
	switch n, err := io.ReadFull(f, head); {
	case err == io.EOF:
		return errEmpty
	case err == io.ErrUnexpectedEOF && bytes.HasPrefix(head[:n], magic[:min(n, len(magic))]):
		return errDamaged
	case err != nil && err != io.ErrUnexpectedEOF:
		return err
	case !bytes.HasPrefix(head, magic) || binary.BigEndian.Uint32(head[applicationAt:]) != applicationID:
		return errForeign
	}
	return nil
}

// build makes the tables in a new file and closes it, so that all is in the file itself.
func build(ctx context.Context, path string) error {
	db, err := open(path)
	if err != nil {
		return err
	}
	_, err = db.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	if err == nil {
		err = db.migrate(ctx)
	}
	return errors.Join(err, db.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// explain puts the path before the error and what to do behind it.
func explain(path string, err error) error {
	return fmt.Errorf("database %s: %w%s", path, err, advice(err))
}

func advice(err error) string {
	const restore = ": restore it from a backup, or move it away to begin with no users"
	var se *sqlite.Error
	switch {
	case errors.Is(err, errDamaged), errors.Is(err, errEmpty):
		return restore
	case errors.Is(err, errOrphan):
		return ": put the file back beside it, or move the log away to begin with no users"
	case errors.Is(err, errForeign):
		return ": check the path in the configuration"
	case errors.Is(err, errNewer):
		return ": use that version, or a backup from before the upgrade"
	case errors.Is(err, fs.ErrPermission):
		return ": the user that runs signalbox must own the file and its directory"
	case !errors.As(err, &se):
		return ""
	}
	if se.Code() == sqlite3.SQLITE_IOERR_SHMSIZE {
		return ": make room on the disk" // it has no other word for a full disk here
	}
	switch se.Code() & 0xff { // the primary result code
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return restore
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return ": another process holds it: end that process, or try again"
	case sqlite3.SQLITE_FULL:
		return ": make room on the disk"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return ": the user that runs signalbox must be able to write the file and its directory"
	case sqlite3.SQLITE_IOERR:
		return ": the disk reports an error: see the kernel's log"
	}
	return ""
}
