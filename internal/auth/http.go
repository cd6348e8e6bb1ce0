package auth

import (
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"

	"signalbox/internal/wire"
)

// Web is who a web request comes from, for a page that a SIP account opens: Digest as in SIP, with the same nonces and the same throttle, or Basic where
// nobody can listen.
type Web struct {
	Realm  string
	From   netip.Addr
	Secret bool // nobody can listen: TLS, or this machine
}

// VerifyHTTP returns the user that a web request proves to be (RFC 7616, 3; RFC 7617). If it proves none, it has answered: with a 401 that asks, or a 429
// if this source failed too often.
func (v *Verifier) VerifyHTTP(w http.ResponseWriter, r *http.Request, at Web) (user string, ok bool) {
	source := v.throttle.source(at.From)
	if wait := v.throttle.refused(source); wait > 0 {
		e := tooMany(wait)
		for _, h := range e.Headers {
			w.Header().Set(h.Name(), h.Value())
		}
		http.Error(w, "Too many wrong passwords. Wait a few minutes.", http.StatusTooManyRequests)
		return "", false
	}
	name, password, basic := r.BasicAuth()
	why := errNone
	switch rest, digest := cutScheme(r.Header.Get("Authorization"), "Digest"); {
	case digest:
		if user, why = v.digestHTTP(rest, r, at.Realm, source); why == nil {
			return user, true
		}
		name = user
	case basic && at.Secret:
		if v.password(name, at.Realm, password) {
			return name, true
		}
		why = errWrong
	}
	if why == errWrong {
		v.failed(nonce{source: source}, name, wire.FlowID{Remote: netip.AddrPortFrom(at.From, 0)})
	}
	v.challengeHTTP(w, at, source, why)
	return "", false
}

// digestHTTP verifies credentials of RFC 7616, 3.4. The errors are those of a challenge; with a wrong password the user is who was claimed.
func (v *Verifier) digestHTTP(text string, r *http.Request, realm string, source uint32) (user string, why error) {
	c, err := parseDigest(text)
	if err != nil || c.realm != realm {
		return "", errNone
	}
	alg, nc, reason := c.accepted()
	if reason != "" || c.uri != r.RequestURI {
		return "", errNone
	}
	n, ok := v.mint.open(c.nonce, realm)
	if !ok || n.source != source {
		return "", errStale
	}
	ha1, known := v.ha1(alg, c.username, realm)
	var digits [64]byte
	if want := alg.respond(digits[:0], ha1, r.Method, &c); !same(want, c.response) || !known {
		return c.username, errWrong
	}
	if !v.used.mark(n, nc) {
		return "", errReplay
	}
	return c.username, nil
}

// password tells whether it is the user's, by the hash that is stored.
func (v *Verifier) password(user, realm, password string) bool {
	ha1, known := v.ha1(algMD5, user, realm)
	sum := md5.Sum([]byte(user + ":" + realm + ":" + password))
	return same([]byte(ha1), hex.EncodeToString(sum[:])) && known
}

// challengeHTTP asks for credentials, the strongest first (RFC 7616, 3.7).
func (v *Verifier) challengeHTTP(w http.ResponseWriter, at Web, source uint32, why error) {
	fresh := v.mint.issue(at.Realm, source)
	for _, alg := range []algorithm{algSHA256, algMD5} {
		var b strings.Builder
		b.WriteString("Digest realm=")
		b.Write(appendQuoted(nil, at.Realm))
		b.WriteString(`, nonce="`)
		b.Write(fresh[:])
		b.WriteString(`", algorithm=` + alg.String() + `, qop="auth"`)
		if why == errStale || why == errReplay {
			b.WriteString(", stale=true")
		}
		w.Header().Add("WWW-Authenticate", b.String())
	}
	if at.Secret {
		w.Header().Add("WWW-Authenticate", "Basic realm="+string(appendQuoted(nil, at.Realm))+`, charset="UTF-8"`)
	}
	http.Error(w, "Sign in with a SIP account of "+at.Realm+".", http.StatusUnauthorized)
}
