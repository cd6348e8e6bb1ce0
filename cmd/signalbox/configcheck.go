package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// checker turns the file's values into a config and collects every finding, so that one run shows them all.
type checker struct {
	*places
	found []error
}

func (k *checker) bad(key, format string, args ...any) {
	k.found = append(k.found, k.errorf(key, format, args...))
}

// written are the findings about what stands in the file: what is missing is perhaps there, under a name that we do not know.
func (k *checker) written() (all []error) {
	for _, err := range k.found {
		if one, ok := err.(*configError); ok && one.line > 0 {
			all = append(all, one)
		}
	}
	return all
}

func (k *checker) file(c *config, f *configFile) {
	k.domains(c, f)
	k.addresses("listen.udp", f.Listen.UDP, &c.udp)
	k.addresses("listen.tcp", f.Listen.TCP, &c.tcp)
	k.addresses("listen.tls", f.Listen.TLS, &c.tls)
	k.addresses("listen.https", f.Listen.HTTPS, &c.https)
	k.addresses("listen.http", f.Listen.HTTP, &c.http)
	c.httpsUnasked = c.httpsUnasked && f.Listen.HTTPS == nil
	k.origins(c, f.Web.Origins)
	k.proxies(c, f.Web.Proxies)
	k.advertise(c, f.Listen.Advertise)
	k.tls(c, f)
	k.store(c, f)
	k.choice("auth.inbound", f.Auth.Inbound, &c.inbound, "authenticated", "any")
	c.sha256First = f.Auth.SHA256First
	c.allowPrivate = f.Proxy.AllowPrivate
	k.edge(c, f.Proxy.Edge)
	k.metrics(c, f.Observe.Metrics)
	k.limits(c, f.Limits)
	k.media(c, f.Media)
	k.turn(c, f.TURN)
	c.policyFile = k.path(f.Policy.File)
	k.choice("log.format", f.Log.Format, &c.format, "auto", "text", "json")
	level := "info"
	k.choice("log.level", f.Log.Level, &level, "error", "warn", "info", "debug", "trace")
	c.level = map[string]slog.Level{"error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug, "trace": levelTrace}[level]
	if len(c.udp)+len(c.tcp)+len(c.tls)+len(c.https)+len(c.http) == 0 {
		k.bad("listen", "everything is turned off: give at least one of udp, tcp, tls, https, http")
	}
	k.clashes(c)
}

func (k *checker) domains(c *config, f *configFile) {
	names := f.Domains
	switch {
	case f.Domain != "" && len(names) > 0:
		k.bad("domains", "give domain or domains, not both")
	case f.Domain != "":
		c.domains = []string{k.domain("domain", f.Domain)}
	case len(names) > 0:
		c.domains = nil
		for i, name := range names {
			key := fmt.Sprintf("domains[%d]", i)
			if name = k.domain(key, name); slices.Contains(c.domains, name) {
				k.bad(key, "%s is listed twice", name)
			}
			c.domains = append(c.domains, name)
		}
	case len(c.domains) == 0:
		k.bad("domain", `missing: which domain do the phones register with? domain = "example.org"`)
	}
}

func (k *checker) domain(key, name string) string {
	host := strings.Trim(name, "[]")
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		name = "[" + host + "]"
	}
	u, err := wire.ParseURI("sip:" + name)
	if err != nil || u.User != "" || u.Port != 0 || u.Params != "" || u.Headers != "" {
		k.bad(key, "%q is not a domain name: a host name such as example.org, without port or user", name)
		return name
	}
	return strings.TrimSuffix(u.Host, ".") // the same domain; phones write it without
}

// addresses reads one transport's listen addresses. A transport that the file does not name keeps its default.
func (k *checker) addresses(key string, value any, to *[]string) {
	if value == nil {
		return
	}
	*to = nil
	for _, s := range k.list(key, value) {
		if err := checkAddress(s.value); err != nil {
			k.bad(s.key, "%v", err)
		} else if slices.Contains(*to, s.value) {
			k.bad(s.key, "%s is listed twice", s.value)
		} else {
			*to = append(*to, s.value)
		}
	}
}

// item is one string of a value that may be a string or a list of strings.
type item struct{ key, value string }

// list reads such a value; an empty string is an empty list.
func (k *checker) list(key string, value any) (items []item) {
	switch v := value.(type) {
	case nil:
	case string:
		if v != "" {
			items = append(items, item{key, v})
		}
	case []any:
		for i, one := range v {
			at := fmt.Sprintf("%s[%d]", key, i)
			s, ok := one.(string)
			if !ok {
				k.bad(at, "wrong type: want a string in quotes")
				continue
			}
			items = append(items, item{at, s})
		}
	default:
		k.bad(key, "wrong type: want a string in quotes or a list of strings")
	}
	return items
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err != nil {
		return fmt.Errorf(`%q is not an address to listen on: want "IP:PORT" or ":PORT"`, s)
	}
	return nil
}

