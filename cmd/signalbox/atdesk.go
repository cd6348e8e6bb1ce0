package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"

	"signalbox/internal/console"
	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// operations are what the user and reg commands do: console.Client asks the running server, console.Desk works on the open database.
type operations interface {
	Account(ctx context.Context, name string) (console.Account, error)
	Accounts(ctx context.Context) ([]console.Account, error)
	Add(ctx context.Context, c console.Credentials) error
	Set(ctx context.Context, c console.Credentials) error
	Remove(ctx context.Context, name string) error
	Import(ctx context.Context, list iter.Seq2[console.Credentials, error], progress func(done int)) (int, error)
	Registrations(ctx context.Context) ([]console.Registration, error)
	Registration(ctx context.Context, name string) (console.Registration, error)
	Deregister(ctx context.Context, name, contact string) error
	Feed(ctx context.Context, since string, follow bool, out io.Writer) error
}

// desk is where a command does its work.
type desk struct {
	operations
	domains *wire.Domains
}

// account splits "alice" or "alice@example.org". A domain that is not ours is left for the desk to refuse.
func (d desk) account(name string) (user, domain string) {
	at := strings.LastIndexByte(name, '@')
	if at < 0 {
		return name, d.domains.Primary()
	}
	if ours, ok := d.domains.Domain(name[at+1:]); ok {
		return name[:at], ours
	}
	return name[:at], strings.ToLower(name[at+1:])
}

// atDesk runs fn against the running server, or against the database itself when no server runs. The lock on the data directory decides which: a
// server that starts meanwhile waits until fn is done, so that it never misses a change. create tells whether a database may be made.
func (a *app) atDesk(ctx context.Context, create bool, fn func(context.Context, desk) error) error {
	c, err := a.deskConfig()
	if err != nil {
		return err
	}
	domains := wire.NewDomains(c.domains, c.aliases)
	if _, err := os.Stat(c.database); !create && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no database yet: it is made by the first user add, or by the server's first start", c.database)
	}
	client, lock, err := reach(ctx, c.dataDir())
	if err != nil {
		return err
	}
	if client != nil {
		defer client.Close()
		return fn(ctx, desk{client, domains})
	}
	defer lock.release()
	d, closeDesk, err := openDesk(ctx, c, domains)
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, desk{d, domains}), closeDesk(ctx))
}

// deskConfig finds out which database is meant: the configuration's, or that of signalbox dev in this directory.
func (a *app) deskConfig() (*config, error) {
	if a.configPath == "" {
		_, noFile := os.Stat(configPlaces[0])
		if info, err := os.Stat(devData); noFile != nil && err == nil && info.IsDir() {
			return devDefaults(devData)
		}
	}
	return a.load(serveDefaults())
}

// reach returns a client of the running server, or the lock on the data directory if none runs.
func reach(ctx context.Context, dir string) (*console.Client, *dirLock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		if conn, err := dialControl(ctx, dir); err == nil {
			conn.Close()
			return newControlClient(dir), nil, nil
		}
		lock, err := lockDir(dir, "signalbox command")
		if err == nil {
			return nil, lock, nil
		}
		var held *heldError
		if !errors.As(err, &held) {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%w; it does not answer", held)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func openDesk(ctx context.Context, c *config, domains *wire.Domains) (*console.Desk, func(context.Context) error, error) {
	db, err := database.Open(ctx, c.database)
	if err != nil {
		return nil, nil, err
	}
	users, err := db.Users(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	journal, err := db.Journal(ctx, nil)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	bindings, err := location.Open(db.SQL(), location.Config{Volatile: c.volatile, Changed: feed{journal}.changed})
	if err != nil {
		return nil, nil, errors.Join(err, journal.Close(ctx), db.Close())
	}
	closeDesk := func(ctx context.Context) error {
		return errors.Join(bindings.Close(ctx), journal.Close(ctx), db.Close())
	}
	return &console.Desk{Users: users, Bindings: bindings, Domains: domains, Events: journal}, closeDesk, nil
}
