package registrar

import (
	"time"

	"signalbox/internal/auth"
	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// Logins knows the devices that somebody added, and who is logged in on them: package login.
type Logins interface {
	Device(aor wire.AOR) (database.Device, bool)
	ByInstance(instance string) (database.Device, bool)
	// Named is the device that the client certificate of a flow names.
	Named(flow transport.Flow) (database.Device, bool)
	Granted(device, user wire.AOR, now time.Time) bool
	OnFlow(device wire.AOR, flow wire.FlowID) bool
	Users(device wire.AOR) []wire.AOR
	Pin(device wire.AOR, instance string)
	// Begin calls done once, here or on another goroutine.
	Begin(user, device wire.AOR, method string, most int, done func(l database.Login, err error))
}

// door is how somebody comes in.
type door struct {
	device    wire.AOR // that registers, or on which a user logs in
	isDevice  bool     // the address is that of a device
	byDevice  bool     // a device registers in a user's name
	certified bool     // by its client certificate
}

// showsCertificate tells whether the connection's client certificate names the device that From names: it needs no password then.
func (g *registration) showsCertificate() bool {
	from, ours := g.Domains.AOR(g.req.From.URI)
	if !ours || from.Host != g.domain || !g.tx.Flow.ID().Proto.Secure() {
		return false
	}
	device, ok := g.Logins.Named(g.tx.Flow)
	if !ok || device.AOR != from {
		return false
	}
	g.identity = auth.Identity{User: from.User, Realm: from.Host}
	g.door.certified = true
	return true
}

// findDoor decides by which door somebody who was proven comes in. The To of a third-party registration is another than its From (RFC 3261, 10.2): only devices
// that somebody added may send one, for users that were granted to them. So nobody's bindings are changed by naming them: hardening 20.
func (g *registration) findDoor(proven wire.AOR) error {
	device, isDevice := g.Logins.Device(proven)
	if isDevice && device.Certificate != "" && !g.door.certified {
		return wire.Errorf(403, "Client Certificate Required", "registrar: %s without its certificate", proven)
	}
	g.door.isDevice = isDevice && proven == g.aor
	switch {
	case proven == g.aor:
		return nil
	case !isDevice:
		return wire.Errorf(403, "", "registrar: %s for %s", proven, g.aor)
	case !g.Logins.Granted(proven, g.aor, time.Now()):
		return wire.Errorf(403, "No Grant", "registrar: %s may not log in %s", proven, g.aor)
	}
	g.door.byDevice, g.door.device = true, proven
	return nil
}

// findDevice finds out on which device a contact is, and refuses one that names a device which its sender is not: the instance of a device that somebody
// added is the device's own; a user has it where he logs in on the device, over the device's own flow.
func (g *registration) findDevice(c *contact) error {
	owner, owned := g.Logins.ByInstance(c.instance)
	switch {
	case g.door.byDevice:
		c.device = g.door.device
	case g.door.isDevice:
		if owned && owner.AOR == g.aor {
			return nil
		}
	case owned:
		named, certified := g.Logins.Named(g.tx.Flow)
		if !g.Logins.OnFlow(owner.AOR, g.tx.Flow.ID()) && (!certified || named.AOR != owner.AOR) {
			return wire.Errorf(403, "Not On This Device", "registrar: %s names the instance of %s, and is not there", g.aor, owner.AOR)
		}
		c.device = owner.AOR
		return nil
	}
	if owned && owner.AOR != c.device {
		return wire.Errorf(403, "Not This Device", "registrar: instance of %s", owner.AOR)
	}
	return nil
}

// logsIn returns the device on which this REGISTER logs a user in, or keeps him so.
func (g *registration) logsIn() (wire.AOR, bool) {
	if g.Logins == nil {
		return wire.AOR{}, false
	}
	for i := range g.contacts {
		c := &g.contacts[i]
		if c.interval == 0 {
			continue
		}
		if c.device != (wire.AOR{}) {
			return c.device, true
		}
		if g.door.isDevice && c.instance != "" {
			if device, ok := g.Logins.Device(g.aor); ok && device.Instance == "" {
				g.Logins.Pin(device.AOR, c.instance)
			}
		}
	}
	return wire.AOR{}, false
}

// logIn binds when the login is on record, and within its time. What cannot be bound goes on no record.
func (g *registration) logIn(device wire.AOR) {
	if _, err := g.apply(g.Location.Lookup(g.aor)); err != nil {
		g.tx.Fail(err)
		return
	}
	method := policy.Own
	if g.door.byDevice {
		method = policy.ByDevice
	}
	g.Logins.Begin(g.aor, device, method.String(), g.terms.users, func(l database.Login, err error) {
		g.tx.Owner().Do(func() {
			if err != nil {
				g.tx.Fail(err)
				return
			}
			g.terms.until = l.End
			g.bind()
		})
	})
}

// notOurs is what "*" leaves: nothing, unless a device sends it in the name of a user, who may be elsewhere too.
func (g *registration) notOurs(now []location.Binding) (left []location.Binding) {
	if !g.door.byDevice {
		return nil
	}
	for i := range now {
		if now[i].Device != g.door.device {
			left = append(left, now[i])
		}
	}
	return left
}

// mayTell: a device is told of a user's bindings on itself only.
func (g *registration) mayTell(b *location.Binding) bool {
	return !g.door.byDevice || b.Device == g.door.device
}

// answerIdentities says in every 200 who may be used in From over this flow (RFC 7315, 4.1.2): the user; for a device itself and everybody who is logged in on
// it.
func (g *registration) answerIdentities(res *wire.Response, scratch []byte) {
	value := append(g.aor.Append(append(scratch, '<')), '>')
	if g.door.isDevice {
		for _, user := range g.Logins.Users(g.aor) {
			value = append(user.Append(append(value, ", <"...)), '>')
		}
	}
	text, same := g.req.To.Raw, len(value)
	if len(text) < same || text[:same] != string(value) { // nearly every phone writes To as we do: then its own bytes will do
		text = string(value)
	}
	wire.Add(res, "P-Associated-URI", text[:same])
}
