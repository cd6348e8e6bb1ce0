package auth

import (
	"errors"
	"strconv"
	"strings"

	"signalbox/internal/wire"
)

var (
	errSyntax  = errors.New("auth: not a Digest response")
	errTwice   = errors.New("auth: two Digest responses, or one parameter twice")
	errMissing = errors.New("auth: Digest response without username, realm, nonce, uri or response")
)

// credentials are one Digest response (RFC 7616, 3.4; RFC 3261, 25.1 dig-resp). Values are as they are hashed: without quotes and
// quoting slashes.
type credentials struct {
	username, realm, nonce, uri, response string
	algorithm, cnonce, qop, nc            string
	seen                                  param
}

// param is a set of parameters.
type param uint16

const (
	pUsername param = 1 << iota
	pRealm
	pNonce
	pURI
	pResponse
	pAlgorithm
	pCnonce
	pQop
	pNc

	pRequired = pUsername | pRealm | pNonce | pURI | pResponse
)

// find returns the credentials for our realm in the header fields of a scope. ok is false if there are none: other schemes and other
// realms are for others (RFC 3261, 22.3). Two for one realm would be two users, to two readers.
func find(req *wire.Request, scope Scope, realm string) (c credentials, ok bool, err error) {
	for _, h := range req.Headers() {
		if !scope.credentialsIn(h.Name()) {
			continue
		}
		rest, digest := cutScheme(h.Value(), "Digest")
		if !digest {
			continue
		}
		one, err := parseDigest(rest)
		if err != nil {
			return credentials{}, false, err
		}
		if one.realm != realm {
			continue
		}
		if ok {
			return credentials{}, false, errTwice
		}
		c, ok = one, true
	}
	return c, ok, nil
}

// cutScheme tells whether credentials are of a scheme, written in any case, and returns what follows it. Basic is not even looked at
// (RFC 8760, 2.6).
func cutScheme(s, scheme string) (rest string, ok bool) {
	s = skipSpace(s)
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return "", false
	}
	rest = s[len(scheme):]
	return rest, rest == "" || isSpace(rest[0])
}

// parseDigest reads the parameters that follow the scheme. A parameter that stands twice is refused, an unknown one is skipped.
func parseDigest(s string) (credentials, error) {
	var c credentials
	if len(s) > maxHeader {
		return c, errSyntax
	}
	for n := 0; ; n++ {
		name, value, rest, ok := cutParam(s)
		if !ok || n == maxParams {
			return credentials{}, errSyntax
		}
		if field, bit := c.field(name); field != nil {
			if c.seen&bit != 0 {
				return credentials{}, errTwice
			}
			if bit == pURI && value[0] != '"' { // RFC 8760, 2.6
				return credentials{}, errSyntax
			}
			c.seen |= bit
			*field = wire.Unquote(value)
		}
		if rest == "" {
			break
		}
		s = rest[1:] // the comma
	}
	if c.seen&pRequired != pRequired {
		return credentials{}, errMissing
	}
	return c, nil
}

// field returns where the value of a parameter is kept, nil if it is not.
func (c *credentials) field(name string) (*string, param) {
	switch len(name) {
	case 2:
		if strings.EqualFold(name, "nc") {
			return &c.nc, pNc
		}
	case 3:
		if strings.EqualFold(name, "uri") {
			return &c.uri, pURI
		}
		if strings.EqualFold(name, "qop") {
			return &c.qop, pQop
		}
	case 5:
		if strings.EqualFold(name, "realm") {
			return &c.realm, pRealm
		}
		if strings.EqualFold(name, "nonce") {
			return &c.nonce, pNonce
		}
	case 6:
		if strings.EqualFold(name, "cnonce") {
			return &c.cnonce, pCnonce
		}
	case 8:
		if strings.EqualFold(name, "username") {
			return &c.username, pUsername
		}
		if strings.EqualFold(name, "response") {
			return &c.response, pResponse
		}
	case 9:
		if strings.EqualFold(name, "algorithm") {
			return &c.algorithm, pAlgorithm
		}
	}
	return nil, 0
}

// cutParam cuts name=value off the front of s; value is a token or a quoted-string with its quotes, rest is empty or starts with the
// comma.
func cutParam(s string) (name, value, rest string, ok bool) {
	s = skipSpace(s)
	n := span(s, 0, inToken)
	name, s = s[:n], skipSpace(s[n:])
	if n == 0 || s == "" || s[0] != '=' {
		return "", "", "", false
	}
	s = skipSpace(s[1:])
	if s != "" && s[0] == '"' {
		n = quotedLen(s)
	} else {
		n = span(s, 0, inToken)
	}
	if n == 0 {
		return "", "", "", false
	}
	value, rest = s[:n], skipSpace(s[n:])
	return name, value, rest, rest == "" || rest[0] == ','
}

// class is a set of bytes of the grammar (RFC 3261, 25.1).
type class uint8

const (
	inToken  class = 1 << iota
	inQuoted       // stands for itself within quotes: neither quote, backslash nor control character
)

var classes = func() (t [256]class) {
	for c := range t {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-.!%*_+`'~", byte(c)) >= 0:
			t[c] = inToken | inQuoted
		case c == '\t', c >= ' ' && c != '"' && c != '\\' && c != 0x7f:
			t[c] = inQuoted
		}
	}
	return t
}()

// span returns where the bytes of s in the class, from the i-th on, end.
func span(s string, i int, in class) int {
	for i < len(s) && classes[s[i]]&in != 0 {
		i++
	}
	return i
}

// quotedLen is the length of the quoted-string at the start of s, quotes included; 0 if it does not end or holds control characters.
func quotedLen(s string) int {
	for i := span(s, 1, inQuoted); i < len(s); i = span(s, i, inQuoted) {
		switch {
		case s[i] == '"':
			return i + 1
		case s[i] != '\\' || i+1 == len(s) || s[i+1] < ' ' || s[i+1] >= 0x7f:
			return 0
		}
		i += 2
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func skipSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

// count reads the nonce count: exactly 8 hexadecimal digits (RFC 7616, 3.4), counted from 1.
func (c *credentials) count() (uint32, bool) {
	if len(c.nc) != 8 || c.nc[0] == '+' || c.nc[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(c.nc, 16, 32)
	return uint32(n), err == nil && n > 0
}

// accepted tells what is wrong with credentials that are well formed: they must be what we asked for (RFC 7616, 3.4; RFC 8760, 2.6).
// The reason goes to the peer, "" is right.
func (c *credentials) accepted() (alg algorithm, nc uint32, reason string) {
	alg, ok := algorithmNamed(c.algorithm, c.seen&pAlgorithm != 0)
	if !ok {
		return 0, 0, "Algorithm Not Offered"
	}
	// RFC 8760, 2.6: we always send qop, so it always comes back. Without it there is no nonce count, and nothing prevents a replay.
	if !strings.EqualFold(c.qop, "auth") {
		return 0, 0, "Only qop=auth"
	}
	if nc, ok = c.count(); !ok {
		return 0, 0, "Bad nc"
	}
	if c.cnonce == "" || len(c.cnonce) > maxCnonce {
		return 0, 0, "Bad cnonce"
	}
	return alg, nc, ""
}
