package database

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"
)

// Users keeps all accounts in memory. Get allocates nothing and never waits for the disk.
type Users struct {
	db *DB
	// change is held from the write to the file until memory shows it, so that memory and file change in the same order.
	change sync.Mutex
	mu     sync.RWMutex // held for a moment only
	all    map[key]account
}

type key struct{ name, domain string }

// account is a user in memory: the hashes are one string, MD5 first; which of them are there shows in its length.
type account struct {
	hashes  string
	created int64
}

const (
	md5Hex    = 2 * md5.Size
	sha256Hex = 2 * sha256.Size
)

// Users loads the accounts.
func (db *DB) Users(ctx context.Context) (*Users, error) {
	u := &Users{db: db}
	return u, u.Reload(ctx)
}

// Get returns the account of that name. Both are compared literally; domains are in lower case.
func (u *Users) Get(name, domain string) (User, bool) {
	u.mu.RLock()
	a, ok := u.all[key{name, domain}]
	u.mu.RUnlock()
	if !ok {
		return User{}, false
	}
	return a.user(key{name, domain}), true
}

// HA1 returns the hashes of an account, "" for an algorithm that is not stored: what Digest authentication asks.
func (u *Users) HA1(name, realm string) (md5, sha256 string, ok bool) {
	a, ok := u.Get(name, realm)
	return a.MD5, a.SHA256, ok
}

