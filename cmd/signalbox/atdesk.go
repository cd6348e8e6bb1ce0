package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"signalbox/internal/console"
	"signalbox/internal/database"
	"signalbox/internal/gruu"
	"signalbox/internal/wire"
	"signalbox/location"
	"signalbox/registrar/login"
)

// operations are what the commands do: console.Client asks the running server, console.Desk works on the open database.
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
	DeviceList(ctx context.Context, q console.Query) ([]console.Device, error)
	DeviceShow(ctx context.Context, name string) (console.Device, error)
	DeviceAdd(ctx context.Context, n console.NewDevice) error
	DeviceRemove(ctx context.Context, name string) error
	DeviceGrant(ctx context.Context, device, user string, until time.Time) error
	DeviceRevoke(ctx context.Context, device, user string) error
	AppList(ctx context.Context, q console.Query) ([]console.App, error)
	AppShow(ctx context.Context, name string) (console.App, error)
	AppAdd(ctx context.Context, n console.NewApp) error
	AppRemove(ctx context.Context, name string) error
	LoginList(ctx context.Context, q console.Query) ([]console.Login, error)
	LoginAdd(ctx context.Context, n console.NewLogin) error
	LoginRemove(ctx context.Context, user, device string) error
	Feed(ctx context.Context, since string, follow bool, out io.Writer) error
}

// desk is where a command does its work.
type desk struct {
	operations
	domains *wire.Domains
}

// account splits "alice", "alice@example.org" or "sip:alice@example.org". What is not ours is left for the desk to refuse.
func (d desk) account(name string) (user, domain string) {
	if u, err := wire.ParseURI(name); err == nil && u.IsSIP() {
		if aor, ours := d.domains.AOR(u); ours {
			return aor.User, aor.Host
		}
	}
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
		client := newControlClient(dir)
		if err := client.Ping(ctx); err == nil {
			return client, nil, nil
		}
		client.Close()
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

// openDesk opens what a server would, to work on it in its place.
func openDesk(ctx context.Context, c *config, domains *wire.Domains) (_ *console.Desk, closeDesk func(context.Context) error, err error) {
	var undo []func(context.Context) error
	closeDesk = func(ctx context.Context) (err error) {
		for _, fn := range slices.Backward(undo) {
			err = errors.Join(err, fn(ctx))
		}
		return err
	}
	db, err := database.Open(ctx, c.database)
	if err != nil {
		return nil, nil, err
	}
	undo = append(undo, func(context.Context) error { return db.Close() })
	d, err := furnish(ctx, c, domains, db, &undo)
	if err != nil {
		return nil, nil, errors.Join(err, closeDesk(ctx))
	}
	return d, closeDesk, nil
}

// furnish gives a desk all it needs of an open database, and notes how that is undone.
func furnish(ctx context.Context, c *config, domains *wire.Domains, db *database.DB, undo *[]func(context.Context) error) (*console.Desk, error) {
	users, err := db.Users(ctx)
	if err != nil {
		return nil, err
	}
	devices, err := db.Devices(ctx)
	if err != nil {
		return nil, err
	}
	key, err := db.Secret(ctx, routeSecret)
	if err != nil {
		return nil, err
	}
	gruus, err := gruu.New(key)
	if err != nil {
		return nil, err
	}
	journal, err := db.Journal(ctx, nil)
	if err != nil {
		return nil, err
	}
	*undo = append(*undo, journal.Close)
	var told changes
	told.add(phones{journal}.changed)
	told.add(feed{journal}.changed)
	bindings, err := location.Open(db.SQL(), location.Config{Volatile: c.volatile, Changed: told.changed})
	if err != nil {
		return nil, err
	}
	*undo = append(*undo, bindings.Close)
	var box policyBox
	box.now.Store(c.policyOrNone())
	logins, err := login.Open(login.Config{Store: devices, Bindings: bindings, Domains: domains, Policy: box.get, Changed: feed{journal}.loginEvent})
	if err != nil {
		return nil, err
	}
	told.add(logins.Bound)
	*undo = append(*undo, logins.Close)
	return &console.Desk{Users: users, Bindings: bindings, Devices: devices, Logins: logins, GRUU: gruus, Domains: domains, Events: journal, Phones: journal}, nil
}
