package wire

import "strings"

// Equal compares per RFC 3261, 19.1.4. URIs of other schemes are equal if they are the same but for the case of the scheme.
func (u URI) Equal(v URI) bool {
	if u.Scheme != v.Scheme {
		return false // a SIP and a SIPS URI are never equivalent
	}
	if !u.IsSIP() {
		return afterScheme(u) == afterScheme(v)
	}
	// The userinfo compares with case, everything else without. A component with its default value is not an absent one.
	return u.Port == v.Port && equalHost(u.Host, v.Host) &&
		equalEscaped(u.User, v.User, false) && equalEscaped(u.Password, v.Password, false) &&
		equalParams(u.Params, v.Params) && equalParams(v.Params, u.Params) &&
		equalHeaders(u.Headers, v.Headers)
}

func afterScheme(u URI) string { return u.Raw[min(len(u.Scheme), len(u.Raw)):] }

// equalHost compares names without case (they are in lower case already) and IPv6 addresses by value.
func equalHost(a, b string) bool {
	if a == b {
		return true
	}
	if strings.IndexByte(a, ':') < 0 || strings.IndexByte(b, ':') < 0 {
		return false
	}
	x, ok := hostAddr(a)
	y, okay := hostAddr(b)
	return ok && okay && x == y
}

// equalParams compares each parameter of a with its like in b: one that stands in both must match; user, ttl, method, maddr and transport
// never match their absence; others are ignored then (RFC 3261, 19.1.4).
func equalParams(a, b string) bool {
	for a != "" {
		var name, value string
		name, value, a = cutURIParam(a)
		other, ok := findURIParam(b, name)
		if !ok && mustBeInBoth(name) || ok && !equalEscaped(value, other, true) {
			return false
		}
	}
	return true
}

func findURIParam(params, name string) (value string, ok bool) {
	for params != "" {
		var n, v string
		n, v, params = cutURIParam(params)
		if equalEscaped(n, name, true) {
			return v, true
		}
	}
	return "", false
}

func mustBeInBoth(name string) bool {
	for _, n := range [...]string{"transport", "user", "method", "maddr", "ttl"} {
		if equalEscaped(name, n, true) {
			return true
		}
	}
	return false
}

// equalHeaders: header components are never ignored, their order is not significant (RFC 3261, 19.1.4).
func equalHeaders(a, b string) bool {
	if a == "" || b == "" {
		return a == b
	}
	return strings.Count(a, "&") == strings.Count(b, "&") && containsHeaders(a, b) && containsHeaders(b, a)
}

// containsHeaders tells whether each header of a stands in b with the same value.
func containsHeaders(a, b string) bool {
	for rest, more := a[1:], true; more; {
		var h string
		h, rest, more = strings.Cut(rest, "&")
		if !containsHeader(b, h) {
			return false
		}
	}
	return true
}

func containsHeader(headers, want string) bool {
	name, value, _ := strings.Cut(want, "=")
	for rest, more := headers[1:], true; more; {
		var h string
		h, rest, more = strings.Cut(rest, "&")
		n, v, _ := strings.Cut(h, "=")
		if equalEscaped(n, name, true) && equalEscaped(v, value, true) {
			return true
		}
	}
	return false
}

// equalEscaped compares a character with its escape as equal, except for reserved characters, whose escapes mean something else
// (RFC 3261, 19.1.4).
func equalEscaped(a, b string, anyCase bool) bool {
	if a == b {
		return true
	}
	for a != "" && b != "" {
		x, xEscaped, n := unit(a)
		y, yEscaped, m := unit(b)
		if anyCase {
			x, y = lowerByte(x), lowerByte(y)
		}
		if x != y || xEscaped != yEscaped && strings.IndexByte(";/?:@&=+$,", x) >= 0 {
			return false
		}
		a, b = a[n:], b[m:]
	}
	return a == b
}
