package console

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/gruu"
	"signalbox/internal/wire"
	"signalbox/location"
)

var (
	// ErrNotFound: there is no such user, registration or contact.
	ErrNotFound = errors.New("not found")
	// ErrExists: the user exists already.
	ErrExists = errors.New("exists already")
	// ErrInvalid: the request itself is wrong.
	ErrInvalid = errors.New("invalid")
)

// Users is what the desk needs of database.Users.
type Users interface {
	Get(name, domain string) (database.User, bool)
	Add(ctx context.Context, user database.User) error
	Set(ctx context.Context, user database.User) error
	Remove(ctx context.Context, name, domain string) error
	List(ctx context.Context) ([]database.User, error)
	Import(ctx context.Context, users iter.Seq2[database.User, error], progress func(done int)) (n int, err error)
}

// Bindings is what the desk needs of location.Service.
type Bindings interface {
	Lookup(aor wire.AOR) []location.Binding
	All(yield func(aor wire.AOR, b []location.Binding) bool)
	Change(aor wire.AOR, why location.Reason, fn func(now []location.Binding) ([]location.Binding, error), done func(after []location.Binding, err error))
}

// Desk is where people are served: the operations of the API on an open database. The server's Handler and the command line (when no server runs)
// call the same methods, so both answer alike. Safe for concurrent use.
type Desk struct {
	Users    Users
	Bindings Bindings
	Devices  Devices
	Phones   Phones // nil: only those that are registered are known
	Logins   Logins
	GRUU     *gruu.Maker // nil: applications are shown by owner and instance
	Domains  *wire.Domains
	Events   Events
}

// Account shows one user.
func (d *Desk) Account(_ context.Context, name string) (Account, error) {
	user, domain, err := d.split(name)
	if err != nil {
		return Account{}, err
	}
	u, ok := d.Users.Get(user, domain)
	if !ok {
		return Account{}, fmt.Errorf("user %s: %w", join(user, domain), ErrNotFound)
	}
	return d.account(u), nil
}

// Accounts lists the users, sorted by name.
func (d *Desk) Accounts(ctx context.Context) ([]Account, error) {
	users, err := d.Users.List(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Account, 0, len(users))
	for _, u := range users {
		list = append(list, d.account(u))
	}
	return list, nil
}

func (d *Desk) account(u database.User) Account {
	a := Account{
		User:     join(u.Name, u.Domain),
		Created:  time.Unix(u.Created, 0),
		Contacts: len(reachable(d.Bindings.Lookup(wire.AOR{User: u.Name, Host: u.Domain}))),
	}
	if u.SHA256 != "" {
		a.Algorithms = append(a.Algorithms, "SHA-256")
	}
	if u.MD5 != "" {
		a.Algorithms = append(a.Algorithms, "MD5")
	}
	return a
}

// Add makes a user; ErrExists if there is one.
func (d *Desk) Add(ctx context.Context, c Credentials) error {
	u, err := d.user(c)
	if err != nil {
		return err
	}
	return translate(u.Name, u.Domain, d.Users.Add(ctx, u))
}

// Set gives a user new credentials.
func (d *Desk) Set(ctx context.Context, c Credentials) error {
	u, err := d.user(c)
	if err != nil {
		return err
	}
	return translate(u.Name, u.Domain, d.Users.Set(ctx, u))
}

// Remove deletes a user, its logins, grants and registrations: who has no account is not called any more. A device is removed as one.
func (d *Desk) Remove(ctx context.Context, name string) error {
	user, domain, err := d.split(name)
	if err != nil {
		return err
	}
	aor := wire.AOR{User: user, Host: domain}
	if _, isDevice := d.Devices.Device(aor); isDevice {
		return d.DeviceRemove(ctx, name)
	}
	if err := translate(user, domain, d.Users.Remove(ctx, user, domain)); err != nil {
		return err
	}
	if err := d.deregister(ctx, name, "", location.Rejected); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return errors.Join(d.Logins.LogoutAll(ctx, aor), d.Devices.RevokeAll(ctx, aor), d.forget(ctx, aor, "", ""))
}

// translate puts the database's errors into words that name the user.
func translate(user, domain string, err error) error {
	switch {
	case errors.Is(err, database.ErrExists):
		return fmt.Errorf("user %s: %w", join(user, domain), ErrExists)
	case errors.Is(err, database.ErrNotFound):
		return fmt.Errorf("user %s: %w", join(user, domain), ErrNotFound)
	}
	return err
}

// Import adds or replaces users, all or none; progress is called now and then with the number done.
func (d *Desk) Import(ctx context.Context, list iter.Seq2[Credentials, error], progress func(done int)) (int, error) {
	users := func(yield func(database.User, error) bool) {
		for c, err := range list {
			var u database.User
			if err == nil {
				u, err = d.user(c)
			}
			if !yield(u, err) || err != nil {
				return
			}
		}
	}
	return d.Users.Import(ctx, users, progress)
}

