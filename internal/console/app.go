package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"signalbox/internal/wire"
	"signalbox/location"
)

// App is an application instance (RFC 5627; RFC 3840): something that a user, or a device, runs and that can be addressed by itself.
type App struct {
	App          string     `json:"app"` // its public GRUU
	Owner        string     `json:"owner"`
	Instance     string     `json:"instance"`
	Device       string     `json:"device"`
	Capabilities []string   `json:"capabilities"`
	Contact      string     `json:"contact"` // "" when it is not registered, as are its capabilities
	Expires      int        `json:"expires"` // seconds that are left
	Online       bool       `json:"online"`
	Since        *time.Time `json:"since,omitempty"` // it is online, or offline
	Transport    string     `json:"transport,omitempty"`
	Source       string     `json:"source,omitempty"`
}

// NewApp registers an application that cannot do so itself, at a fixed contact: POST /v1/apps.
type NewApp struct {
	Owner    string `json:"owner"`
	Contact  string `json:"contact"`  // a SIP URI with a numeric host
	Instance string `json:"instance"` // a URN
	Features string `json:"features"` // feature tags as in a Contact: audio;video;+sip.message
	Expires  int    `json:"expires"`  // seconds
}

// AppList lists application instances by owner, also those that are not registered at the moment: they keep their address.
func (d *Desk) AppList(ctx context.Context, q Query) ([]App, error) {
	f, err := d.filter(q)
	if err != nil {
		return nil, err
	}
	known, err := d.remembered(ctx, &f)
	if err != nil {
		return nil, err
	}
	list := []App{}
	d.Bindings.All(func(aor wire.AOR, all []location.Binding) bool {
		if f.user != (wire.AOR{}) && f.user != aor {
			return true
		}
		for i := range all {
			b := &all[i]
			known.forget(aor, b.InstanceID)
			if b.InstanceID == "" || location.Newest(all, b.InstanceID) != b || !f.from(all[i:i+1]) || !f.can(all[i:i+1]) {
				continue
			}
			if one := d.app(aor, b); f.wants(&one) {
				list = append(list, one)
			}
		}
		return true
	})
	if f.capability == "" && !f.address.IsValid() { // of what is not there nothing is known
		for aor, phones := range known {
			for i := range phones {
				p := &phones[i]
				if one := d.app(aor, &location.Binding{InstanceID: p.Instance, Lost: p.Gone}); p.Instance != "" && f.wants(&one) {
					one.Transport, one.Source = p.Transport, p.Source
					list = append(list, one)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b App) int { return strings.Compare(a.App, b.App) })
	return list, nil
}

// wants tells whether an application is on the device, and of the user, that are asked for.
func (f *filter) wants(one *App) bool {
	return (f.user == (wire.AOR{}) || one.Owner == join(f.user.User, f.user.Host)) &&
		(f.implicit == "" || one.Device == f.implicit || one.Device == join(f.device.User, f.device.Host))
}

func (d *Desk) app(aor wire.AOR, b *location.Binding) App {
	a := App{
		Owner: join(aor.User, aor.Host), Instance: strings.Trim(b.InstanceID, "<>"), Device: phoneName(aor, b), Capabilities: capabilities(b.Params),
		Contact: b.Contact.Raw, Expires: max(0, int(time.Until(b.Expires).Round(time.Second)/time.Second)), Online: b.Contact.Raw != "" && b.Usable(),
	}
	switch {
	case a.Online:
		a.Since = &b.Created
	case !b.Lost.IsZero():
		a.Since = &b.Lost
	}
	a.Transport, a.Source = b.Flow.Proto.String(), sourceOf(*b)
	switch _, isDevice := d.Devices.Device(aor); {
	case isDevice:
		a.Device = a.Owner
	case b.Device != (wire.AOR{}):
		a.Device = join(b.Device.User, b.Device.Host)
	}
	if d.GRUU != nil {
		a.App = string(d.GRUU.AppendPublic(nil, aor, b.InstanceID))
	} else {
		a.App = a.Owner + "/" + a.Instance
	}
	return a
}

// AppShow shows one, by its GRUU or as OWNER/INSTANCE.
func (d *Desk) AppShow(ctx context.Context, name string) (App, error) {
	list, err := d.AppList(ctx, Query{})
	if err != nil {
		return App{}, err
	}
	for _, one := range list {
		if one.App == name || one.Owner+"/"+one.Instance == name {
			return one, nil
		}
	}
	return App{}, fmt.Errorf("application %s: %w", name, ErrNotFound)
}

// AppRemove takes away the registration of one, and forgets it.
func (d *Desk) AppRemove(ctx context.Context, name string) error {
	one, err := d.AppShow(ctx, name)
	if err != nil {
		return err
	}
	if one.Contact != "" {
		err := d.takeAway(ctx, one.Owner, func(b *location.Binding) bool { return strings.Trim(b.InstanceID, "<>") == one.Instance },
			fmt.Errorf("application %s: %w", name, ErrNotFound))
		if err != nil {
			return err
		}
	}
	user, domain, err := d.split(one.Owner)
	if err != nil {
		return err
	}
	return d.forget(ctx, wire.AOR{User: user, Host: domain}, "<"+one.Instance+">", "")
}

// maxAppExpires is how long an application may be registered by hand: somebody should look after it once a year.
const maxAppExpires = 366 * 24 * time.Hour

// AppAdd registers one. RFC 3680, 4.7.1 calls it created.
func (d *Desk) AppAdd(ctx context.Context, n NewApp) error {
	user, domain, err := d.split(n.Owner)
	if err != nil {
		return err
	}
	uri, err := wire.ParseURI(n.Contact)
	_, numeric := uri.Addr()
	switch {
	case err != nil || !uri.IsSIP() || !numeric:
		return invalidf("contact %s: want a SIP URI with a numeric host, such as sip:door@192.0.2.7:5060", n.Contact)
	case !isURN(n.Instance):
		return invalidf("instance %q: want a URN, such as urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", n.Instance)
	case n.Expires < 1 || n.Expires > int(maxAppExpires/time.Second):
		return invalidf("it would expire after %v: want a second to a year", time.Duration(n.Expires)*time.Second)
	}
	if _, known := d.Users.Get(user, domain); !known {
		return fmt.Errorf("user %s: %w", join(user, domain), ErrNotFound)
	}
	instance := canonicalInstance(n.Instance)
	params := ""
	if n.Features != "" {
		params = ";" + strings.Trim(n.Features, "; ")
	}
	params += `;+sip.instance="` + instance + `"`
	if a, err := wire.ParseAddress("<" + uri.Raw + ">" + params); err != nil || a.Params == "" {
		return invalidf("features %s", n.Features)
	}
	now := time.Now()
	fresh := location.Binding{
		Contact: uri, Params: params, Q: 1000, InstanceID: instance,
		Created: now, Updated: now, Expires: now.Add(time.Duration(n.Expires) * time.Second),
	}
	return d.change(ctx, wire.AOR{User: user, Host: domain}, location.Created, func(have []location.Binding) ([]location.Binding, error) {
		for i := range have {
			if have[i].InstanceID == instance || have[i].Contact.Equal(uri) {
				return nil, fmt.Errorf("application %s of %s: %w", n.Instance, n.Owner, ErrExists)
			}
		}
		return append(slices.Clone(have), fresh), nil
	})
}

// baseTags are the feature tags that stand in a Contact without a plus (RFC 3840, 9).
var baseTags = []string{"audio", "application", "data", "control", "video", "text", "automata", "class", "duplex", "mobility", "description", "events", "priority",
	"methods", "extensions", "schemes", "actor", "isfocus", "language", "type"}

// capabilities are the feature tags among the parameters of a contact.
func capabilities(params string) []string {
	list := []string{}
	for _, p := range splitParams(params) {
		name, _, _ := strings.Cut(p, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "+sip.instance" && (strings.HasPrefix(name, "+") || slices.Contains(baseTags, name)) {
			list = append(list, p)
		}
	}
	return list
}

// splitParams splits at the semicolons that stand outside quotes.
func splitParams(s string) (list []string) {
	start, quoted := 0, false
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == ';' && !quoted:
			if p := strings.TrimSpace(s[start:i]); p != "" {
				list = append(list, p)
			}
			start = i + 1
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		}
	}
	return list
}

// hasCapability: "video" is any value of it but FALSE, video="x" that value. Names are alike in either case (RFC 3840, 9).
func hasCapability(list []string, wanted string) bool {
	name, value, valued := strings.Cut(wanted, "=")
	for _, one := range list {
		n, v, _ := strings.Cut(one, "=")
		if !strings.EqualFold(strings.TrimSpace(n), strings.TrimSpace(name)) {
			continue
		}
		v = wire.Unquote(strings.TrimSpace(v))
		if !valued && !strings.EqualFold(v, "FALSE") || valued && slices.ContainsFunc(strings.Split(v, ","), func(s string) bool {
			return strings.EqualFold(strings.TrimSpace(s), wire.Unquote(strings.TrimSpace(value)))
		}) {
			return true
		}
	}
	return false
}
