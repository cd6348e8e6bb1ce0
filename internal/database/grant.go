package database

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"signalbox/internal/wire"
)

// Grant lets a device log a user in without the user's password.
type Grant struct {
	Device, User wire.AOR
	Until        int64 // Unix seconds, 0 for ever
}

// Grant adds a grant, or changes its end.
func (d *Devices) Grant(ctx context.Context, g Grant) error {
	d.change.Lock()
	defer d.change.Unlock()
	p := pair{cloneAOR(g.User), cloneAOR(g.Device)}
	d.mu.RLock()
	_, known := d.all[g.Device]
	_, old := d.grants[p]
	full := len(d.grants) >= MaxGrants && !old
	d.mu.RUnlock()
	switch {
	case !known || !isName(g.User):
		return ErrNotFound
	case full:
		return ErrFull
	}
	err := d.exec(ctx, `INSERT INTO login_grant (device, device_domain, user, user_domain, until) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET until = excluded.until`, g.Device.User, g.Device.Host, g.User.User, g.User.Host, g.Until)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.grants[p] = g.Until
	d.mu.Unlock()
	return nil
}

// Revoke removes a grant; ErrNotFound if there is none. A login that it allowed goes on: end it too.
func (d *Devices) Revoke(ctx context.Context, device, user wire.AOR) error {
	d.change.Lock()
	defer d.change.Unlock()
	d.mu.RLock()
	_, ok := d.grants[pair{user, device}]
	d.mu.RUnlock()
	if !ok {
		return ErrNotFound
	}
	err := d.exec(ctx, "DELETE FROM login_grant WHERE device = ? AND device_domain = ? AND user = ? AND user_domain = ?", device.User, device.Host, user.User, user.Host)
	if err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.grants, pair{user, device})
	d.mu.Unlock()
	return nil
}

// RevokeAll removes all grants of a user who is no more: another one who gets the name must not inherit them.
func (d *Devices) RevokeAll(ctx context.Context, user wire.AOR) error {
	d.change.Lock()
	defer d.change.Unlock()
	if err := d.exec(ctx, "DELETE FROM login_grant WHERE user = ? AND user_domain = ?", user.User, user.Host); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.grants {
		if p.user == user {
			delete(d.grants, p)
		}
	}
	return nil
}

// Granted tells whether a device may log a user in.
func (d *Devices) Granted(device, user wire.AOR, now time.Time) bool {
	d.mu.RLock()
	until, ok := d.grants[pair{user, device}]
	d.mu.RUnlock()
	return ok && (until == 0 || now.Unix() < until)
}

// Grants lists those of a device by user.
func (d *Devices) Grants(device wire.AOR) []Grant {
	var list []Grant
	d.mu.RLock()
	for p, until := range d.grants {
		if p.device == device {
			list = append(list, Grant{device, p.user, until})
		}
	}
	d.mu.RUnlock()
	slices.SortFunc(list, func(a, b Grant) int { return compareAOR(a.User, b.User) })
	return list
}

func (db *DB) readGrants(ctx context.Context, to *Devices) error {
	return db.each(ctx, "SELECT device, device_domain, user, user_domain, until FROM login_grant", func(rows *sql.Rows) error {
		var p pair
		var until int64
		if err := rows.Scan(&p.device.User, &p.device.Host, &p.user.User, &p.user.Host, &until); err != nil {
			return err
		}
		to.grants[p] = until
		return nil
	})
}
