package policy

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"signalbox/internal/wire"
)

// Finding is what is wrong with one value of a file; Key is its place, such as rule[1].when.source[0].
type Finding struct{ Key, Message string }

func (f *Finding) Error() string { return f.Key + ": " + f.Message }

// New compiles a file; names without a domain are in the first of ours. It returns all findings at once, and a Policy only when there are none.
func New(f *File, domains *wire.Domains) (*Policy, []*Finding) {
	b := builder{domains: domains, zone: time.Local, groups: make(map[string]*names)}
	if f.Zone != "" {
		zone, err := time.LoadLocation(f.Zone)
		if err != nil {
			b.bad("zone", "%q is not a time zone: want a name such as Europe/Berlin", f.Zone)
		} else {
			b.zone = zone
		}
	}
	for name, members := range f.Groups {
		b.groups[name] = b.names("groups."+name, members)
	}
	if len(f.Rules) > maxRules {
		b.bad("rule["+strconv.Itoa(maxRules)+"]", "more than %d rules", maxRules)
		f.Rules = f.Rules[:maxRules]
	}
	p := new(Policy)
	for i := range f.Rules {
		p.rules = append(p.rules, b.rule(i, &f.Rules[i]))
	}
	if b.found != nil {
		slices.SortStableFunc(b.found, func(a, b *Finding) int { return strings.Compare(a.Key, b.Key) })
		return nil, b.found
	}
	return p, nil
}

// builder compiles and collects what is wrong.
type builder struct {
	domains *wire.Domains
	zone    *time.Location
	groups  map[string]*names
	count   int
	found   []*Finding
}

func (b *builder) bad(key, format string, args ...any) {
	b.found = append(b.found, &Finding{key, fmt.Sprintf(format, args...)})
}

func (b *builder) rule(i int, f *Rule) rule {
	at := "rule[" + strconv.Itoa(i) + "]."
	r := rule{name: f.Name, when: b.conditions(at+"when.", &f.When)}
	if r.name == "" {
		r.name = "rule " + strconv.Itoa(i+1)
	}
	b.decision(at, f, &r)
	s := &r.set
	for _, one := range []struct {
		name    string
		setting setting
		value   Duration
		to      *time.Duration
		max     time.Duration
	}{
		{"expires_min", sExpiresMin, f.ExpiresMin, &s.ExpiresMin, maxMinExpires},
		{"expires_default", sExpiresDefault, f.ExpiresDefault, &s.ExpiresDefault, maxDuration},
		{"expires_max", sExpiresMax, f.ExpiresMax, &s.ExpiresMax, maxDuration},
		{"reauthenticate", sReauthenticate, f.Reauthenticate, &s.Reauthenticate, maxDuration},
		{"idle", sIdle, f.Idle, &s.Idle, maxDuration},
		{"longest", sLongest, f.Longest, &s.Longest, maxDuration},
		{"grace", sGrace, f.Grace, &s.Grace, maxDuration},
	} {
		if one.value.set {
			*one.to = b.duration(at+one.name, one.value, one.max)
			r.has |= 1 << one.setting
		}
	}
	if s.ExpiresMin != 0 && s.ExpiresMax != 0 && s.ExpiresMax < s.ExpiresMin {
		b.bad(at+"expires_max", "%s is shorter than expires_min, %s", written(s.ExpiresMax), written(s.ExpiresMin))
	}
	for _, one := range []struct {
		name    string
		setting setting
		value   *int
		to      *int
	}{
		{"max_contacts", sMaxContacts, f.MaxContacts, &s.MaxContacts},
		{"max_devices", sMaxDevices, f.MaxDevices, &s.MaxDevices},
		{"max_users", sMaxUsers, f.MaxUsers, &s.MaxUsers},
	} {
		if one.value != nil {
			if *one.value < 1 || *one.value > maxCount {
				b.bad(at+one.name, "%d: want a number from 1 to %d", *one.value, maxCount)
			}
			*one.to = *one.value
			r.has |= 1 << one.setting
		}
	}
	if v, ok := b.choice(at+"address_change", f.AddressChange, addressChanges); ok {
		s.AddressChange, r.has = AddressChange(v), r.has|1<<sAddressChange
	}
	if v, ok := b.choice(at+"require_trust", f.RequireTrust, trusts); ok {
		s.RequireTrust, r.has = Trust(v), r.has|1<<sRequireTrust
	}
	if v, ok := b.choice(at+"multi_login", f.MultiLogin, multiLogins); ok {
		s.MultiLogin, r.has = MultiLogin(v), r.has|1<<sMultiLogin
	}
	if v, ok := b.choice(at+"offline", f.Offline, []string{"refuse", "pending"}); ok {
		s.Pending, r.has = v == 1, r.has|1<<sOffline
	}
	if r.has == 0 {
		b.bad(strings.TrimSuffix(at, "."), "the rule sets nothing")
	}
	return r
}

