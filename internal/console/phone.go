package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

// names tells whether a plain phone is the device that is asked for, or one of the user who is.
func (f *filter) names(device string, owner wire.AOR) bool {
	return f.implicit == "" || f.implicit == device || f.device == owner
}

// memory is what the database knows of phones, by the address that they register.
type memory map[wire.AOR][]database.Phone

// remembered reads what a query asks for: an address, or all.
func (d *Desk) remembered(ctx context.Context, f *filter) (memory, error) {
	of := cmp.Or(f.device, f.user)
	if owner, _, isPhone := cutPhone(f.implicit); isPhone {
		var err error
		if of.User, of.Host, err = d.split(owner); err != nil {
			return nil, err
		}
	}
	m := make(memory)
	return m, d.remember(ctx, m, of)
}

// remember adds the phones of an address to the memory.
func (d *Desk) remember(ctx context.Context, m memory, of wire.AOR) error {
	if _, known := m[of]; known || d.Phones == nil {
		return nil
	}
	list, err := d.Phones.Phones(ctx, of)
	for _, p := range list {
		m[p.AOR] = append(m[p.AOR], p)
	}
	return err
}

// complete adds what is remembered of a device to what its bindings tell, and takes it from the memory: what is left there is absent.
func (m memory) complete(v *Device, of wire.AOR, instance string) {
	i := slices.IndexFunc(m[of], func(p database.Phone) bool {
		return p.Instance == instance && (instance != "" || v.Added || phoneID(p.Instance, p.Contact) == v.Device[len(join(of.User, of.Host))+1:])
	})
	if i < 0 {
		return
	}
	p := m[of][i]
	m[of] = slices.Delete(m[of], i, i+1)
	if !v.Added {
		v.First = &p.First
	}
	if len(v.Contacts) == 0 {
		v.last(&p)
	}
}

// forget takes an instance that is registered from the memory.
func (m memory) forget(of wire.AOR, instance string) {
	if phones, known := m[of]; known && instance != "" {
		m[of] = slices.DeleteFunc(phones, func(p database.Phone) bool { return p.Instance == instance })
	}
}

// absent are the plain phones that are not registered.
func (m memory) absent(d *Desk, f *filter) (list []Device) {
	for of, phones := range m {
		if _, isDevice := d.Devices.Device(of); isDevice || f.user != (wire.AOR{}) && f.user != of {
			continue
		}
		for i := range phones {
			p := &phones[i]
			v := Device{Device: join(of.User, of.Host) + "/" + phoneID(p.Instance, p.Contact), Kind: policy.PhoneKind, Instance: p.Instance, First: &p.First, Users: []string{}}
			if f.names(v.Device, of) {
				v.last(p)
				list = append(list, v)
			}
		}
	}
	return list
}

// last is where a device was before it went.
func (v *Device) last(p *database.Phone) {
	v.Transport, v.Source, v.UserAgent = p.Transport, p.Source, p.UserAgent
	if !p.Gone.IsZero() {
		v.Since = &p.Gone
	}
}

// phoneID is what a plain phone is known by, beside its user.
func phoneID(instance, contact string) string {
	if id := strings.Trim(instance, "<>"); id != "" {
		return id
	}
	return contact
}

// phoneLogout takes the registration of a plain phone away.
func (d *Desk) phoneLogout(ctx context.Context, one Device) error {
	owner, _, _ := cutPhone(one.Device)
	return d.takeAway(ctx, owner, func(b *location.Binding) bool {
		return slices.ContainsFunc(one.Contacts, func(c Contact) bool { return c.Contact == b.Contact.Raw })
	}, fmt.Errorf("device %s: %w", one.Device, ErrNotFound))
}

// phoneRemove forgets a plain phone too.
func (d *Desk) phoneRemove(ctx context.Context, one Device) error {
	if len(one.Contacts) > 0 {
		if err := d.phoneLogout(ctx, one); err != nil {
			return err
		}
	}
	owner, id, _ := cutPhone(one.Device)
	user, domain, err := d.split(owner)
	if err != nil {
		return err
	}
	contact := ""
	if one.Instance == "" {
		contact = id
	}
	return d.forget(ctx, wire.AOR{User: user, Host: domain}, one.Instance, contact)
}

// forget deletes what is remembered of phones, if anything is.
func (d *Desk) forget(ctx context.Context, of wire.AOR, instance, contact string) error {
	if d.Phones == nil {
		return nil
	}
	if err := d.Phones.Forget(ctx, of, instance, contact); !errors.Is(err, database.ErrNotFound) {
		return err
	}
	return nil
}