// Registrations lists the addresses-of-record that are registered, sorted.
func (d *Desk) Registrations(context.Context) ([]Registration, error) {
	list := []Registration{}
	now := time.Now()
	d.Bindings.All(func(aor wire.AOR, b []location.Binding) bool {
		if b = reachable(b); len(b) > 0 {
			list = append(list, registrationOf(aor, b, now))
		}
		return true
	})
	slices.SortFunc(list, func(a, b Registration) int { return strings.Compare(a.AOR, b.AOR) })
	return list, nil
}

// Registration shows one address-of-record.
func (d *Desk) Registration(_ context.Context, name string) (Registration, error) {
	user, domain, err := d.split(name)
	if err != nil {
		return Registration{}, err
	}
	aor := wire.AOR{User: user, Host: domain}
	b := reachable(d.Bindings.Lookup(aor))
	if len(b) == 0 {
		return Registration{}, notRegistered(user, domain)
	}
	return registrationOf(aor, b, time.Now()), nil
}

// reachable leaves out the bindings whose connection is gone: they are kept for the phone's return only, and nothing is sent by them.
func reachable(all []location.Binding) []location.Binding {
	list := make([]location.Binding, 0, len(all))
	for i := range all {
		if all[i].Usable() {
			list = append(list, all[i])
		}
	}
	return list
}

func registrationOf(aor wire.AOR, b []location.Binding, now time.Time) Registration {
	r := Registration{AOR: aor.String(), Contacts: make([]Contact, 0, len(b))}
	for _, one := range b {
		r.Contacts = append(r.Contacts, contactOf(one, now))
	}
	return r
}

// Deregister removes one contact of an address-of-record, or all of them when contact is empty. It returns when that is on disk. The phone may register again: who is to
// stay away needs another password.
func (d *Desk) Deregister(ctx context.Context, name, contact string) error {
	return d.deregister(ctx, name, contact, location.Deactivated)
}

// deregister says why, for those who watch. RFC 3680, 4.7.1
func (d *Desk) deregister(ctx context.Context, name, contact string, why location.Reason) error {
	user, domain, err := d.split(name)
	if err != nil {
		return err
	}
	missing := notRegistered(user, domain)
	if contact != "" {
		missing = fmt.Errorf("contact %s of %s: %w", contact, join(user, domain), ErrNotFound)
	}
	done := make(chan error, 1)
	d.Bindings.Change(wire.AOR{User: user, Host: domain}, why, func(now []location.Binding) ([]location.Binding, error) {
		keep := []location.Binding{}
		for _, b := range now {
			if contact != "" && b.Contact.Raw != contact {
				keep = append(keep, b)
			}
		}
		if len(keep) == len(now) {
			return nil, missing
		}
		return keep, nil
	}, func(_ []location.Binding, err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Desk) user(c Credentials) (database.User, error) {
	user, domain, err := d.split(c.User)
	if err != nil {
		return database.User{}, err
	}
	u := database.User{
		Name: user, Domain: domain,
		MD5: strings.ToLower(c.MD5), SHA256: strings.ToLower(c.SHA256),
		Created: time.Now().Unix(),
	}
	if err := u.Validate(); err != nil {
		return u, &problem{err.Error(), ErrInvalid}
	}
	return u, nil
}

// problem is an error in words of its own, and of a kind: ErrNotFound, ErrInvalid ...
type problem struct {
	text string
	kind error
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }

func invalidf(format string, args ...any) error {
	return &problem{fmt.Sprintf(format, args...), ErrInvalid}
}

func notRegistered(user, domain string) error {
	return &problem{join(user, domain) + " is not registered", ErrNotFound}
}

// split takes "alice" (of the first domain), "alice@example.org" or "sip:alice@example.org". A user part may itself hold an @.
func (d *Desk) split(name string) (user, domain string, err error) {
	if strings.HasPrefix(name, "sip:") || strings.HasPrefix(name, "sips:") {
		u, err := wire.ParseURI(name)
		if err != nil {
			return "", "", invalidf("%s: %v", name, err)
		}
		if aor, ok := d.Domains.AOR(u); ok && aor.User != "" {
			return aor.User, aor.Host, nil
		}
		return "", "", invalidf("%s is not an address of this server", name)
	}
	user, domain = name, d.Domains.Primary()
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		host := name[at+1:]
		ours, ok := d.Domains.Domain(host)
		if !ok {
			return "", "", invalidf("%s is not a domain of this server", host)
		}
		user, domain = name[:at], ours
	}
	if user == "" {
		return "", "", invalidf("%q names no user", name)
	}
	return user, domain, nil
}

func join(user, domain string) string { return user + "@" + domain }