// decision reads allow and deny.
func (b *builder) decision(at string, f *Rule, r *rule) {
	if f.Allow != nil || f.Deny != nil {
		r.has |= 1 << sDecided
	}
	switch {
	case f.Allow != nil && f.Deny != nil:
		b.bad(at+"deny", "either allow or deny")
	case f.Allow != nil && !*f.Allow:
		b.bad(at+"allow", "false says nothing: want deny = { code = 403 }")
	case f.Allow != nil:
		r.allow = true
	case f.Deny != nil:
		r.deny = Denial{Code: f.Deny.Code, Reason: f.Deny.Reason, Rule: r.name}
		if r.deny.Code == 0 {
			r.deny.Code = 403
		}
		// 401 and 407 would need a challenge, 423 its own header field; 3xx and 420 say what we do not mean.
		if c := r.deny.Code; c < 400 || c > 699 || slices.Contains([]int{401, 407, 420, 421, 423}, c) {
			b.bad(at+"deny.code", "%d: want a status code that refuses, such as 403, 480, 503 or 603", c)
		}
		if strings.ContainsFunc(f.Deny.Reason, func(c rune) bool { return c < ' ' || c == 0x7f }) || len(f.Deny.Reason) > 100 {
			b.bad(at+"deny.reason", "want one line of at most 100 bytes")
		}
		if f.Deny.RetryAfter.set {
			r.deny.RetryAfter = b.duration(at+"deny.retry_after", f.Deny.RetryAfter, maxDuration)
		}
	}
}

func (b *builder) conditions(at string, w *When) (c conditions) {
	for name, list := range map[string][]string{"action": w.Action, "user": w.User, "group": w.Group, "target": w.Target, "device": w.Device, "kind": w.Kind,
		"door": w.Door, "transport": w.Transport, "source": w.Source, "trust": w.Trust, "days": w.Days} {
		if list != nil && len(list) == 0 {
			b.bad(at+name, "an empty list never holds: leave it out, or name something")
		}
	}
	if c.actions = b.set(at+"action", w.Action, actions); c.actions == 0 {
		c.actions = 1 << Register
	}
	c.doors = b.set(at+"door", w.Door, doors)
	c.trusts = b.set(at+"trust", w.Trust, trusts)
	c.users, c.targets, c.devices = b.names(at+"user", w.User), b.names(at+"target", w.Target), b.names(at+"device", w.Device)
	for i, name := range w.Group {
		if g, known := b.groups[name]; known {
			c.groups = append(c.groups, g)
		} else {
			b.bad(item(at+"group", i), "there is no group %q: groups stand under [groups]", name)
		}
	}
	for i, kind := range w.Kind {
		if kind == "" {
			b.bad(item(at+"kind", i), "want a kind of device")
		}
		c.kinds = append(c.kinds, kind)
	}
	for i, name := range w.Transport {
		p, ok := wire.ParseProto(name)
		if !ok {
			b.bad(item(at+"transport", i), "%q: want one of udp, tcp, tls, ws, wss", name)
		}
		c.transports |= 1 << p
	}
	for i, s := range w.Source {
		p, err := netip.ParsePrefix(s)
		if a, notPrefix := netip.ParseAddr(s); err != nil && notPrefix == nil {
			p, err = a.Unmap().Prefix(a.Unmap().BitLen())
		}
		if err != nil {
			b.bad(item(at+"source", i), "%q is not an address or network: want one such as 192.0.2.7 or 2001:db8::/32", s)
		}
		c.sources = append(c.sources, p.Masked())
	}
	c.nat = w.NAT
	c.window = b.window(at, w)
	return c
}

