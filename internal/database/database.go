package database

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite", without C
)

// DB is the open database: one writer connection and a pool of readers.
type DB struct {
	path           string
	writer, reader *sql.DB
}

// Open opens, checks and migrates the database at path ("sqlite:PATH" or PATH), and makes it if it does not exist, with its directory. A file
// that is damaged, empty, foreign, locked or made by a newer program is an error that names the path and what to do: Open never
// begins anew in place of data that it cannot read.
func Open(ctx context.Context, path string) (*DB, error) {
	path, err := cleanPath(path)
	if err != nil {
		return nil, err
	}
	if err := ensureFile(ctx, path); err != nil {
		return nil, explain(path, err)
	}
	db, err := open(path)
	if err != nil {
		return nil, explain(path, err)
	}
	if err := db.prepare(ctx); err != nil {
		db.Close()
		return nil, explain(path, err)
	}
	return db, nil
}

// open connects; nothing is read yet.
func open(path string) (*DB, error) {
	db := &DB{path: path}
	var err error
	if db.writer, err = sql.Open("sqlite", dsn(path, false)); err != nil {
		return nil, err
	}
	if db.reader, err = sql.Open("sqlite", dsn(path, true)); err != nil {
		return nil, errors.Join(err, db.writer.Close())
	}
	db.writer.SetMaxOpenConns(1)
	db.reader.SetMaxOpenConns(maxReaders)
	return db, nil
}

// dsn is the driver's name for the file. A write transaction takes its lock at once, so that it cannot fail in the middle.
func dsn(path string, readOnly bool) string {
	q := url.Values{"_pragma": {
		"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")",
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(ON)",
		"wal_autocheckpoint(" + strconv.Itoa(checkpointPages) + ")",
		"journal_size_limit(" + strconv.Itoa(journalBytes) + ")",
	}}
	if readOnly {
		q.Add("_pragma", "query_only(ON)")
	} else {
		q.Set("_txlock", "immediate")
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String()
}

// prepare checks the file and brings its tables up to date.
func (db *DB) prepare(ctx context.Context) error {
	if err := db.Check(ctx); err != nil {
		return err
	}
	if err := db.migrate(ctx); err != nil {
		return err
	}
	return db.tryWrite(ctx)
}

// tryWrite takes and gives back the write lock: a read-only file is found now, not at the first registration.
func (db *DB) tryWrite(ctx context.Context) error {
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	return tx.Rollback()
}

// Check reads the whole file and returns an error if a page of it is damaged. It takes about a second for each million bindings.
func (db *DB) Check(ctx context.Context) error {
	rows, err := db.writer.QueryContext(ctx, "PRAGMA quick_check(3)")
	if err != nil {
		return err
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		if s != "ok" {
			found = append(found, strings.ReplaceAll(s, "\n", " "))
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if found != nil {
		return fmt.Errorf("%w: %s", errDamaged, strings.Join(found, "; "))
	}
	return nil
}

// SQL is the writer's handle, for rooms that keep their own tables; their migrations live here. It has one connection: a transaction on it
// holds up every other writer.
func (db *DB) SQL() *sql.DB { return db.writer }

// Path is the file's absolute path.
func (db *DB) Path() string { return db.path }

// Close gives the file back.
func (db *DB) Close() error {
	// The readers first: the last connection copies the write-ahead log into the file, and only the writer may write.
	return errors.Join(db.reader.Close(), db.writer.Close())
}

// Secret returns the named random secret of 32 bytes, made on first use and kept in the database.
func (db *DB) Secret(ctx context.Context, name string) ([]byte, error) {
	fresh := make([]byte, secretBytes)
	rand.Read(fresh)
	// A secret that another process made in the meantime wins: both then read the same.
	if _, err := db.writer.ExecContext(ctx, "INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", name, fresh); err != nil {
		return nil, explain(db.path, err)
	}
	var value []byte
	if err := db.writer.QueryRowContext(ctx, "SELECT value FROM secret WHERE name = ?", name).Scan(&value); err != nil {
		return nil, explain(db.path, err)
	}
	if len(value) != secretBytes {
		return nil, explain(db.path, fmt.Errorf("%w: secret %q has %d bytes", errDamaged, name, len(value)))
	}
	return value, nil
}
