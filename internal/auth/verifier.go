package auth

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"signalbox/internal/wire"
)

// Users gives the HA1 values of an account, lower-case hex, "" for an algorithm that is not stored.
type Users interface {
	HA1(name, realm string) (md5, sha256 string, ok bool)
}

// Config is what a Verifier needs.
type Config struct {
	Users Users
	Key   []byte        // 32 bytes, persisted: after a restart phones are told that their nonces are stale, not that their passwords are wrong
	Nonce time.Duration // life of a nonce; 0 is NonceLife

	// SHA256First puts the SHA-256 challenge before the MD5 one, for operators whose phones all know it (RFC 8760, 2.4). On WebSocket
	// MD5 stays first: JsSIP and SIP.js read nothing else. SIPp 3.6 and many desk phones give up at a first challenge they do
	// not know, so MD5 comes first by default; phones may choose the other (RFC 8760, 2.3).
	SHA256First bool

	// Ours tells whether host:port (0: none given) is this server: a domain or a listener. Some clients, SIPp among them, sign "sip:" and the
	// address they send to in place of the Request-URI. nil: none is accepted.
	Ours func(host string, port int) bool

	// Accepts tells whether the login that a session token was given out for is still there, and no later token has taken its place. nil: no session token is believed.
	Accepts func(Session) bool

	Failed func(user, source string) // a wrong password was seen; nil is silent
}

// Validate tells what is missing.
func (c Config) Validate() error {
	switch {
	case c.Users == nil:
		return errors.New("auth: no users")
	case len(c.Key) != 32:
		return errors.New("auth: the key must have 32 bytes")
	case c.Nonce < 0:
		return errors.New("auth: the life of a nonce is negative")
	}
	return nil
}

// Verifier challenges and verifies. It keeps no table of the nonces it issued. Safe for concurrent use.
type Verifier struct {
	config   Config
	mint     *mint
	used     used
	throttle *throttle
	sessions *sessions
	nobody   [2]string // HA1 of a user that does not exist, by algorithm
}

// NewVerifier returns an error if the Config is not valid.
func NewVerifier(c Config) (*Verifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Nonce == 0 {
		c.Nonce = NonceLife
	}
	v := &Verifier{config: c, mint: newMint(c.Key, c.Nonce), throttle: newThrottle()}
	var err error
	if v.sessions, err = newSessions(c.Key, c.Users); err != nil {
		return nil, err
	}
	for alg := range v.nobody {
		b := make([]byte, algorithm(alg).size()/2)
		rand.Read(b) // never fails
		v.nobody[alg] = hex.EncodeToString(b)
	}
	return v, nil
}

// Identity is who was proven.
type Identity struct {
	User, Realm string
	Info        string   // value of Authentication-Info for the 2xx (RFC 7616, 3.5); only for Scope Registrar
	Session     *Session // by whose token it was proven; nil: otherwise

	nonce nonce // that the credentials answer
}

