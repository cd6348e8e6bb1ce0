// Package database opens the SQLite file, migrates it (goose) and keeps the users. Users are read from memory ...
package database

import (
	"context"
	"database/sql"
	"iter"
)

// DB is the open database: one writer connection, a pool of readers, WAL, synchronous=FULL.
type DB struct{}

func Open(ctx context.Context, path string) (*DB, error) { return nil, nil }

// SQL is the writer's handle for rooms that keep their own tables (location); their migrations live here.
func (db *DB) SQL() *sql.DB { return nil }
func (db *DB) Close() error { return nil }

// User is an account. Only HA1 values are stored (RFC 7616, 3.4.2), for both algorithms; an imported account may have one only.
type User struct {
	Name, Domain  string
	MD5, SHA256   string // HA1 in lower-case hex; "" when unknown
	Created       int64
}

// Users keeps all accounts in memory (Get allocates nothing and takes no lock that a writer holds while it waits for the disk).
type Users struct{}

func (db *DB) Users(ctx context.Context) (*Users, error) { return nil, nil } // loads them
func (u *Users) Get(name, domain string) (User, bool) { return User{}, false }
func (u *Users) Add(ctx context.Context, user User) error { return nil } // error if it exists
func (u *Users) Set(ctx context.Context, user User) error { return nil } // new password; error if it does not exist
func (u *Users) Remove(ctx context.Context, name, domain string) error { return nil }
func (u *Users) List(ctx context.Context) ([]User, error) { return nil, nil } // sorted
func (u *Users) Len() int { return 0 }
func (u *Users) Reload(ctx context.Context) error { return nil }
// Import upserts in one transaction (all or nothing); progress is called now and then with the number done.
func (u *Users) Import(ctx context.Context, users iter.Seq2[User, error], progress func(done int)) (n int, err error) { return 0, nil }

// HA1 of a password, for both algorithms.
func HA1(name, realm, password string) (md5, sha256 string) { return "", "" }

// Secret returns the named random secret, made on first use and kept in the database (keys for nonces, Record-Route signatures).
func (db *DB) Secret(ctx context.Context, name string) ([]byte, error) { return nil, nil }