func item(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// names reads addresses: "alice", "alice@example.org", "desk-*", "*@example.net". nil when there are none.
func (b *builder) names(key string, list []string) *names {
	if list == nil {
		return nil
	}
	n := &names{whole: make(map[wire.AOR]bool)}
	if b.count += len(list); b.count > maxNames {
		b.bad(key, "more than %d names", maxNames)
		return n
	}
	for i, s := range list {
		user, domain := s, b.domains.Primary()
		if at := strings.LastIndexByte(s, '@'); at >= 0 {
			ours, ok := b.domains.Domain(s[at+1:])
			if !ok {
				b.bad(item(key, i), "%s is not a domain of this server", s[at+1:])
			}
			user, domain = s[:at], ours
		}
		begin, isBegin := strings.CutSuffix(user, "*")
		switch {
		case user == "" || strings.HasPrefix(s, "sip:") || strings.HasPrefix(s, "sips:"):
			b.bad(item(key, i), "%q: want a name such as alice or alice@example.org", s)
		case strings.Contains(begin, "*"):
			b.bad(item(key, i), "%q: the * stands at the end of the name", s)
		case isBegin:
			n.begins = append(n.begins, wire.AOR{User: begin, Host: domain})
		default:
			n.whole[wire.AOR{User: user, Host: domain}] = true
		}
	}
	return n
}

func (b *builder) set(key string, list, allowed []string) (set uint8) {
	for i, s := range list {
		if v, ok := b.choice(item(key, i), s, allowed); ok {
			set |= 1 << v
		} else if s == "" {
			b.bad(item(key, i), "want one of %s", strings.Join(allowed, ", "))
		}
	}
	return set
}

func (b *builder) choice(key, value string, allowed []string) (int, bool) {
	if value == "" {
		return 0, false
	}
	i := slices.Index(allowed, value)
	if i < 0 {
		b.bad(key, "%q: want one of %s", value, strings.Join(allowed, ", "))
	}
	return i, i >= 0
}

func (b *builder) duration(key string, d Duration, most time.Duration) time.Duration {
	if d.text != "" {
		b.bad(key, `%s is no time: want one in quotes, such as "90s", "15m", "8h" or "7d"`, d.text)
		return 0
	}
	if d.time < minDuration || d.time > most || d.time%time.Second != 0 {
		b.bad(key, "%s: want whole seconds, from %s to %s", written(d.time), written(minDuration), written(most))
	}
	return d.time
}

// written is a time as the file has it: "366d", "90s", "1h".
func written(d time.Duration) string {
	if day := 24 * time.Hour; d != 0 && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// window reads time and days; nil when neither is given.
func (b *builder) window(at string, w *When) *window {
	if w.Time == "" && w.Days == nil {
		return nil
	}
	win := &window{zone: b.zone, days: b.set(at+"days", w.Days, dayNames)}
	if w.Days == nil {
		win.days = math.MaxInt8
	}
	if w.Time == "" {
		return win
	}
	from, to, ok := strings.Cut(w.Time, "-")
	var ok1, ok2 bool
	win.from, ok1 = minutes(from)
	win.to, ok2 = minutes(to)
	if !ok || !ok1 || !ok2 || win.from == win.to {
		b.bad(at+"time", `%q: want a time such as "08:00-18:00"`, w.Time)
	}
	return win
}

// minutes reads HH:MM, 00:00 to 24:00.
func minutes(s string) (int, bool) {
	h, m, ok := strings.Cut(s, ":")
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	n := int(hour)*60 + int(minute)
	return n, ok && len(h) == 2 && len(m) == 2 && err1 == nil && err2 == nil && minute < 60 && n <= 24*60
}
