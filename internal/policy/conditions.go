package policy

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"signalbox/internal/wire"
)

// conditions are a compiled "when". A nil or zero part asks for nothing.
type conditions struct {
	actions    uint8 // bit set
	users      *names
	groups     []*names // any of them
	targets    *names
	devices    *names
	kinds      []string
	doors      uint8
	transports uint8
	nat        *bool
	sources    []netip.Prefix
	trusts     uint8
	window     *window
}

// hold tells whether all conditions hold. The cheap ones come first.
func (c *conditions) hold(f *Facts) (bool, error) {
	if c.actions&(1<<f.Action) == 0 || !inSet(c.doors, uint8(f.Door)) || !inSet(c.trusts, uint8(f.Trust)) {
		return false, nil
	}
	if c.transports != 0 || c.nat != nil || c.sources != nil {
		if f.Offline {
			return false, nil
		}
		if f.Proto == 0 || !f.Source.IsValid() {
			return false, errUnknown
		}
		if !inSet(c.transports, uint8(f.Proto)) || c.nat != nil && *c.nat != f.NAT || c.sources != nil && !c.from(f.Source.Unmap()) {
			return false, nil
		}
	}
	if c.kinds != nil && !slices.Contains(c.kinds, f.Kind) {
		return false, nil
	}
	if (c.users != nil || c.groups != nil) && f.User == (wire.AOR{}) {
		return false, errUnknown
	}
	if c.users != nil && !c.users.has(f.User) || c.groups != nil && !c.member(f.User) ||
		c.targets != nil && !c.targets.has(f.Target) || c.devices != nil && !c.devices.has(f.Device) {
		return false, nil
	}
	if c.window == nil {
		return true, nil
	}
	if f.Now.IsZero() {
		return false, errUnknown
	}
	return c.window.contains(f.Now), nil
}

// inSet tells whether n is in a set; an empty set has everything.
func inSet(set, n uint8) bool { return set == 0 || set&(1<<n) != 0 }

func (c *conditions) from(a netip.Addr) bool {
	return slices.ContainsFunc(c.sources, func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) })
}

func (c *conditions) member(u wire.AOR) bool {
	return slices.ContainsFunc(c.groups, func(g *names) bool { return g.has(u) })
}

// names is a set of addresses, some of them as beginnings. Everything else is compared whole: alice is not alice2.
type names struct {
	whole  map[wire.AOR]bool
	begins []wire.AOR
}

func (n *names) has(a wire.AOR) bool {
	if n.whole[a] {
		return true
	}
	for _, b := range n.begins {
		if a.Host == b.Host && a.User != "" && strings.HasPrefix(a.User, b.User) {
			return true
		}
	}
	return false
}

// window is a time of day on some days.
type window struct {
	zone     *time.Location
	from, to int  // minutes of the day; to <= from goes past midnight; equal is the whole day
	days     byte // on which it begins, bit 0 is Sunday
}

func (w *window) contains(t time.Time) bool {
	t = t.In(w.zone)
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	on := func(d time.Weekday) bool { return w.days&(1<<((d+7)%7)) != 0 }
	if w.from < w.to {
		return on(day) && w.from <= minute && minute < w.to
	}
	return on(day) && minute >= w.from || on(day-1) && minute < w.to
}
