package wire

import (
	"errors"
	"net/netip"
	"strings"
)

var (
	errURI     = errors.New("not a URI")
	errURILong = errors.New("URI too long")
	errUser    = errors.New("bad user part in URI")
	errHost    = errors.New("bad host")
	errPort    = errors.New("bad port")
	errParams  = errors.New("bad parameters")
	errHeaders = errors.New("bad headers in URI")
)

// URI is a SIP, SIPS or other URI (RFC 3261, 19.1 and 25.1) as substrings of Raw: parsing allocates nothing.
type URI struct {
	Raw            string // as it stood on the wire, and as it is written
	Scheme         string // lower case: "sip", "sips", "tel" ...; for schemes other than sip and sips only Raw and Scheme are set
	User, Password string // still escaped
	Host           string // lower case; an IPv6 reference without its brackets
	Port           int    // 0 when absent
	Params         string // raw with the leading ';', e.g. ";transport=tcp;lr"
	Headers        string // raw with the leading '?'
}

// ParseURI is strict: a URI it accepts is written back byte for byte and means one thing to everybody. Beyond the grammar it refuses a
// parameter that stands twice (RFC 3261, 19.1.1) and hosts that some resolvers read as addresses in disguise.
func ParseURI(s string) (URI, error) {
	var u URI
	if err := u.parse(s); err != nil {
		return URI{}, err
	}
	return u, nil
}

func (u *URI) parse(s string) (err error) {
	if len(s) > MaxURI {
		return errURILong
	}
	colon := strings.IndexByte(s, ':')
	if colon <= 0 {
		return errURI
	}
	u.Raw = s
	switch scheme := s[:colon]; {
	case fold(scheme, "sip"):
		u.Scheme = "sip"
	case fold(scheme, "sips"):
		u.Scheme = "sips"
	default:
		return u.parseOpaque(colon)
	}
	rest := s[colon+1:]
	// "@" is legal nowhere but at the end of the userinfo, which itself may hold ";" and "?".
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		if err := u.parseUserinfo(rest[:at]); err != nil {
			return err
		}
		rest = rest[at+1:]
	}
	if u.Host, rest, err = cutHost(rest); err != nil {
		return err
	}
	if u.Port, rest, err = cutPort(rest); err != nil {
		return err
	}
	if rest == "" {
		return nil
	}
	u.Params = rest
	if q := strings.IndexByte(rest, '?'); q >= 0 {
		u.Params, u.Headers = rest[:q], rest[q:]
		if !validURIHeaders(u.Headers) {
			return errHeaders
		}
	}
	if !validURIParams(u.Params) {
		return errParams
	}
	return nil
}

// parseOpaque reads an absoluteURI of another scheme: its inside is for somebody else (RFC 3261, 25.1 absoluteURI).
func (u *URI) parseOpaque(colon int) error {
	scheme, rest := u.Raw[:colon], u.Raw[colon+1:]
	if c := lowerByte(scheme[0]); c < 'a' || c > 'z' || !all(scheme, isScheme) {
		return errURI
	}
	if rest == "" || !escaped(rest, isOpaque) {
		return errURI
	}
	u.Scheme = lower(scheme)
	return nil
}

func (u *URI) parseUserinfo(s string) error {
	u.User = s
	if i := strings.IndexByte(s, ':'); i >= 0 {
		u.User, u.Password = s[:i], s[i+1:]
	}
	if u.User == "" || !escaped(u.User, isUser) || !escaped(u.Password, isPass) {
		return errUser
	}
	return nil
}

// cutHost cuts a host off the front of s: in lower case, an IPv6 reference without its brackets.
func cutHost(s string) (host, rest string, err error) {
	if s != "" && s[0] == '[' {
		return cutIPv6(s)
	}
	label, upper, n := 0, false, 0 // label: where the last one starts
	for ; n < len(s) && classes[s[n]]&isHost != 0; n++ {
		switch c := s[n]; {
		case c == '.' && (n == 0 || s[n-1] == '.'):
			return "", "", errHost
		case c == '.' && n+1 < len(s) && classes[s[n+1]]&isHost != 0: // but for a dot at the end
			label = n + 1
		case 'A' <= c && c <= 'Z':
			upper = true
		}
	}
	if n == 0 || n > MaxHost {
		return "", "", errHost
	}
	host, rest = s[:n], s[n:]
	// A host whose last label is a number is an IPv4 address or nothing: "2130706433", "0177.0.0.1" and "0x7f.1" are
	// 127.0.0.1 to some resolvers.
	if numeric(host[label:]) {
		if _, err := netip.ParseAddr(host); err != nil {
			return "", "", errHost
		}
	}
	if upper {
		host = strings.ToLower(host)
	}
	return host, rest, nil
}

