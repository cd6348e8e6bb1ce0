package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
	"signalbox/registrar/login"
)

// Logins is what the desk needs of login.Service.
type Logins interface {
	Login(ctx context.Context, l database.Login) error
	Logout(ctx context.Context, user, device wire.AOR) error
	LogoutAll(ctx context.Context, who wire.AOR) error
}

var (
	// ErrDenied: the policy does not allow it.
	ErrDenied = errors.New("denied")
	// ErrOffline: the device is not there.
	ErrOffline = errors.New("offline")
)

// Login is a user on a device: GET /v1/logins.
type Login struct {
	User   string     `json:"user"`
	Device string     `json:"device"`
	Method string     `json:"method"` // own, device, admin
	Start  time.Time  `json:"start"`
	End    *time.Time `json:"end,omitempty"`
	State  string     `json:"state"` // online, offline, scheduled
	Source string     `json:"source,omitempty"`
}

// NewLogin logs a user in on a device: POST /v1/logins. No start is now, no end is for ever.
type NewLogin struct {
	User   string     `json:"user"`
	Device string     `json:"device"`
	Start  *time.Time `json:"start,omitempty"`
	End    *time.Time `json:"end,omitempty"`
}

// LoginList lists logins by user: those on devices that somebody added, and those that a plain phone's registration is.
func (d *Desk) LoginList(_ context.Context, q Query) ([]Login, error) {
	f, err := d.filter(q)
	if err != nil {
		return nil, err
	}
	list := []Login{}
	now := time.Now()
	for _, l := range d.Devices.Logins() {
		if f.user != (wire.AOR{}) && f.user != l.User || f.implicit != "" && f.device != l.Device {
			continue
		}
		on := onDevice(d.Bindings.Lookup(l.User), l.Device)
		if !f.from(on) || !f.can(on) {
			continue
		}
		one := Login{User: join(l.User.User, l.User.Host), Device: join(l.Device.User, l.Device.Host), Method: l.Method, Start: l.Start, State: "offline"}
		if !l.End.IsZero() {
			one.End = &l.End
		}
		one.state(l.Start.After(now), on)
		list = append(list, one)
	}
	d.Bindings.All(func(aor wire.AOR, all []location.Binding) bool {
		if _, isDevice := d.Devices.Device(aor); isDevice || f.user != (wire.AOR{}) && f.user != aor {
			return true
		}
		for _, bs := range phones(all) {
			one := Login{User: join(aor.User, aor.Host), Device: phoneName(aor, &bs[0]), Method: policy.Own.String(), Start: bs[0].Created}
			if (f.implicit == "" || f.implicit == one.Device) && f.from(bs) && f.can(bs) {
				one.state(false, bs)
				list = append(list, one)
			}
		}
		return true
	})
	slices.SortFunc(list, func(a, b Login) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.Device, b.Device))
	})
	return list, nil
}

func onDevice(all []location.Binding, device wire.AOR) (list []location.Binding) {
	for _, b := range all {
		if b.Device == device {
			list = append(list, b)
		}
	}
	return list
}

func (l *Login) state(scheduled bool, on []location.Binding) {
	l.State = "offline"
	if scheduled {
		l.State = "scheduled"
	}
	for _, b := range on {
		if b.Usable() {
			l.State, l.Source = "online", sourceOf(b)
		}
	}
}

// LoginAdd logs a user in on a device.
func (d *Desk) LoginAdd(ctx context.Context, n NewLogin) error {
	g, err := d.grant(n.Device, n.User)
	if err != nil {
		return err
	}
	if _, known := d.Users.Get(g.User.User, g.User.Host); !known {
		return fmt.Errorf("user %s: %w", join(g.User.User, g.User.Host), ErrNotFound)
	}
	l := database.Login{User: g.User, Device: g.Device}
	if n.Start != nil {
		l.Start = *n.Start
	}
	if n.End != nil {
		l.End = *n.End
	}
	return ofLogin(d.Logins.Login(ctx, l))
}

// LoginRemove ends a login. That of a plain phone is its registration.
func (d *Desk) LoginRemove(ctx context.Context, user, device string) error {
	if owner, _, isPhone := cutPhone(device); isPhone {
		g, err := d.grant(owner, user)
		if err != nil {
			return err
		}
		one, err := d.DeviceShow(ctx, device)
		if err == nil && (g.Device != g.User || len(one.Contacts) == 0) {
			err = fmt.Errorf("login of %s on %s: %w", user, device, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return d.phoneLogout(ctx, one)
	}
	g, err := d.grant(device, user)
	if err != nil {
		return err
	}
	return ofLogin(d.Logins.Logout(ctx, g.User, g.Device))
}

// ofLogin gives the errors of package login their kind.
func ofLogin(err error) error {
	for theirs, ours := range map[error]error{login.ErrUnknown: ErrNotFound, login.ErrTime: ErrInvalid, login.ErrDevice: ErrInvalid, login.ErrExists: ErrExists, login.ErrOffline: ErrOffline, login.ErrDenied: ErrDenied} {
		if errors.Is(err, theirs) {
			return &problem{err.Error(), ours}
		}
	}
	return err
}