// Add writes a new account; ErrExists if there is one.
func (u *Users) Add(ctx context.Context, user User) error {
	if err := user.Validate(); err != nil {
		return err
	}
	u.change.Lock()
	defer u.change.Unlock()
	if u.Len() >= MaxUsers {
		return fmt.Errorf("database: there are %d users already", MaxUsers)
	}
	stamp(&user)
	r, err := u.db.writer.ExecContext(ctx, "INSERT INTO user (name, domain, md5, sha256, created) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		user.Name, user.Domain, user.MD5, user.SHA256, user.Created)
	if err := u.affected(r, err, ErrExists); err != nil {
		return err
	}
	u.put(user)
	return nil
}

// Set replaces the hashes of an account; ErrNotFound if there is none.
func (u *Users) Set(ctx context.Context, user User) error {
	if err := user.Validate(); err != nil {
		return err
	}
	u.change.Lock()
	defer u.change.Unlock()
	r, err := u.db.writer.ExecContext(ctx, "UPDATE user SET md5 = ?, sha256 = ? WHERE name = ? AND domain = ?", user.MD5, user.SHA256, user.Name, user.Domain)
	if err := u.affected(r, err, ErrNotFound); err != nil {
		return err
	}
	row := u.db.writer.QueryRowContext(ctx, "SELECT created FROM user WHERE name = ? AND domain = ?", user.Name, user.Domain)
	if err := row.Scan(&user.Created); err != nil {
		return explain(u.db.path, err)
	}
	u.put(user)
	return nil
}

// Remove deletes an account; ErrNotFound if there is none.
func (u *Users) Remove(ctx context.Context, name, domain string) error {
	u.change.Lock()
	defer u.change.Unlock()
	r, err := u.db.writer.ExecContext(ctx, "DELETE FROM user WHERE name = ? AND domain = ?", name, domain)
	if err := u.affected(r, err, ErrNotFound); err != nil {
		return err
	}
	u.mu.Lock()
	delete(u.all, key{name, domain})
	u.mu.Unlock()
	return nil
}

// affected returns otherwise if the statement changed nothing.
func (u *Users) affected(r sql.Result, err, otherwise error) error {
	if err != nil {
		return explain(u.db.path, err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return cmp.Or(err, otherwise)
	}
	return nil
}

// List returns all accounts, by domain and name.
func (u *Users) List(context.Context) ([]User, error) {
	u.mu.RLock()
	list := make([]User, 0, len(u.all))
	for k, a := range u.all {
		list = append(list, a.user(k))
	}
	u.mu.RUnlock()
	slices.SortFunc(list, func(a, b User) int {
		return cmp.Or(strings.Compare(a.Domain, b.Domain), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

// Len is the number of accounts.
func (u *Users) Len() int {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return len(u.all)
}

// Reload reads all accounts again: another process has changed them.
func (u *Users) Reload(ctx context.Context) error {
	u.change.Lock()
	defer u.change.Unlock()
	all, err := u.db.readUsers(ctx)
	if err != nil {
		return explain(u.db.path, err)
	}
	u.mu.Lock()
	u.all = all
	u.mu.Unlock()
	return nil
}

func (db *DB) readUsers(ctx context.Context) (map[key]account, error) {
	var n int
	if err := db.reader.QueryRowContext(ctx, "SELECT count(*) FROM user").Scan(&n); err != nil {
		return nil, err
	}
	if n > MaxUsers {
		return nil, fmt.Errorf("there are %d users, more than %d", n, MaxUsers)
	}
	rows, err := db.reader.QueryContext(ctx, "SELECT name, domain, md5, sha256, created FROM user")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(map[key]account, n)
	for rows.Next() {
		var u User
		if err := rows.Scan(&u.Name, &u.Domain, &u.MD5, &u.SHA256, &u.Created); err != nil {
			return nil, err
		}
		if err := u.Validate(); err != nil {
			return nil, err
		}
		put(all, u)
	}
	return all, rows.Err()
}

// Import adds accounts and replaces those that exist, all or none: an error of users or of one account leaves everything as it was. The accounts are
// read before the write begins, so a slow source holds up nobody. progress, if not nil, is called now and then with the number done.
func (u *Users) Import(ctx context.Context, users iter.Seq2[User, error], progress func(done int)) (int, error) {
	var list []User
	for user, err := range users {
		if err == nil {
			err = user.Validate()
		}
		if err != nil {
			return 0, err
		}
		if len(list) == MaxUsers {
			return 0, fmt.Errorf("database: more than %d users", MaxUsers)
		}
		stamp(&user)
		list = append(list, user)
	}
	u.change.Lock()
	defer u.change.Unlock()
	if err := u.db.writeUsers(ctx, list, progress); err != nil {
		return 0, explain(u.db.path, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, user := range list {
		if old, ok := u.all[key{user.Name, user.Domain}]; ok {
			user.Created = old.created
		}
		put(u.all, user)
	}
	return len(list), nil
}

func (db *DB) writeUsers(ctx context.Context, list []User, progress func(int)) error {
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	upsert, err := tx.PrepareContext(ctx, `INSERT INTO user (name, domain, md5, sha256, created) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET md5 = excluded.md5, sha256 = excluded.sha256`)
	if err != nil {
		return err
	}
	for i, user := range list {
		if _, err := upsert.ExecContext(ctx, user.Name, user.Domain, user.MD5, user.SHA256, user.Created); err != nil {
			return err
		}
		if done := i + 1; progress != nil && (done%progressEvery == 0 || done == len(list)) {
			progress(done)
		}
	}
	return tx.Commit()
}

func stamp(u *User) {
	if u.Created == 0 {
		u.Created = time.Now().Unix()
	}
}

// put changes memory, when the file has been changed.
func (u *Users) put(user User) {
	u.mu.Lock()
	put(u.all, user)
	u.mu.Unlock()
}

func put(all map[key]account, u User) {
	// The name is copied: it may be part of a message or of a line that must not stay in memory.
	k := key{strings.Clone(u.Name), unique.Make(u.Domain).Value()}
	all[k] = account{hashes: u.MD5 + u.SHA256, created: u.Created}
}

// user is the account as the outside sees it.
func (a account) user(k key) User {
	u := User{Name: k.name, Domain: k.domain, Created: a.created}
	switch len(a.hashes) {
	case md5Hex:
		u.MD5 = a.hashes
	case sha256Hex:
		u.SHA256 = a.hashes
	default:
		u.MD5, u.SHA256 = a.hashes[:md5Hex], a.hashes[md5Hex:]
	}
	return u
}
