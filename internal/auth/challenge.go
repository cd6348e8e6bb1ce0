package auth

import (
	"errors"
	"strings"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/wire"
)

// Scope says which header fields are used.
type Scope int

const (
	Registrar Scope = iota // 401, WWW-Authenticate, Authorization (RFC 3261, 22.2)
	Proxy                  // 407, Proxy-Authenticate, Proxy-Authorization (RFC 3261, 22.3)
)

func (s Scope) code() int { return [...]int{401, 407}[s] }

func (s Scope) challenge() string {
	return [...]string{"WWW-Authenticate", "Proxy-Authenticate"}[s]
}

func (s Scope) credentials() string {
	return [...]string{"Authorization", "Proxy-Authorization"}[s]
}

// credentialsIn tells whether a header field of that name has credentials for the scope.
func (s Scope) credentialsIn(name string) bool {
	want := s.credentials()
	return len(name) == len(want) && strings.EqualFold(name, want)
}

// why a request is challenged, for the log.
var (
	errNone   = errors.New("auth: no credentials")
	errStale  = errors.New("auth: nonce is stale")
	errReplay = errors.New("auth: nonce and count were used before")
	errNoQop  = errors.New("auth: no qop")
	errWrong  = errors.New("auth: wrong user or password")
)

// challenge is the 401 or 407: one header field for each algorithm, the one we would rather see first (RFC 8760, 2.3). Stale says
// that a new try with this nonce needs no new password (RFC 7616, 3.3).
func (v *Verifier) challenge(req *wire.Request, scope Scope, realm string, from wire.FlowID, why error) *wire.Error {
	nonce := v.mint.issue(realm, v.throttle.source(from.Remote.Addr()))
	order := []algorithm{algMD5, algSHA256}
	if v.config.SHA256First {
		order = []algorithm{algSHA256, algMD5}
	}
	if knowsOnlyMD5(req, from.Proto) {
		order = []algorithm{algMD5}
	}
	var scratch [256]byte
	headers := make([]sip.Header, 0, len(order))
	for _, alg := range order {
		b := append(scratch[:0], "Digest realm="...)
		b = appendQuoted(b, realm)
		b = append(b, `, nonce="`...)
		b = append(b, nonce[:]...)
		b = append(b, `", algorithm=`...)
		b = append(b, alg.String()...)
		b = append(b, `, qop="auth"`...)
		if why == errStale || why == errReplay || why == errNoQop {
			b = append(b, `, stale=true`...)
		}
		headers = append(headers, wire.NewHeader(scope.challenge(), string(b)))
	}
	return &wire.Error{Code: scope.code(), Headers: headers, Err: why}
}

// knowsOnlyMD5 tells the phones that give up when one of several challenges is in an algorithm they do not know, where RFC 8760, 2.4 lets
// them pass over it: JsSIP and SIP.js, which read the last challenge only, and baresip before 2.0, which Debian 12 has ("Register: Function
// not implemented").
func knowsOnlyMD5(req *wire.Request, proto wire.Proto) bool {
	if proto == wire.WS || proto == wire.WSS {
		return true
	}
	agent := wire.Get(req, "User-Agent")
	return strings.HasPrefix(agent, "baresip v0.") || strings.HasPrefix(agent, "baresip v1.")
}

// info is the value of Authentication-Info: it proves that we know the password, and gives the nonce for the next request
// (RFC 7616, 3.5). The old nonce stays good too, so requests may overlap.
func (v *Verifier) info(alg algorithm, ha1, realm string, from wire.FlowID, c *credentials) string {
	nonce := v.mint.issue(realm, v.throttle.source(from.Remote.Addr()))
	var scratch [512]byte
	b := append(scratch[:0], `nextnonce="`...)
	b = append(b, nonce[:]...)
	b = append(b, `", qop=auth, rspauth="`...)
	b = alg.respond(b, ha1, "", c)
	b = append(b, `", cnonce=`...)
	b = appendQuoted(b, c.cnonce)
	b = append(b, `, nc=`...)
	b = append(b, c.nc...)
	return string(b)
}

// appendQuoted appends a quoted-string.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
