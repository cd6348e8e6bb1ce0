package wire

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// AOR is a canonical address-of-record: escapes resolved, host in lower case, no parameters (RFC 3261, 10.3 step 5). Its own type, so
// that nobody looks up a raw URI. sip:alice@example.org and sips:alice@example.org are the same.
type AOR struct {
	User string // unescaped
	Host string // one of our domains, in lower case
}

// String is the address as a URI: "sip:alice@example.org"; User escaped again.
func (a AOR) String() string { return string(a.Append(make([]byte, 0, len(a.User)+len(a.Host)+8))) }

// Append appends what String returns.
func (a AOR) Append(b []byte) []byte {
	b = append(b, "sip:"...)
	if a.User != "" {
		b = append(appendEscaped(b, a.User), '@')
	}
	if strings.IndexByte(a.Host, ':') >= 0 {
		return append(append(append(b, '['), a.Host...), ']')
	}
	return append(b, a.Host...)
}

// appendEscaped writes a user part, escaping what the grammar does not allow there (RFC 3261, 19.1.2).
func appendEscaped(b []byte, user string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(user) {
		if c := user[i]; classes[c]&isUser != 0 && c != '#' {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// Domains are the domains we are responsible for. The zero value owns nothing.
type Domains struct {
	names []string              // the first is the primary domain
	hosts map[string]string     // lower-case host name -> domain
	addrs map[netip.Addr]string // numeric host -> domain
}

// NewDomains: names are our domains, aliases (our own addresses, "192.0.2.7", "2001:db8::1", and host names) count as names[0].
func NewDomains(names, aliases []string) *Domains {
	d := &Domains{hosts: make(map[string]string), addrs: make(map[netip.Addr]string)}
	for _, n := range names {
		n = strings.TrimSuffix(lower(n), ".")
		d.names = append(d.names, n)
		d.add(n, n)
	}
	for _, a := range aliases {
		d.add(strings.TrimSuffix(lower(a), "."), d.Primary())
	}
	return d
}

func (d *Domains) add(host, domain string) {
	host = strings.Trim(host, "[]")
	if a, ok := hostAddr(host); ok {
		if _, taken := d.addrs[a]; !taken {
			d.addrs[a] = domain
		}
	} else if _, taken := d.hosts[host]; !taken {
		d.hosts[host] = domain
	}
}

// Primary is the first domain.
func (d *Domains) Primary() string {
	if len(d.names) == 0 {
		return ""
	}
	return d.names[0]
}

// Names returns our domains, the primary first. It must not be changed.
func (d *Domains) Names() []string { return d.names }

// Domain maps a host (any case, IPv6 without brackets) to the domain of ours it means.
func (d *Domains) Domain(host string) (string, bool) {
	if a, ok := hostAddr(host); ok {
		name, ok := d.addrs[a]
		return name, ok
	}
	name, ok := d.hosts[strings.TrimSuffix(lower(host), ".")]
	return name, ok
}

// AOR canonicalises a sip or sips URI whose host is ours, whatever its port: ok is false for any other URI (RFC 3261, 10.3 step 5). A URI
// without user is ok with User "". A user with control characters or broken UTF-8 behind its escapes is nobody's: databases, logs and other
// programs would not agree who that is.
func (d *Domains) AOR(u URI) (a AOR, ok bool) {
	if !u.IsSIP() {
		return AOR{}, false
	}
	host, ok := d.Domain(u.Host)
	if !ok {
		return AOR{}, false
	}
	user := unescape(u.User)
	for i := range len(user) {
		if user[i] < ' ' || user[i] == 0x7f {
			return AOR{}, false
		}
	}
	if !utf8.ValidString(user) {
		return AOR{}, false
	}
	return AOR{User: user, Host: host}, true
}
