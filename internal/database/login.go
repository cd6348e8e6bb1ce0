package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"signalbox/internal/wire"
)

// Login is a user on a device.
type Login struct {
	User, Device wire.AOR
	Method       string    // own, device, admin
	Start        time.Time // in the future when scheduled
	End          time.Time // zero for ever
}

// Validate tells what is wrong with the login.
func (l Login) Validate() error {
	switch {
	case !isName(l.User) || !isName(l.Device) || l.Method == "" || l.Start.IsZero():
		return errors.New("database: a login needs user, device, method and start")
	case !l.End.IsZero() && !l.End.After(l.Start):
		return fmt.Errorf("database: the login ends at %s, not after its start", l.End.Format(time.RFC3339))
	}
	return nil
}

// Login returns the login of a user on a device.
func (d *Devices) Login(user, device wire.AOR) (Login, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	l, ok := d.logins[pair{user, device}]
	return l, ok
}

// OfUser returns the logins of a user, the oldest first.
func (d *Devices) OfUser(user wire.AOR) []Login {
	return d.collect(func() (list []Login) {
		for _, device := range d.ofUser[user] {
			list = append(list, d.logins[pair{user, device}])
		}
		return list
	})
}

// OfDevice returns the logins on a device, the oldest first.
func (d *Devices) OfDevice(device wire.AOR) []Login {
	return d.collect(func() (list []Login) {
		for _, user := range d.ofDevice[device] {
			list = append(list, d.logins[pair{user, device}])
		}
		return list
	})
}

// Logins returns all, the oldest first.
func (d *Devices) Logins() []Login {
	return d.collect(func() []Login {
		list := make([]Login, 0, len(d.logins))
		for _, l := range d.logins {
			list = append(list, l)
		}
		return list
	})
}

func (d *Devices) collect(fn func() []Login) []Login {
	if !d.some.Load() {
		return nil
	}
	d.mu.RLock()
	list := fn()
	d.mu.RUnlock()
	slices.SortFunc(list, func(a, b Login) int {
		return cmp.Or(a.Start.Compare(b.Start), compareAOR(a.User, b.User), compareAOR(a.Device, b.Device))
	})
	return list
}

// WriteLogins adds or replaces logins and deletes others, all or none.
func (d *Devices) WriteLogins(ctx context.Context, put, drop []Login) error {
	for _, l := range put {
		if err := l.Validate(); err != nil {
			return err
		}
	}
	d.change.Lock()
	defer d.change.Unlock()
	d.mu.RLock()
	full := len(d.logins)+len(put) > MaxLogins
	d.mu.RUnlock()
	if full && len(put) > 0 {
		return ErrFull
	}
	err := d.transact(ctx, func(exec execer) error {
		for _, l := range put {
			if err := exec(`INSERT INTO login (user, user_domain, device, device_domain, method, start, stop) VALUES (?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET method = excluded.method, start = excluded.start, stop = excluded.stop`,
				l.User.User, l.User.Host, l.Device.User, l.Device.Host, l.Method, l.Start.Unix(), unix(l.End)); err != nil {
				return err
			}
		}
		for _, l := range drop {
			if err := exec("DELETE FROM login WHERE user = ? AND user_domain = ? AND device = ? AND device_domain = ?",
				l.User.User, l.User.Host, l.Device.User, l.Device.Host); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range put {
		d.putLogin(l)
	}
	for _, l := range drop {
		d.dropLogin(pair{l.User, l.Device})
	}
	return nil
}

func (d *Devices) putLogin(l Login) {
	l.User, l.Device = cloneAOR(l.User), cloneAOR(l.Device)
	p := pair{l.User, l.Device}
	if _, old := d.logins[p]; !old {
		d.ofUser[l.User] = append(d.ofUser[l.User], l.Device)
		d.ofDevice[l.Device] = append(d.ofDevice[l.Device], l.User)
	}
	d.logins[p] = l
}

func (d *Devices) dropLogin(p pair) {
	delete(d.logins, p)
	remove(d.ofUser, p.user, p.device)
	remove(d.ofDevice, p.device, p.user)
}

func remove(m map[wire.AOR][]wire.AOR, key, value wire.AOR) {
	rest := slices.DeleteFunc(m[key], func(a wire.AOR) bool { return a == value })
	if m[key] = rest; len(rest) == 0 {
		delete(m, key)
	}
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func (db *DB) readLogins(ctx context.Context, to *Devices) error {
	return db.each(ctx, "SELECT user, user_domain, device, device_domain, method, start, stop FROM login", func(rows *sql.Rows) error {
		var l Login
		var start, stop int64
		if err := rows.Scan(&l.User.User, &l.User.Host, &l.Device.User, &l.Device.Host, &l.Method, &start, &stop); err != nil {
			return err
		}
		l.Start = time.Unix(start, 0)
		if stop != 0 {
			l.End = time.Unix(stop, 0)
		}
		to.putLogin(l)
		return l.Validate()
	})
}
