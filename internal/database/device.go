package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/internal/wire"
)

// Device is a device that somebody added. It registers with its own address-of-record.
type Device struct {
	AOR         wire.AOR
	Kind        string
	Instance    string // +sip.instance; "" until its first registration
	Certificate string // see ByCA; "" for a password
	Created     int64  // Unix seconds
}

// ByCA in Device.Certificate: any certificate of the client CA that has the device's address as its URI. Otherwise it is the SHA-256
// fingerprint of the one certificate, in lower-case hex.
const ByCA = "ca"

var (
	ErrInstance    = errors.New("database: another device has this instance")
	ErrCertificate = errors.New("database: another device has this certificate")
	ErrFull        = errors.New("database: the table is full")
)

// Validate tells what is wrong with the device.
func (d Device) Validate() error {
	switch {
	case !isName(d.AOR):
		return fmt.Errorf("%q is not the address of a device", d.AOR)
	case d.Kind == "" || len(d.Kind) > maxKind || !printable(d.Kind):
		return fmt.Errorf("the kind of device is 1 to %d printable bytes", maxKind)
	case len(d.Instance) > maxInstance || !printable(d.Instance):
		return fmt.Errorf("the instance is more than %d bytes, or cannot be printed", maxInstance)
	case d.Certificate != "" && d.Certificate != ByCA && !isHash(d.Certificate, sha256Hex/2):
		return errors.New("the certificate is not a SHA-256 fingerprint of 64 lower-case hex digits")
	}
	return nil
}

func isName(a wire.AOR) bool {
	return a.User != "" && len(a.User) <= MaxName && printable(a.User) && a.Host != "" && len(a.Host) <= MaxDomain
}

// Devices keeps devices, grants and logins in memory; reading allocates little and never waits for the disk.
type Devices struct {
	db     *DB        // nil: nothing is stored
	change sync.Mutex // held from the write to the file until memory shows it
	some   atomic.Bool

	mu         sync.RWMutex // held for a moment only
	all        map[wire.AOR]Device
	byInstance map[string]wire.AOR
	byCert     map[string]wire.AOR // by fingerprint
	grants     map[pair]int64      // until
	logins     map[pair]Login
	ofUser     map[wire.AOR][]wire.AOR // user -> devices
	ofDevice   map[wire.AOR][]wire.AOR // device -> users
}

// pair is a user on a device.
type pair struct{ user, device wire.AOR }

