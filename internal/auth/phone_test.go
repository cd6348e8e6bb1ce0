package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// people are users with passwords.
type people map[string]string

func (p people) HA1(name, realm string) (string, string, bool) {
	password, ok := p[name+"@"+realm]
	if !ok {
		return "", "", false
	}
	a1 := []byte(name + ":" + realm + ":" + password)
	return fmt.Sprintf("%x", md5.Sum(a1)), fmt.Sprintf("%x", sha256.Sum256(a1)), true
}

var everybody = people{"alice@example.org": "wonderland", "bob@example.org": "builder", "alice@example.net": "wonderland"}

func newVerifier(t testing.TB, set ...func(*Config)) *Verifier {
	t.Helper()
	c := Config{Users: everybody, Key: make([]byte, 32)}
	for _, f := range set {
		f(&c)
	}
	v, err := NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// flow is one that a request came on.
func flow(p wire.Proto, remote string) wire.FlowID {
	return wire.FlowID{Proto: p, Local: netip.MustParseAddrPort("192.0.2.7:5060"), Remote: netip.MustParseAddrPort(remote)}
}

var home = flow(wire.UDP, "192.0.2.1:5060")

// request parses a request with the given header lines.
func request(t testing.TB, method, uri string, lines ...string) *wire.Request {
	t.Helper()
	text := method + " " + uri + ` SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa1
Max-Forwards: 70
From: <sip:alice@example.org>;tag=a
To: <sip:alice@example.org>
Call-ID: c1@192.0.2.1
CSeq: 1 ` + method + "\n"
	for _, l := range lines {
		text += l + "\n"
	}
	m, err := wire.Parse([]byte(strings.ReplaceAll(text+"Content-Length: 0\n\n", "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*wire.Request)
}

// phone answers challenges, as RFC 7616, 3.4 says, or deliberately otherwise.
type phone struct {
	user, password, realm string
	nonce, cnonce, nc     string
	algorithm, qop        string
	method, uri           string
	replace               []string // pairs, in the header line
}

func alice(nonce string) phone {
	return phone{user: "alice", password: "wonderland", realm: "example.org", nonce: nonce, cnonce: "0a4f113b", nc: "00000001",
		algorithm: "SHA-256", qop: "auth", method: "REGISTER", uri: "sip:example.org"}
}

func (p phone) hash(s string) string {
	if strings.HasPrefix(p.algorithm, "SHA-256") {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
	}
	return fmt.Sprintf("%x", md5.Sum([]byte(s)))
}

func (p phone) ha1() string {
	a1 := p.hash(p.user + ":" + p.realm + ":" + p.password)
	if strings.HasSuffix(p.algorithm, "-sess") {
		return p.hash(a1 + ":" + p.nonce + ":" + p.cnonce)
	}
	return a1
}

func (p phone) response(method string) string {
	a2 := method + ":" + p.uri
	switch p.qop {
	case "":
		return p.hash(p.ha1() + ":" + p.nonce + ":" + p.hash(a2)) // RFC 2069
	case "auth-int":
		a2 += ":" + p.hash("")
	}
	return p.hash(strings.Join([]string{p.ha1(), p.nonce, p.nc, p.cnonce, p.qop, p.hash(a2)}, ":"))
}

func (p phone) value() string {
	s := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`, p.user, p.realm, p.nonce, p.uri,
		p.response(p.method))
	if p.algorithm != "" {
		s += ", algorithm=" + p.algorithm
	}
	if p.qop != "" {
		s += fmt.Sprintf(`, qop=%s, nc=%s, cnonce="%s"`, p.qop, p.nc, p.cnonce)
	}
	return strings.NewReplacer(p.replace...).Replace(s)
}

// register is the phone's REGISTER.
func (p phone) register(t testing.TB) *wire.Request {
	return request(t, "REGISTER", "sip:example.org", "Authorization: "+p.value())
}

// challenged asks without credentials and returns the nonce of the 401.
func challenged(t testing.TB, v *Verifier, from wire.FlowID) string {
	t.Helper()
	_, err := v.Verify(request(t, "REGISTER", "sip:example.org"), Registrar, "example.org", from)
	if err == nil || err.Code != 401 {
		t.Fatalf("without credentials: %v", err)
	}
	return read(t, err.Headers[0].Value(), "nonce")
}

// read reads a parameter out of a challenge or an Authentication-Info.
func read(t testing.TB, value, name string) string {
	t.Helper()
	if rest, ok := cutScheme(value, "Digest"); ok {
		value = rest
	}
	for rest := value; rest != ""; {
		n, v, tail, ok := cutParam(strings.TrimPrefix(rest, ","))
		if !ok {
			t.Fatalf("cannot read %q", value)
		}
		if n == name {
			return wire.Unquote(v)
		}
		rest = tail
	}
	return ""
}

// verdict is the outcome as one word: "alice", "401", "401 stale", "400".
func verdict(t testing.TB, id Identity, err *wire.Error) string {
	t.Helper()
	if err == nil {
		return id.User
	}
	if id != (Identity{}) {
		t.Errorf("an identity beside the error %v", err)
	}
	s := fmt.Sprint(err.Code)
	for _, h := range err.Headers {
		if strings.HasSuffix(h.Name(), "Authenticate") && read(t, h.Value(), "stale") == "true" {
			return s + " stale"
		}
	}
	return s
}