// Verify returns who sent the request, or the ready answer: the 401 or 407 that asks for credentials, 400 for credentials that we did not
// ask for, 503 with Retry-After for a source that failed too often (it heals by itself, where a 403 makes phones give up for good:
// RFC 3261, 21.4.4). A request that it accepted once is not accepted again (RFC 7616, 5.5).
func (v *Verifier) Verify(req *wire.Request, scope Scope, realm string, from wire.FlowID) (Identity, *wire.Error) {
	c, ok, err := find(req, scope, realm)
	if err != nil {
		return Identity{}, &wire.Error{Code: 400, Reason: "Bad Credentials", Err: err}
	}
	if !ok {
		if id, shown, refused := v.bySession(req, scope, realm, from); shown {
			return id, refused
		}
	}
	// RFC 8760, 2.7: who has not been challenged yet may send a parameter with nothing in it.
	if !ok || c.nonce == "" || c.response == "" {
		return Identity{}, v.challenge(req, scope, realm, from, errNone)
	}
	if c.seen&pQop == 0 {
		return Identity{}, v.challenge(req, scope, realm, from, errNoQop)
	}
	alg, nc, reason := c.accepted()
	if reason != "" {
		return Identity{}, &wire.Error{Code: 400, Reason: reason, Err: errSyntax}
	}
	if !v.corresponds(c.uri, req.URI) {
		return Identity{}, &wire.Error{Code: 400, Reason: "Credentials For Another URI", Err: errSyntax}
	}
	n, ok := v.mint.open(c.nonce, realm)
	if !ok {
		return Identity{}, v.challenge(req, scope, realm, from, errStale)
	}
	if wait := v.throttle.refused(n.source); wait > 0 {
		return Identity{}, tooMany(wait)
	}
	ha1, known := v.ha1(alg, c.username, realm)
	var digits [64]byte
	if want := alg.respond(digits[:0], ha1, string(req.Method), &c); !same(want, c.response) || !known {
		v.failed(n, c.username, from)
		return Identity{}, v.challenge(req, scope, realm, from, errWrong)
	}
	if !v.used.mark(n, nc) {
		return Identity{}, v.challenge(req, scope, realm, from, errReplay)
	}
	id := Identity{User: c.username, Realm: realm, nonce: n}
	if scope == Registrar {
		id.Info = v.info(alg, ha1, realm, from, &c)
	}
	return id, nil
}

// Age is how old the challenge is that somebody answered.
func (v *Verifier) Age(id Identity) time.Duration {
	return time.Duration(v.mint.now()-id.nonce.issued) * time.Millisecond
}

// Moved tells whether the challenge that somebody answered was sent to another source than this one.
func (v *Verifier) Moved(id Identity, from wire.FlowID) bool {
	return id.nonce.source != v.throttle.source(from.Remote.Addr())
}

// Again is a new challenge for somebody whose credentials were right, but answer one that is not good enough any more: no new password is
// asked for (RFC 7616, 3.3).
func (v *Verifier) Again(req *wire.Request, scope Scope, realm string, from wire.FlowID) *wire.Error {
	return v.challenge(req, scope, realm, from, errStale)
}

// ha1 returns the stored HA1 of a user. For one who does not exist it returns another, so that the answer takes the same time.
func (v *Verifier) ha1(alg algorithm, user, realm string) (ha1 string, known bool) {
	md5, sha256, ok := v.config.Users.HA1(user, realm)
	ha1 = md5
	if alg == algSHA256 {
		ha1 = sha256
	}
	if !ok || len(ha1) != alg.size() {
		return v.nobody[alg], false
	}
	return ha1, true
}

// corresponds tells whether credentials for uri are good for a request to target (RFC 7616, 3.4.6). In SIP the two need not be the same, as
// long as uri is for somebody we serve (RFC 8760, 2.6): so parameters may differ, which clients leave out, and uri may be ourselves.
// It may not be another user: then captured credentials would be good for a call to anybody.
func (v *Verifier) corresponds(uri string, target wire.URI) bool {
	if uri == target.Raw {
		return true
	}
	u, err := wire.ParseURI(uri)
	if err != nil || !u.IsSIP() {
		return false
	}
	if u.User == "" && v.config.Ours != nil && v.config.Ours(u.Host, u.Port) {
		return true
	}
	u.Params, u.Headers, target.Params, target.Headers = "", "", "", ""
	return u.Equal(target)
}

func (v *Verifier) failed(n nonce, user string, from wire.FlowID) {
	v.throttle.failed(n.source)
	if v.config.Failed != nil {
		v.config.Failed(user, from.Remote.Addr().Unmap().String())
	}
}

var errThrottled = errors.New("auth: too many wrong passwords from this source")

func tooMany(wait time.Duration) *wire.Error {
	e := &wire.Error{Code: 503, Reason: "Too Many Failed Logins", Err: errThrottled}
	return e.With("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
}
