package registrar

import (
	"time"

	"signalbox/internal/auth"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

// terms are what holds for one REGISTER: the configuration's, or the policy's where it says something else.
type terms struct {
	least, usual, most time.Duration // of a binding
	contacts           int           // of the address
	longest            time.Duration // from the first registration to the end of all its refreshes; 0 is without end
	until              time.Time     // end of the login; zero is without end
	devices            int           // of the user; 0 is without limit
	users              int           // of the device
	multi              policy.MultiLogin
	moving             policy.AddressChange
}

// usualTerms are the configuration's.
func (c *Config) usualTerms() terms {
	return terms{least: c.MinExpires, usual: c.DefaultExpires, most: c.MaxExpires, contacts: c.MaxContacts}
}

// consult asks the policy about one contact. Nobody is kept from leaving.
func (g *registration) consult(c *contact, requested string) error {
	if g.Logins != nil {
		if err := g.findDevice(c); err != nil {
			return err
		}
	}
	if g.Policy == nil {
		return nil
	}
	p := g.Policy()
	if p == nil || g.leaves(requested) {
		return nil
	}
	f := g.facts(c)
	d := p.Decide(&f)
	if d.Deny != nil {
		return d.Deny.Error()
	}
	if d.Reauthenticate > 0 && !g.door.certified && g.Auth.Age(g.identity) > d.Reauthenticate {
		return g.again()
	}
	g.terms.take(&d)
	if g.door.isDevice { // is nobody's login, and what else it registers are applications
		g.terms.longest, g.terms.devices, g.terms.multi = 0, 0, policy.Several
	}
	return nil
}

// again challenges anew: the password was right, but that is too long ago, or was somewhere else.
func (g *registration) again() error {
	return g.Auth.Again(g.req, auth.Registrar, g.domain, g.tx.Flow.ID())
}

// leaves tells whether a contact with this expires parameter, "" for none, is to be removed.
func (g *registration) leaves(requested string) bool {
	if requested == "" {
		requested = wire.Get(g.req, "Expires")
	}
	seconds, ok := deltaSeconds(requested)
	return ok && seconds == 0
}

// take lets the policy's settings replace the configuration's. A rule need not set all three times: they are kept in order.
func (t *terms) take(d *policy.Decision) {
	if d.ExpiresMin > 0 {
		t.least = d.ExpiresMin
		t.most = max(t.most, t.least)
	}
	if d.ExpiresMax > 0 {
		t.most = d.ExpiresMax
		t.least = min(t.least, t.most)
	}
	if d.ExpiresDefault > 0 {
		t.usual = d.ExpiresDefault
	}
	t.usual = min(max(t.usual, t.least), t.most)
	if d.MaxContacts > 0 {
		t.contacts = min(d.MaxContacts, location.MaxBindings)
	}
	t.longest, t.devices, t.users, t.multi, t.moving = d.Longest, d.MaxDevices, d.MaxUsers, d.MultiLogin, d.AddressChange
}

// facts are what the policy is told.
func (g *registration) facts(c *contact) policy.Facts {
	flow := g.tx.Flow.ID()
	f := policy.Facts{
		User: g.aor, Kind: policy.PhoneKind, Now: time.Now(),
		Proto: flow.Proto, NAT: c.behind, Source: flow.Remote.Addr(),
	}
	switch {
	case g.door.certified:
		f.Trust = policy.Certificate
	case flow.Proto.Secure():
		f.Trust = policy.TLS
	}
	if g.Logins == nil {
		return f
	}
	f.Device = c.device
	if g.door.isDevice {
		f.Device = g.aor
	}
	if g.door.byDevice {
		f.Door = policy.ByDevice
	}
	if f.Device != (wire.AOR{}) {
		if device, ok := g.Logins.Device(f.Device); ok {
			f.Kind = device.Kind
		}
	}
	return f
}

// endOf is when a binding ends that is granted now: with the login at the latest.
func (g *registration) endOf(now, created time.Time, interval time.Duration) time.Time {
	end := now.Add(interval)
	if g.terms.longest > 0 && created.Add(g.terms.longest).Before(end) {
		end = created.Add(g.terms.longest)
	}
	if !g.terms.until.IsZero() && g.terms.until.Before(end) {
		end = g.terms.until
	}
	return end
}

// mayReplace tells whether this REGISTER may change that binding: a device may not touch what its user has registered elsewhere, and a phone that comes from
// another address does what the policy says about that.
func (g *registration) mayReplace(b *location.Binding) error {
	if g.door.byDevice && b.Device != g.door.device {
		return wire.Errorf(403, "", "registrar: %s touches a contact of %s on another device", g.door.device, g.aor)
	}
	if g.terms.moving == policy.Allow || b.Flow.Remote.Addr() == g.tx.Flow.ID().Remote.Addr() {
		return nil
	}
	if g.terms.moving == policy.Refuse {
		return wire.Errorf(403, "Address Changed", "registrar: %s moved from %v", g.aor, b.Flow.Remote)
	}
	if !g.door.certified && g.Auth.Moved(g.identity, g.tx.Flow.ID()) {
		return g.again()
	}
	return nil
}

// limitDevices keeps a user within the devices that the policy allows. It counts instances; a phone without one counts by its contact.
func (g *registration) limitDevices(now, after []location.Binding) ([]location.Binding, error) {
	if len(after) < 2 || g.terms.devices == 0 && g.terms.multi == policy.Several {
		return after, nil
	}
	added, count := 0, 0
	for i := range after {
		if !sameDevice(after[:i], &after[i]) {
			count++
			if !sameDevice(now, &after[i]) {
				added++
			}
		}
	}
	switch {
	case added == 0:
		return after, nil // refreshes go on, though the policy may have changed
	case g.terms.multi == policy.One && count > 1:
		return nil, wire.Errorf(403, "Logged In On Another Device", "registrar: %s has %d devices", g.aor, count)
	case g.terms.multi == policy.AutoLogout:
		return g.replaceDevices(now, after)
	case g.terms.devices > 0 && count > g.terms.devices:
		return nil, wire.Errorf(403, "Too Many Devices", "registrar: %s has %d devices", g.aor, count)
	}
	return after, nil
}

// replaceDevices logs the user out where this REGISTER is not from, unless it only refreshes what was itself replaced.
func (g *registration) replaceDevices(now, after []location.Binding) (left []location.Binding, err error) {
	for i := range after {
		if !sameDevice(now, &after[i]) {
			left = append(left, after[i])
		}
	}
	for i := range now {
		if now[i].CallID != g.req.CallID && g.replaced.has(g.aor, g.req.CallID) {
			return nil, wire.Errorf(403, "Logged In On Another Device", "registrar: %s has been logged out here by another device", g.aor)
		}
	}
	for i := range now {
		if now[i].CallID != g.req.CallID {
			g.replaced.add(g.aor, now[i].CallID)
		}
	}
	return left, nil
}

// sameDevice tells whether one of the bindings is on the same device.
func sameDevice(bindings []location.Binding, b *location.Binding) bool {
	for i := range bindings {
		other := &bindings[i]
		if b.InstanceID != "" && other.InstanceID == b.InstanceID || b.InstanceID == "" && other.InstanceID == "" && (other.Contact.Raw == b.Contact.Raw || other.Contact.Equal(b.Contact)) {
			return true
		}
	}
	return false
}