// Devices loads devices, grants and logins.
func (db *DB) Devices(ctx context.Context) (*Devices, error) {
	d := NewDevices()
	d.db = db
	if err := d.Reload(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// NewDevices keeps everything in memory only.
func NewDevices() *Devices {
	d := &Devices{}
	d.clear()
	return d
}

func (d *Devices) clear() {
	d.all, d.byInstance, d.byCert = make(map[wire.AOR]Device), make(map[string]wire.AOR), make(map[string]wire.AOR)
	d.grants, d.logins = make(map[pair]int64), make(map[pair]Login)
	d.ofUser, d.ofDevice = make(map[wire.AOR][]wire.AOR), make(map[wire.AOR][]wire.AOR)
}

// Reload reads everything again: another process has changed it.
func (d *Devices) Reload(ctx context.Context) error {
	if d.db == nil {
		return nil
	}
	d.change.Lock()
	defer d.change.Unlock()
	fresh := NewDevices()
	for _, read := range []func(context.Context, *Devices) error{d.db.readDevices, d.db.readGrants, d.db.readLogins} {
		if err := read(ctx, fresh); err != nil {
			return explain(d.db.path, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all, d.byInstance, d.byCert, d.grants, d.logins, d.ofUser, d.ofDevice = fresh.all, fresh.byInstance, fresh.byCert, fresh.grants, fresh.logins, fresh.ofUser, fresh.ofDevice
	d.some.Store(len(d.all) > 0)
	return nil
}

func (db *DB) readDevices(ctx context.Context, to *Devices) error {
	return db.each(ctx, "SELECT name, domain, kind, instance, certificate, created FROM device", func(rows *sql.Rows) error {
		var one Device
		if err := rows.Scan(&one.AOR.User, &one.AOR.Host, &one.Kind, &one.Instance, &one.Certificate, &one.Created); err != nil {
			return err
		}
		to.put(one)
		return one.Validate()
	})
}

// each calls fn for every row of a query.
func (db *DB) each(ctx context.Context, query string, fn func(*sql.Rows) error, args ...any) error {
	rows, err := db.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Any tells whether there are devices at all: where there are none, nothing else need be asked.
func (d *Devices) Any() bool { return d.some.Load() }

// Device returns the device with that address.
func (d *Devices) Device(aor wire.AOR) (Device, bool) {
	if !d.some.Load() {
		return Device{}, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	one, ok := d.all[aor]
	return one, ok
}

// ByInstance returns the device whose instance that is.
func (d *Devices) ByInstance(instance string) (Device, bool) {
	if !d.some.Load() || instance == "" {
		return Device{}, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	aor, ok := d.byInstance[instance]
	return d.all[aor], ok
}

// ByCertificate returns the device whose client certificate has this fingerprint.
func (d *Devices) ByCertificate(fingerprint string) (Device, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	aor, ok := d.byCert[fingerprint]
	return d.all[aor], ok
}

// Devices lists them by domain and name.
func (d *Devices) Devices() []Device {
	d.mu.RLock()
	list := make([]Device, 0, len(d.all))
	for _, one := range d.all {
		list = append(list, one)
	}
	d.mu.RUnlock()
	slices.SortFunc(list, func(a, b Device) int { return compareAOR(a.AOR, b.AOR) })
	return list
}

func compareAOR(a, b wire.AOR) int {
	return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.User, b.User))
}

// Add writes a new device; ErrExists, or ErrInstance when another has its instance.
func (d *Devices) Add(ctx context.Context, one Device) error {
	if one.Created == 0 {
		one.Created = time.Now().Unix()
	}
	if err := one.Validate(); err != nil {
		return err
	}
	d.change.Lock()
	defer d.change.Unlock()
	d.mu.RLock()
	_, exists := d.all[one.AOR]
	_, taken := d.byInstance[one.Instance]
	_, certified := d.byCert[one.Certificate]
	full := len(d.all) >= MaxDevices
	d.mu.RUnlock()
	switch {
	case exists:
		return ErrExists
	case taken && one.Instance != "":
		return ErrInstance
	case certified && one.Certificate != ByCA:
		return ErrCertificate
	case full:
		return ErrFull
	}
	err := d.exec(ctx, "INSERT INTO device (name, domain, kind, instance, certificate, created) VALUES (?, ?, ?, ?, ?, ?)",
		one.AOR.User, one.AOR.Host, one.Kind, one.Instance, one.Certificate, one.Created)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.put(one)
	d.mu.Unlock()
	return nil
}

// Pin notes the instance that a device registered with first. Whoever comes first has it: ErrInstance.
func (d *Devices) Pin(ctx context.Context, aor wire.AOR, instance string) error {
	d.change.Lock()
	defer d.change.Unlock()
	d.mu.RLock()
	one, ok := d.all[aor]
	_, taken := d.byInstance[instance]
	d.mu.RUnlock()
	switch {
	case !ok:
		return ErrNotFound
	case taken || one.Instance != "":
		return ErrInstance
	}
	one.Instance = strings.Clone(instance)
	if err := one.Validate(); err != nil {
		return err
	}
	if err := d.exec(ctx, "UPDATE device SET instance = ? WHERE name = ? AND domain = ?", one.Instance, aor.User, aor.Host); err != nil {
		return err
	}
	d.mu.Lock()
	d.put(one)
	d.mu.Unlock()
	return nil
}

// Remove deletes a device, its grants and its logins; ErrNotFound if there is none.
func (d *Devices) Remove(ctx context.Context, aor wire.AOR) error {
	d.change.Lock()
	defer d.change.Unlock()
	d.mu.RLock()
	one, ok := d.all[aor]
	d.mu.RUnlock()
	if !ok {
		return ErrNotFound
	}
	err := d.transact(ctx, func(exec execer) error {
		for _, query := range []string{"DELETE FROM device WHERE name = ? AND domain = ?", "DELETE FROM login_grant WHERE device = ? AND device_domain = ?",
			"DELETE FROM login WHERE device = ? AND device_domain = ?"} {
			if err := exec(query, aor.User, aor.Host); err != nil {
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
	delete(d.all, aor)
	delete(d.byInstance, one.Instance)
	delete(d.byCert, one.Certificate)
	for _, user := range slices.Clone(d.ofDevice[aor]) {
		d.dropLogin(pair{user, aor})
	}
	for p := range d.grants {
		if p.device == aor {
			delete(d.grants, p)
		}
	}
	d.some.Store(len(d.all) > 0)
	return nil
}

// put changes memory. The caller holds mu, or nobody else sees d yet.
func (d *Devices) put(one Device) {
	one.AOR = cloneAOR(one.AOR)
	d.all[one.AOR] = one
	if one.Instance != "" {
		d.byInstance[one.Instance] = one.AOR
	}
	if one.Certificate != "" && one.Certificate != ByCA {
		d.byCert[one.Certificate] = one.AOR
	}
	d.some.Store(true)
}

// cloneAOR copies the strings, which may be parts of a message.
func cloneAOR(a wire.AOR) wire.AOR {
	return wire.AOR{User: strings.Clone(a.User), Host: strings.Clone(a.Host)}
}

// execer runs one statement of a transaction.
type execer func(query string, args ...any) error

func (d *Devices) exec(ctx context.Context, query string, args ...any) error {
	if d.db == nil {
		return nil
	}
	if _, err := d.db.writer.ExecContext(ctx, query, args...); err != nil {
		return explain(d.db.path, err)
	}
	return nil
}

// transact runs fn in one transaction, all or nothing.
func (d *Devices) transact(ctx context.Context, fn func(execer) error) error {
	if d.db == nil {
		return nil
	}
	tx, err := d.db.writer.BeginTx(ctx, nil)
	if err != nil {
		return explain(d.db.path, err)
	}
	defer tx.Rollback()
	err = fn(func(query string, args ...any) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return explain(d.db.path, err)
	}
	return nil
}
