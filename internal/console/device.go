package console

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

// Devices is what the desk needs of database.Devices.
type Devices interface {
	Device(aor wire.AOR) (database.Device, bool)
	Devices() []database.Device
	Add(ctx context.Context, d database.Device) error
	Remove(ctx context.Context, aor wire.AOR) error
	Grant(ctx context.Context, g database.Grant) error
	Revoke(ctx context.Context, device, user wire.AOR) error
	RevokeAll(ctx context.Context, user wire.AOR) error
	Grants(device wire.AOR) []database.Grant
	Login(user, device wire.AOR) (database.Login, bool)
	Logins() []database.Login
	OfDevice(device wire.AOR) []database.Login
}

// Phones is what the desk needs of the phones that nobody added: database.Journal.
type Phones interface {
	Phones(ctx context.Context, of wire.AOR) ([]database.Phone, error)
	Forget(ctx context.Context, of wire.AOR, instance, contact string) error
}

// Device is a device as it is listed: GET /v1/devices. One that somebody added is named by its address; a plain phone, which its first REGISTER made a device, by
// the address of its user, a slash and its instance (or its contact, when it has none).
type Device struct {
	Device      string     `json:"device"`
	Kind        string     `json:"kind"`
	Added       bool       `json:"added"` // by somebody; else it is a phone that registered
	Instance    string     `json:"instance,omitempty"`
	Certificate string     `json:"certificate,omitempty"` // "ca", or the SHA-256 fingerprint
	Online      bool       `json:"online"`
	Since       *time.Time `json:"since,omitempty"` // it is online, or offline; left out where that is not known
	First       *time.Time `json:"first,omitempty"` // registration ever, of a plain phone
	Transport   string     `json:"transport,omitempty"`
	Source      string     `json:"source,omitempty"` // where it is, or was last
	UserAgent   string     `json:"user_agent,omitempty"`
	Users       []string   `json:"users"`
	Grants      []Grant    `json:"grants,omitempty"`
	Contacts    []Contact  `json:"contacts,omitempty"`
}

// Grant lets a device log a user in.
type Grant struct {
	User  string     `json:"user"`
	Until *time.Time `json:"until,omitempty"`
}