// numeric tells whether inet_aton would take the label for a number.
func numeric(label string) bool {
	label = strings.TrimSuffix(label, ".")
	if label == "" || classes[label[0]]&isDigit == 0 {
		return false
	}
	if len(label) >= 2 && label[0] == '0' && label[1]|0x20 == 'x' {
		return span(label[2:], isHex) == len(label)-2
	}
	return all(label, isDigit)
}

// cutIPv6 reads an IPv6reference. The grammar of RFC 3261 asks for a third colon before an embedded IPv4 address; both forms are read
// (RFC 5118, 4.10).
func cutIPv6(s string) (host, rest string, err error) {
	end := strings.IndexByte(s, ']')
	if end < 0 || end > len("[0000:0000:0000:0000:0000:0000:255.255.255.255:") {
		return "", "", errHost
	}
	host = s[1:end]
	if strings.Contains(host, ":::") && strings.Contains(host, ".") {
		host = strings.Replace(host, ":::", "::", 1)
	}
	if a, err := netip.ParseAddr(host); err != nil || a.Is4() || a.Zone() != "" {
		return "", "", errHost
	}
	return lower(host), s[end+1:], nil
}

// cutPort cuts ":port" off the front of s; port is 0 if there is none.
func cutPort(s string) (port int, rest string, err error) {
	if s == "" || s[0] != ':' {
		return 0, s, nil
	}
	n := span(s[1:], isDigit)
	if n == 0 || n > 5 {
		return 0, "", errPort
	}
	for i := 1; i <= n; i++ {
		port = port*10 + int(s[i]-'0')
	}
	if port == 0 || port > 65535 {
		return 0, "", errPort
	}
	return port, s[1+n:], nil
}

// validURIParams checks ";name=value;name": names and values of paramchar, no name twice.
func validURIParams(s string) bool {
	for rest, n := s, 0; rest != ""; n++ {
		name, value, tail := cutURIParam(rest)
		if n == MaxParams || rest[0] != ';' || name == "" || !escaped(name, isParam) || !escaped(value, isParam) {
			return false
		}
		for before := s; len(before) > len(rest); {
			var other string
			other, _, before = cutURIParam(before)
			if equalEscaped(other, name, true) {
				return false
			}
		}
		rest = tail
	}
	return true
}

// cutURIParam cuts the first parameter off a ";a=b;c" string of a URI, whose values have no quotes.
func cutURIParam(s string) (name, value, rest string) {
	s = s[1:]
	if i := strings.IndexByte(s, ';'); i >= 0 {
		s, rest = s[:i], s[i:]
	}
	name, value, _ = strings.Cut(s, "=")
	return name, value, rest
}

// validURIHeaders checks "?name=value&name=value".
func validURIHeaders(s string) bool {
	s = s[1:]
	for n := 0; ; n++ {
		h, rest, more := strings.Cut(s, "&")
		name, value, ok := strings.Cut(h, "=")
		if n == MaxParams || !ok || name == "" || !escaped(name, isHName) || !escaped(value, isHName) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

func (u URI) String() string { return u.Raw }

// IsSIP tells whether the scheme is sip or sips.
func (u URI) IsSIP() bool { return u.Scheme == "sip" || u.Scheme == "sips" }

// Param returns a uri-parameter with its escapes resolved (name in lower case; names compare without case, escapes resolved).
func (u URI) Param(name string) (value string, ok bool) {
	for rest := u.Params; rest != ""; {
		var n, v string
		n, v, rest = cutURIParam(rest)
		if equalEscaped(n, name, true) {
			return unescape(v), true
		}
	}
	return "", false
}

// Transport is the transport that a SIP URI means by itself. RFC 3263, 4.1
func (u URI) Transport() Proto {
	proto := UDP
	if name, ok := u.Param("transport"); ok {
		proto, _ = ParseProto(name)
	}
	if u.Scheme == "sips" {
		switch proto {
		case WS, WSS:
			return WSS
		default:
			return TLS
		}
	}
	return proto
}

// Addr returns the host as an IP address if it is a numeric one (strict dotted quad or IPv6 reference; no octal, no short forms). An
// IPv4-mapped IPv6 address comes as the IPv4 address it is, so that checks see the truth.
func (u URI) Addr() (netip.Addr, bool) { return hostAddr(u.Host) }

func hostAddr(host string) (netip.Addr, bool) {
	// Cheap answer for names: an address starts with a digit or has a colon.
	if host == "" || (classes[host[0]]&isDigit == 0 && strings.IndexByte(host, ':') < 0) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}
