package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"signalbox/internal/wire"
)

// Session is a login that somebody proves with a token in place of a password (RFC 8898, 2.2; RFC 6750, 2.1): a signed JWT (RFC 7519). There is no table of them. The login's
// binding is the record, and a token is good for as long as it lasts, and until a later one was shown.
type Session struct {
	User, Realm string
	Phone       string     // which of the user's phones, as whoever asked for the token names them
	Serial      uint32     // of the token: one more than that of the one shown for it
	Since       time.Time  // the token was given out
	Proven      time.Time  // the password was, however many tokens ago
	From        netip.Addr // it was given out to, or is shown from
}

const sessionType = "session+jwt" // RFC 8725, 3.11: no other token of ours is taken for one

// sessionHeader is how every session token begins.
var sessionHeader = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"`+sessionType+`"}`)) + "."

// sessionClaims is what stands in a token.
type sessionClaims struct {
	jwt.Claims
	Phone   string           `json:"sid"`
	Serial  uint32           `json:"ser"`
	Since   int64            `json:"ms"` // as "iat", in milliseconds
	Proven  *jwt.NumericDate `json:"auth_time"`
	Account string           `json:"acc"` // other after a change of the password
	Source  uint32           `json:"src"` // where it was given out; other after a restart
}

// sessions makes and opens tokens.
type sessions struct {
	key    []byte
	signer jose.Signer
	users  Users
}

func newSessions(key []byte, users Users) (*sessions, error) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("session token"))
	s := &sessions{key: h.Sum(nil), users: users}
	var err error
	s.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: s.key}, (&jose.SignerOptions{}).WithType(sessionType))
	return s, err
}

// SessionToken is a token for a session that ends then at the latest, "" if there is no such account.
func (v *Verifier) SessionToken(s Session, end time.Time) string {
	account, ok := v.sessions.account(s.User, s.Realm)
	if !ok {
		return ""
	}
	token, err := jwt.Signed(v.sessions.signer).Claims(sessionClaims{
		Claims: jwt.Claims{
			Issuer: s.Realm, Subject: s.User, Audience: jwt.Audience{s.Realm},
			IssuedAt: jwt.NewNumericDate(s.Since), Expiry: jwt.NewNumericDate(end),
		},
		Phone: s.Phone, Serial: s.Serial, Since: s.Since.UnixMilli(), Proven: jwt.NewNumericDate(s.Proven), Account: account, Source: v.throttle.source(s.From),
	}).Serialize()
	if err != nil || len(token) > maxToken {
		return ""
	}
	return token
}

// account is a hash of the account's secrets.
func (s *sessions) account(user, realm string) (string, bool) {
	md5, sha, ok := s.users.HA1(user, realm)
	if !ok {
		return "", false
	}
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(md5 + "\x00" + sha))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12]), true
}

var (
	errToken     = errors.New("auth: the session token is not valid")
	errTokenType = errors.New("not a session token")
	errTokenOld  = errors.New("the session is over")
)

// open tells whose session a token is for. Nothing of it is looked at before its signature was found right.
func (s *sessions) open(token, realm string, now time.Time) (session Session, source uint32, err error) {
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return session, 0, errTokenType
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.HS256}) // RFC 8725, 3.1
	if err != nil {
		return session, 0, err
	}
	var c sessionClaims
	if err := parsed.Claims(s.key, &c); err != nil {
		return session, 0, err
	}
	if len(parsed.Headers) != 1 || parsed.Headers[0].ExtraHeaders[jose.HeaderType] != sessionType || c.Expiry == nil || c.IssuedAt == nil || c.Proven == nil {
		return session, 0, errTokenType
	}
	if err := c.ValidateWithLeeway(jwt.Expected{Issuer: realm, AnyAudience: jwt.Audience{realm}, Time: now}, 0); err != nil {
		return session, 0, err
	}
	if account, ok := s.account(c.Subject, realm); !ok || account != c.Account {
		return session, 0, errTokenOld
	}
	return Session{User: c.Subject, Realm: realm, Phone: c.Phone, Serial: c.Serial, Since: time.UnixMilli(c.Since), Proven: c.Proven.Time()}, c.Source, nil
}

// bySession verifies a session token, if one is shown where nobody can have read it on the way. A wrong one is answered with a new challenge, which says so (RFC 6750, 3.1).
func (v *Verifier) bySession(req *wire.Request, scope Scope, realm string, from wire.FlowID) (id Identity, shown bool, refused *wire.Error) {
	if v.config.Accepts == nil || !from.Proto.Secure() && !from.Remote.Addr().Unmap().IsLoopback() {
		return id, false, nil
	}
	token, shown := bearer(req)
	if !shown {
		return id, false, nil
	}
	s, source, err := v.sessions.open(token, realm, time.Now())
	s.From = from.Remote.Addr()
	if err == nil && v.config.Accepts(s) {
		id = v.Proven(s.User, realm, s.From, time.Since(s.Proven))
		id.Session = &s
		id.nonce.source = source // to move with it is to move: a policy may want the password then
		return id, true, nil
	}
	refused = v.challenge(req, scope, realm, from, errToken)
	refused.Headers = append(refused.Headers, wire.NewHeader(scope.challenge(), `Bearer realm="`+realm+`", error="invalid_token"`))
	return id, true, refused
}

// bearer finds a bearer token, one of ours if there is one. JsSIP puts it into Authorization, whoever asked for it.
func bearer(req *wire.Request) (token string, ok bool) {
	for _, h := range req.Headers() {
		if !Registrar.credentialsIn(h.Name()) && !Proxy.credentialsIn(h.Name()) {
			continue
		}
		rest, isBearer := cutScheme(h.Value(), "Bearer")
		if rest = strings.TrimSpace(rest); isBearer && (!ok || strings.HasPrefix(rest, sessionHeader)) {
			token, ok = rest, true
		}
	}
	return token, ok
}

// IsSessionToken tells whether credentials are a session token of ours, good or not: nobody further on may see it.
func IsSessionToken(credentials string) bool {
	token, isBearer := cutScheme(credentials, "Bearer")
	return isBearer && strings.HasPrefix(strings.TrimSpace(token), sessionHeader)
}