// NewDevice adds a device: POST /v1/devices. It has a certificate, or HA1 values of its password.
type NewDevice struct {
	Device      string `json:"device"`
	Kind        string `json:"kind"`
	Instance    string `json:"instance,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	MD5         string `json:"ha1,omitempty"`
	SHA256      string `json:"ha1_sha256,omitempty"`
}

// Query chooses devices, applications and logins: all that is given must hold.
type Query struct {
	User       string // who is logged in
	Device     string // the device's name
	Capability string // a feature tag: video, or +sip.message="x" with a value
	Address    string // an IP address or network it comes from
}

// filter is a query that was read.
type filter struct {
	user, device wire.AOR
	implicit     string // device as it was written
	capability   string
	address      netip.Prefix
}

func (d *Desk) filter(q Query) (f filter, err error) {
	f.capability = q.Capability
	if q.User != "" {
		if f.user.User, f.user.Host, err = d.split(q.User); err != nil {
			return f, err
		}
	}
	owner, phone, isPhone := cutPhone(q.Device)
	if f.implicit = q.Device; q.Device != "" {
		if f.device.User, f.device.Host, err = d.split(owner); err != nil {
			return f, err
		}
	}
	if isPhone {
		f.implicit, f.device = join(f.device.User, f.device.Host)+"/"+phone, wire.AOR{}
	}
	if q.Address != "" {
		if f.address, err = netip.ParsePrefix(q.Address); err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(q.Address); err == nil {
				f.address = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
			}
		}
		if err != nil {
			return f, invalidf("%s is not an address or network", q.Address)
		}
	}
	return f, nil
}

// from tells whether one of the bindings comes from the address that is asked for.
func (f *filter) from(bindings []location.Binding) bool {
	return !f.address.IsValid() || slices.ContainsFunc(bindings, func(b location.Binding) bool { return f.address.Contains(b.Flow.Remote.Addr().Unmap()) })
}

// can tells whether one of the bindings has the capability that is asked for.
func (f *filter) can(bindings []location.Binding) bool {
	return f.capability == "" || slices.ContainsFunc(bindings, func(b location.Binding) bool { return hasCapability(capabilities(b.Params), f.capability) })
}

// cutPhone cuts the name of a plain phone into the address of its user and what the phone is known by.
func cutPhone(name string) (owner, phone string, ok bool) {
	at := max(0, strings.IndexByte(name, '@'))
	slash := strings.IndexByte(name[at:], '/')
	if short := strings.IndexByte(name, '/'); short >= 0 && (short < at || slash < 0) {
		at, slash = 0, short // alice/sip:alice@192.0.2.1
	}
	if slash < 0 {
		return name, "", false
	}
	return name[:at+slash], name[at+slash+1:], true
}

// DeviceList lists devices: those that somebody added, by name, and then plain phones.
func (d *Desk) DeviceList(ctx context.Context, q Query) ([]Device, error) {
	f, err := d.filter(q)
	if err != nil {
		return nil, err
	}
	known, err := d.remembered(ctx, &f)
	if err != nil {
		return nil, err
	}
	list := []Device{}
	for _, one := range d.Devices.Devices() {
		bindings := d.Bindings.Lookup(one.AOR)
		wanted := (f.implicit == "" || f.device == one.AOR) && f.from(bindings) && f.can(bindings)
		if f.user != (wire.AOR{}) && wanted {
			_, wanted = d.Devices.Login(f.user, one.AOR)
		}
		if wanted {
			if f.user != (wire.AOR{}) {
				if err := d.remember(ctx, known, one.AOR); err != nil {
					return nil, err
				}
			}
			v := d.device(one, bindings)
			known.complete(&v, one.AOR, one.Instance)
			list = append(list, v)
		}
	}
	added := len(list)
	d.Bindings.All(func(aor wire.AOR, all []location.Binding) bool {
		if _, isDevice := d.Devices.Device(aor); isDevice || f.user != (wire.AOR{}) && f.user != aor {
			return true
		}
		for _, bindings := range phones(all) {
			one := phone(aor, bindings)
			known.complete(&one, aor, bindings[0].InstanceID)
			if f.names(one.Device, aor) && f.from(bindings) && f.can(bindings) {
				list = append(list, one)
			}
		}
		return true
	})
	if f.capability == "" && !f.address.IsValid() { // of what is not there nothing is known
		list = append(list, known.absent(d, &f)...)
	}
	slices.SortStableFunc(list[added:], func(a, b Device) int { return strings.Compare(a.Device, b.Device) })
	return list, nil
}

// DeviceShow shows one device.
func (d *Desk) DeviceShow(ctx context.Context, name string) (Device, error) {
	list, err := d.DeviceList(ctx, Query{Device: name})
	if err != nil {
		return Device{}, err
	}
	switch {
	case len(list) == 0:
		return Device{}, fmt.Errorf("device %s: %w", name, ErrNotFound)
	case len(list) > 1 && !list[0].Added:
		return Device{}, invalidf("%s has %d devices: name one of them, such as %s", name, len(list), list[0].Device)
	}
	return list[0], nil
}

// device is a device that somebody added.
func (d *Desk) device(one database.Device, bindings []location.Binding) Device {
	v := Device{Device: join(one.AOR.User, one.AOR.Host), Kind: one.Kind, Added: true, Instance: one.Instance, Certificate: one.Certificate, Users: []string{}}
	v.present(bindings)
	for _, l := range d.Devices.OfDevice(one.AOR) {
		v.Users = append(v.Users, join(l.User.User, l.User.Host))
	}
	for _, g := range d.Devices.Grants(one.AOR) {
		grant := Grant{User: join(g.User.User, g.User.Host)}
		if g.Until != 0 {
			until := time.Unix(g.Until, 0)
			grant.Until = &until
		}
		v.Grants = append(v.Grants, grant)
	}
	return v
}

// phones groups bindings of a user by instance, leaving out those on devices that somebody added.
func phones(all []location.Binding) (list [][]location.Binding) {
	for i, b := range all {
		if b.Device != (wire.AOR{}) {
			continue
		}
		at := slices.IndexFunc(list, func(bs []location.Binding) bool { return b.InstanceID != "" && bs[0].InstanceID == b.InstanceID })
		if at < 0 {
			list = append(list, all[i:i+1:i+1])
		} else {
			list[at] = append(list[at], b)
		}
	}
	return list
}

// phone is a device that nobody added: a plain softphone.
func phone(aor wire.AOR, bindings []location.Binding) Device {
	user := join(aor.User, aor.Host)
	v := Device{Device: phoneName(aor, &bindings[0]), Kind: policy.PhoneKind, Instance: bindings[0].InstanceID, Users: []string{user}}
	v.present(bindings)
	return v
}

func phoneName(aor wire.AOR, b *location.Binding) string {
	return join(aor.User, aor.Host) + "/" + phoneID(b.InstanceID, b.Contact.Raw)
}

// present says where a device is.
func (v *Device) present(bindings []location.Binding) {
	now := time.Now()
	for _, b := range bindings {
		v.Contacts = append(v.Contacts, contactOf(b, now))
		switch since := b.Created; {
		case b.Usable() && (!v.Online || since.Before(*v.Since)):
			v.Online, v.Since, v.Transport, v.Source, v.UserAgent = true, &since, b.Flow.Proto.String(), sourceOf(b), b.UserAgent
		case !v.Online && !b.Usable() && (v.Since == nil || b.Lost.After(*v.Since)): // its connection broke
			v.Since, v.Transport, v.Source, v.UserAgent = &b.Lost, b.Flow.Proto.String(), sourceOf(b), b.UserAgent
		}
	}
}

// DeviceAdd adds a device, and the account of its password if it has one.
func (d *Desk) DeviceAdd(ctx context.Context, n NewDevice) error {
	user, domain, err := d.split(n.Device)
	if err != nil {
		return err
	}
	if strings.Contains(user, "/") {
		return invalidf("device %s: a slash stands in the names of plain phones only", n.Device)
	}
	one := database.Device{AOR: wire.AOR{User: user, Host: domain}, Kind: n.Kind, Instance: canonicalInstance(n.Instance), Certificate: strings.ToLower(n.Certificate)}
	if n.Instance != "" && !isURN(n.Instance) {
		return invalidf("instance %q: want a URN, such as urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", n.Instance)
	}
	if err := one.Validate(); err != nil {
		return &problem{err.Error(), ErrInvalid}
	}
	if (n.MD5 == "" && n.SHA256 == "") == (n.Certificate == "") {
		return invalidf("device %s needs either a certificate or a password", n.Device)
	}
	if n.Certificate == "" {
		if err := d.Add(ctx, Credentials{User: n.Device, MD5: n.MD5, SHA256: n.SHA256}); err != nil {
			return err
		}
	} else if _, taken := d.Users.Get(user, domain); taken {
		return fmt.Errorf("user %s: %w", join(user, domain), ErrExists)
	}
	err = d.Devices.Add(ctx, one)
	if err != nil && n.Certificate == "" {
		err = errors.Join(err, d.Users.Remove(ctx, user, domain))
	}
	switch {
	case errors.Is(err, database.ErrExists):
		return fmt.Errorf("device %s: %w", join(user, domain), ErrExists)
	case errors.Is(err, database.ErrInstance), errors.Is(err, database.ErrCertificate):
		return fmt.Errorf("device %s: %w: %w", join(user, domain), ErrExists, err)
	}
	return err
}

// canonicalInstance is the form in which instances are compared: as phones write a UUID in +sip.instance (RFC 5626, 4.1).
func canonicalInstance(s string) string {
	if s != "" && !strings.HasPrefix(s, "<") {
		s = "<" + s + ">"
	}
	if uuid := "<urn:uuid:"; len(s) > len(uuid) && strings.EqualFold(s[:len(uuid)], uuid) {
		return strings.ToLower(s)
	}
	return s
}

// isURN tells whether an instance is written as RFC 5626, 4.1 has it: a URN, in angle brackets or not.
func isURN(s string) bool {
	name, found := strings.CutPrefix(strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")), "urn:")
	return found && name != "" && !strings.ContainsAny(name, " \"<>\\")
}

// DeviceRemove deletes a device that somebody added: its users are logged out, its registration, grants and account are gone. A plain phone loses its
// registration and is forgotten; if it registers again it is a new one.
func (d *Desk) DeviceRemove(ctx context.Context, name string) error {
	one, err := d.DeviceShow(ctx, name)
	if err != nil {
		return err
	}
	if !one.Added {
		return d.phoneRemove(ctx, one)
	}
	user, domain, err := d.split(one.Device)
	if err != nil {
		return err
	}
	aor := wire.AOR{User: user, Host: domain}
	if err := d.Logins.LogoutAll(ctx, aor); err != nil {
		return err
	}
	if err := d.Devices.Remove(ctx, aor); err != nil {
		return err
	}
	if err := d.Users.Remove(ctx, user, domain); err != nil && !errors.Is(err, database.ErrNotFound) {
		return err
	}
	if err := d.deregister(ctx, one.Device, "", location.Rejected); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return d.forget(ctx, aor, "", "")
}

// takeAway removes some bindings of an address-of-record, whose phones shall not come back: missing is the error if there are none.
func (d *Desk) takeAway(ctx context.Context, owner string, some func(*location.Binding) bool, missing error) error {
	user, domain, err := d.split(owner)
	if err != nil {
		return err
	}
	return d.change(ctx, wire.AOR{User: user, Host: domain}, location.Rejected, func(now []location.Binding) ([]location.Binding, error) {
		keep := []location.Binding{}
		for i := range now {
			if !some(&now[i]) {
				keep = append(keep, now[i])
			}
		}
		if len(keep) == len(now) {
			return nil, missing
		}
		return keep, nil
	})
}

// change changes bindings and returns when that is on disk.
func (d *Desk) change(ctx context.Context, aor wire.AOR, why location.Reason, fn func(now []location.Binding) ([]location.Binding, error)) error {
	done := make(chan error, 1)
	d.Bindings.Change(aor, why, fn, func(_ []location.Binding, err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// DeviceGrant lets a device log a user in, until a time if it is not zero.
func (d *Desk) DeviceGrant(ctx context.Context, device, user string, until time.Time) error {
	g, err := d.grant(device, user)
	if err != nil {
		return err
	}
	if _, ok := d.Users.Get(g.User.User, g.User.Host); !ok {
		return fmt.Errorf("user %s: %w", join(g.User.User, g.User.Host), ErrNotFound)
	}
	if !until.IsZero() {
		if !until.After(time.Now()) {
			return invalidf("the grant would end at %s, which has passed", until.Format(time.RFC3339))
		}
		g.Until = until.Unix()
	}
	err = d.Devices.Grant(ctx, g)
	if errors.Is(err, database.ErrNotFound) {
		return fmt.Errorf("device %s: %w", device, ErrNotFound)
	}
	return err
}

// DeviceRevoke takes a grant back, and ends the login that it allowed.
func (d *Desk) DeviceRevoke(ctx context.Context, device, user string) error {
	g, err := d.grant(device, user)
	if err != nil {
		return err
	}
	err = d.Devices.Revoke(ctx, g.Device, g.User)
	if errors.Is(err, database.ErrNotFound) {
		return fmt.Errorf("grant of %s to %s: %w", user, device, ErrNotFound)
	}
	if l, ok := d.Devices.Login(g.User, g.Device); err == nil && ok && l.Method == policy.ByDevice.String() {
		return d.Logins.Logout(ctx, g.User, g.Device)
	}
	return err
}

func (d *Desk) grant(device, user string) (g database.Grant, err error) {
	if g.Device.User, g.Device.Host, err = d.split(device); err != nil {
		return g, err
	}
	g.User.User, g.User.Host, err = d.split(user)
	return g, err
}
