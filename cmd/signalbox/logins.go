package main

import (
	"context"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/registrar/login"
)

// addLogins makes the keeper of devices and logins, which hears of every change of a binding.
func (c *core) addLogins(p parts) (err error) {
	c.logins, err = login.Open(login.Config{
		Store:    p.devices,
		Bindings: p.bindings,
		Domains:  p.domains,
		Policy:   p.policy.get,
		Changed: func(l database.Login, happened login.Event) {
			p.log.Info(string(happened), "user", harmless(l.User.String()), "device", harmless(l.Device.String()), "method", l.Method)
			if p.loginChanged != nil {
				p.loginChanged(l, happened)
			}
		},
		Logger: p.log,
	})
	if err == nil && p.changes != nil {
		p.changes.add(c.logins.Bound)
	}
	return err
}

// mayWatch lets the policy say who may watch the registrations of others (RFC 3680, 4.6). Without one nobody may.
func mayWatch(box *policyBox) func(watcher, aor wire.AOR) bool {
	return func(watcher, aor wire.AOR) bool {
		f := policy.Facts{Action: policy.Watch, User: watcher, Target: aor, Kind: policy.PhoneKind, Offline: true, Now: time.Now()}
		return box.get().Decide(&f).Deny == nil
	}
}

// close ends what newCore began.
func (c *core) close(ctx context.Context) error {
	c.layer.Close()
	if c.logins == nil {
		return nil
	}
	return c.logins.Close(ctx)
}

// loginEvent puts the begin and end of logins into the event feed.
func (f feed) loginEvent(l database.Login, happened login.Event) {
	kind := "logout"
	if happened == login.In {
		kind = "login"
	}
	f.journal.Append(database.Event{Event: kind, AOR: l.User.String(), Device: l.Device.String(), Reason: l.Method + ", " + string(happened)})
}
