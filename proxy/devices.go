package proxy

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// Devices knows the devices that somebody added, and who is logged in on them: package login of the registrar's room.
type Devices interface {
	Device(aor wire.AOR) (database.Device, bool)
	// Vouches tells whether a device may use From on a flow: the one that was proven, or (the zero value) that a client certificate names.
	Vouches(flow transport.Flow, proven, from wire.AOR) bool
	Seen(user wire.AOR)
}

// deviceMethods are what a device can be sent: its session carries no media, calls go to the users who are logged in on it.
const deviceMethods = "MESSAGE, SUBSCRIBE, NOTIFY, OPTIONS, INFO, REFER, PUBLISH"

// lacksCertificate: a device that has a client certificate is not believed by a password.
func (c *call) lacksCertificate(proven wire.AOR) bool {
	device, isDevice := c.p.Devices.Device(proven)
	return isDevice && device.Certificate != ""
}

// permit asks the policy whether the user may send this. proven is who has shown credentials: the user, or the device the user is logged in on.
func (c *call) permit(proven wire.AOR, trust policy.Trust) error {
	if c.p.Devices != nil {
		c.p.Devices.Seen(c.user)
	}
	if c.p.Policy == nil {
		return nil
	}
	p := c.p.Policy()
	if p == nil || c.req.To.Tag != "" {
		return nil // what is in a dialog was permitted when the dialog began
	}
	flow := c.tx.Flow.ID()
	f := policy.Facts{Action: policy.Call, User: c.user, Kind: policy.PhoneKind, Trust: trust, Now: time.Now(), Proto: flow.Proto, Source: flow.Remote.Addr()}
	f.Target, _ = c.p.Domains.AOR(c.uri)
	if flow.Proto.Secure() {
		f.Trust = max(f.Trust, policy.TLS)
	}
	if c.p.Devices != nil {
		if device, ok := c.p.Devices.Device(proven); ok {
			f.Device, f.Kind = device.AOR, device.Kind
		}
	}
	f.NAT = c.req.Via.Host != flow.Remote.Addr().Unmap().String()
	if d := p.Decide(&f); d.Deny != nil {
		return d.Deny.Error()
	}
	return nil
}

// reachDevice refuses calls to a device itself (RFC 3261, 21.4.6).
func (c *call) reachDevice(aor wire.AOR) error {
	if _, isDevice := c.p.Devices.Device(aor); isDevice && c.req.Method == sip.INVITE {
		return wire.Errorf(405, "", "proxy: INVITE to the device %s", aor).With("Allow", deviceMethods)
	}
	c.p.Devices.Seen(aor)
	return nil
}