func (k *checker) origins(c *config, value any) {
	for _, s := range k.list("web.origins", value) {
		if err := transport.ParseOrigin(s.value); err != nil {
			k.bad(s.key, "%v", err)
			continue
		}
		c.origins = append(c.origins, s.value)
	}
}

func (k *checker) proxies(c *config, value any) {
	for _, s := range k.list("web.proxies", value) {
		p, err := netip.ParsePrefix(s.value)
		if a, e := netip.ParseAddr(s.value); e == nil {
			p, err = a.Unmap().Prefix(a.Unmap().BitLen())
		}
		if err != nil {
			k.bad(s.key, "%q is not the address of a web server in front of this one: want \"IP\" or \"IP/BITS\"", s.value)
			continue
		}
		c.proxies = append(c.proxies, p.Masked())
	}
}

func (k *checker) edge(c *config, value any) {
	for _, s := range k.list("proxy.edge", value) {
		name := k.domain(s.key, s.value)
		if slices.Contains(c.domains, name) {
			k.bad(s.key, "%s is our own domain: edge names those of other servers", name)
		}
		c.edge = append(c.edge, name)
	}
}

func (k *checker) advertise(c *config, value any) {
	for _, s := range k.list("listen.advertise", value) {
		addr, err := netip.ParseAddr(s.value)
		switch {
		case err != nil || addr.IsUnspecified():
			k.bad(s.key, "%q is not an IP address", s.value)
		case slices.ContainsFunc(c.advertise, func(a netip.Addr) bool { return a.Is4() == addr.Unmap().Is4() }):
			k.bad(s.key, "one address of each family at most")
		default:
			c.advertise = append(c.advertise, addr.Unmap())
		}
	}
}

func (k *checker) store(c *config, f *configFile) {
	if s := f.Store.Database; s != "" {
		path, ok := strings.CutPrefix(s, "sqlite:")
		if !ok || path == "" {
			k.bad("store.database", `%q: want "sqlite:PATH"`, s)
			return
		}
		c.database = path
	}
	c.database = k.path(c.database)
	location := "sqlite"
	k.choice("store.location", f.Store.Location, &location, "sqlite", "memory")
	c.volatile = location == "memory"
}

// path makes a path of the file absolute: it is relative to the configuration, not to where the program was started.
func (k *checker) path(s string) string {
	if s == "" || filepath.IsAbs(s) {
		return s
	}
	s = filepath.Join(filepath.Dir(k.places.file), s)
	if abs, err := filepath.Abs(s); err == nil {
		return abs
	}
	return s
}

func (k *checker) choice(key, value string, to *string, allowed ...string) {
	switch {
	case value == "":
	case slices.Contains(allowed, value):
		*to = value
	default:
		k.bad(key, "%q: want one of %s", value, strings.Join(allowed, ", "))
	}
}

// maxExpires is where delta-seconds end: 2**32-1 (RFC 3261, 20.19); a year is enough for anybody.
const maxExpires = int(365 * 24 * time.Hour / time.Second)

func (k *checker) limits(c *config, l limits) {
	for _, one := range []struct {
		key      string
		value    int
		min, max int
	}{
		{"limits.transactions", l.Transactions, 100, 10_000_000},
		{"limits.connections", l.Connections, 10, 1_000_000},
		{"limits.connections_per_address", l.ConnectionsPerAddress, 1, 1_000_000},
		{"limits.contacts_per_aor", l.ContactsPerAOR, 1, location.MaxBindings},
		{"limits.registration_min", l.RegistrationMin, 1, 3600}, // above an hour 423 is forbidden: RFC 3261, 10.3 step 7
		{"limits.registration_default", l.RegistrationDefault, 1, maxExpires},
		{"limits.registration_max", l.RegistrationMax, 1, maxExpires},
	} {
		if _, given := k.at[one.key]; given && (one.value < one.min || one.value > one.max) {
			k.bad(one.key, "%d: want a number from %d to %d", one.value, one.min, one.max)
		}
	}
	c.limits = l
	switch {
	case l.defaultExpires() < l.minExpires():
		k.bad("limits.registration_default", "%v is shorter than the shortest registration, %v", l.defaultExpires(), l.minExpires())
	case l.maxExpires() < l.defaultExpires():
		k.bad("limits.registration_max", "%v is shorter than the default, %v", l.maxExpires(), l.defaultExpires())
	}
}
