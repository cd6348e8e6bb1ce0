package auth

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"signalbox/internal/wire"
)

// account is one whose password may change.
type account struct{ md5, sha256 string }

func (a *account) HA1(name, realm string) (md5, sha256 string, ok bool) {
	return a.md5, a.sha256, name == "alice" && realm == "example.org"
}

// RFC 8898, 2.2: who shows the token of a login is not asked for a password, for as long as the login lasts. Hardening 30 and 31: what a token may not be.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users, lasts := &account{"a", "b"}, true
		v := newVerifier(t, func(c *Config) {
			c.Users = users
			c.Accepts = func(s Session) bool { return lasts && s.Phone == "desk" && s.Serial == 7 && s.User == "alice" }
		})
		now := time.Now()
		good := Session{User: "alice", Realm: "example.org", Phone: "desk", Serial: 7, Since: now, Proven: now.Add(-time.Hour), From: netip.MustParseAddr("192.0.2.1")}
		token := v.SessionToken(good, now.Add(time.Hour))
		tls := flow(wire.TLS, "192.0.2.1:5061")
		show := func(scope Scope, token string, from wire.FlowID) (Identity, string) {
			id, refused := v.Verify(request(t, "REGISTER", "sip:example.org", "Authorization: Bearer "+token), scope, "example.org", from)
			if refused == nil {
				return id, "yes"
			}
			if refused.Code != scope.code() || !strings.HasPrefix(refused.Headers[0].Value(), "Digest ") {
				t.Errorf("refused by %v", refused)
			}
			if last := refused.Headers[len(refused.Headers)-1]; last.Name() == scope.challenge() && last.Value() == `Bearer realm="example.org", error="invalid_token"` {
				return id, "invalid"
			}
			return id, "challenged"
		}
		expect := func(what string, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %s, not %s", what, got, want)
			}
		}
		time.Sleep(time.Minute)
		for _, scope := range []Scope{Registrar, Proxy} {
			id, got := show(scope, token, tls)
			expect("over TLS", got, "yes")
			if id.User != "alice" || id.Realm != "example.org" || v.Age(id) != time.Hour+time.Minute || id.Session.Serial != 7 || !id.Session.Since.Equal(now.Truncate(time.Millisecond)) || v.Moved(id, tls) || !v.Moved(id, flow(wire.TLS, "192.0.2.2:5061")) {
				t.Errorf("%+v, %v old", id, v.Age(id))
			}
		}
		for from, want := range map[wire.FlowID]string{
			flow(wire.WSS, "192.0.2.9:1"): "yes", flow(wire.UDP, "127.0.0.1:5060"): "yes", flow(wire.UDP, "192.0.2.1:5060"): "challenged", flow(wire.WS, "192.0.2.1:80"): "challenged",
		} {
			_, got := show(Registrar, token, from)
			expect(from.Proto.String()+" "+from.Remote.String(), got, want)
		}
		two := request(t, "REGISTER", "sip:example.org", "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.e30.AA", "Authorization: bearer\t"+token) // one is for somebody else
		if id, refused := v.Verify(two, Registrar, "example.org", tls); refused != nil || id.User != "alice" {
			t.Errorf("beside another one: %v", refused)
		}
		if !IsSessionToken("bearer  "+token) || !IsSessionToken("Bearer\t"+token) || IsSessionToken("Bearer x."+token) || IsSessionToken("Digest "+token) {
			t.Error("IsSessionToken")
		}

		// forge makes a token with all right but what change changes.
		forge := func(alg jose.SignatureAlgorithm, key []byte, typ string, change func(*sessionClaims)) string {
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
			if err != nil {
				t.Fatal(err)
			}
			acc, _ := v.sessions.account("alice", "example.org")
			c := sessionClaims{Phone: "desk", Serial: 7, Since: now.UnixMilli(), Proven: jwt.NewNumericDate(now), Account: acc, Claims: jwt.Claims{Issuer: "example.org", Subject: "alice", Audience: jwt.Audience{"example.org"},
				IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour))}}
			if change != nil {
				change(&c)
			}
			s, err := jwt.Signed(signer).Claims(c).Serialize()
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		long := make([]byte, 64)
		key := v.sessions.key
		parts := strings.Split(token, ".")
		head := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
		_, got := show(Registrar, forge(jose.HS256, key, sessionType, nil), tls)
		expect("forged as it should be", got, "yes")
		for what, bad := range map[string]string{
			"alg none":               head(`{"alg":"none","typ":"session+jwt"}`) + "." + parts[1] + ".",
			"alg None":               head(`{"alg":"None","typ":"session+jwt"}`) + "." + parts[1] + ".",
			"alg nOnE":               head(`{"alg":"nOnE","typ":"session+jwt"}`) + "." + parts[1] + "." + parts[2],
			"no alg":                 head(`{"typ":"session+jwt"}`) + "." + parts[1] + "." + parts[2],
			"kid":                    head(`{"alg":"HS256","kid":"../../dev/null","typ":"session+jwt"}`) + "." + parts[1] + "." + parts[2],
			"no signature":           parts[0] + "." + parts[1] + ".",
			"another signature":      parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
			"another payload":        parts[0] + "." + head(`{"sub":"alice","iss":"example.org","aud":"example.org","exp":99999999999,"iat":1,"sid":"desk"}`) + "." + parts[2],
			"another key":            forge(jose.HS256, long[:32], sessionType, nil),
			"another algorithm":      forge(jose.HS512, long, sessionType, nil),
			"another type":           forge(jose.HS256, key, "JWT", nil),
			"another domain":         forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.Audience = jwt.Audience{"example.net"} }),
			"another issuer":         forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.Issuer = "example.net" }),
			"nobody":                 forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.Subject = "mallory" }),
			"another phone":          forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.Phone = "other" }),
			"over":                   forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.Expiry = jwt.NewNumericDate(now.Add(59 * time.Second)) }),
			"for ever":               forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.Expiry = nil }),
			"not yet":                forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.NotBefore = jwt.NewNumericDate(now.Add(2 * time.Minute)) }),
			"from the future":        forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.IssuedAt = jwt.NewNumericDate(now.Add(2 * time.Minute)) }),
			"another number":         forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.Serial = 6 }),
			"proven by nothing":      forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.Proven = nil }),
			"nothing":                "",
			"two parts":              "a.b",
			"dots":                   strings.Repeat(".", 7_000),
			"dots, and a token":      token + strings.Repeat(".", 7_000),
			"' UNION SELECT 1 --":    "' UNION SELECT 1 --",
			"longer than any is":     forge(jose.HS256, key, sessionType, func(c *sessionClaims) { c.ID = strings.Repeat("x", maxToken) }),
			"the same with a prefix": "Bearer " + token,
		} {
			_, got := show(Registrar, bad, tls)
			expect(what, got, "invalid")
		}

		lasts = false
		_, got = show(Registrar, token, tls)
		expect("after the logout", got, "invalid")
		lasts = true
		users.md5 = "changed"
		_, got = show(Registrar, token, tls)
		expect("after a change of the password", got, "invalid")
		users.md5 = "a"
		time.Sleep(time.Hour)
		_, got = show(Registrar, token, tls)
		expect("an hour later", got, "invalid")

		if v.SessionToken(Session{User: "mallory", Realm: "example.org", Since: now}, now) != "" {
			t.Error("a token for nobody")
		}
		v = newVerifier(t)
		_, got = show(Registrar, v.SessionToken(Session{User: "alice", Realm: "example.org", Since: now}, now.Add(time.Hour)), tls)
		expect("where there are none", got, "challenged")
	})
}

func FuzzSession(f *testing.F) {
	v := newVerifier(f, func(c *Config) { c.Accepts = func(Session) bool { return true } })
	f.Add(v.SessionToken(Session{User: "alice", Realm: "example.org", Phone: "p", Since: time.Now()}, time.Now().Add(time.Hour)))
	f.Add(sessionHeader + "e30.AA")
	f.Fuzz(func(t *testing.T, token string) {
		if s, _, err := v.sessions.open(token, "example.org", time.Now()); err == nil && s.User != "alice" {
			t.Fatalf("%+v", s)
		}
	})
}
