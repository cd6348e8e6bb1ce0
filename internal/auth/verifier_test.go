package auth

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

// RFC 3261, 22.2 and 22.3; RFC 8760, 2.3: one challenge for each algorithm, qop always, in the order of preference.
func TestChallenge(t *testing.T) {
	strong := func(c *Config) { c.SHA256First = true }
	for _, tt := range []struct {
		name  string
		v     *Verifier
		scope Scope
		proto wire.Proto
		want  string
	}{
		{"default", newVerifier(t), Registrar, wire.UDP, "401 WWW-Authenticate MD5 WWW-Authenticate SHA-256"},
		{"proxy", newVerifier(t), Proxy, wire.TLS, "407 Proxy-Authenticate MD5 Proxy-Authenticate SHA-256"},
		{"strong", newVerifier(t, strong), Registrar, wire.UDP, "401 WWW-Authenticate SHA-256 WWW-Authenticate MD5"},
		{"strong, browser", newVerifier(t, strong), Registrar, wire.WSS, "401 WWW-Authenticate MD5"},
		{"strong, browser, no TLS", newVerifier(t, strong), Proxy, wire.WS, "407 Proxy-Authenticate MD5"},
	} {
		_, err := tt.v.Verify(request(t, "REGISTER", "sip:example.org"), tt.scope, "example.org", flow(tt.proto, "192.0.2.1:5060"))
		got := fmt.Sprint(err.Code)
		for _, h := range err.Headers {
			got += " " + h.Name() + " " + read(t, h.Value(), "algorithm")
			if read(t, h.Value(), "realm") != "example.org" || read(t, h.Value(), "qop") != "auth" || read(t, h.Value(), "stale") != "" {
				t.Errorf("%s: %s", tt.name, h.Value())
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A baresip of old gives up when it sees an algorithm it does not know, even after one it knows: RFC 8760, 2.4 is not for it.
func TestChallengeOldBaresip(t *testing.T) {
	for agent, want := range map[string]int{"baresip v1.0.0 (x86_64/linux)": 1, "baresip v0.6.6": 1, "baresip v3.5.0": 2, "SIPp": 2} {
		req := request(t, "REGISTER", "sip:example.org", "User-Agent: "+agent)
		_, err := newVerifier(t).Verify(req, Registrar, "example.org", home)
		if len(err.Headers) != want || read(t, err.Headers[0].Value(), "algorithm") != "MD5" {
			t.Errorf("%s: %v", agent, err.Headers)
		}
	}
}

// RFC 3261, 22.4: both algorithms, both scopes; RFC 7616, 3.3: no algorithm means MD5.
// RFC 3261, 22: Digest, as it is used in SIP.
func TestVerify(t *testing.T) {
	v := newVerifier(t)
	for _, alg := range []string{"MD5", "SHA-256", "sha-256", ""} {
		for _, scope := range []Scope{Registrar, Proxy} {
			p := alice(challenged(t, v, home))
			p.algorithm = strings.ToUpper(alg)
			p.replace = []string{"algorithm=" + strings.ToUpper(alg), "algorithm=" + alg}
			id, err := v.Verify(request(t, "REGISTER", "sip:example.org", scope.credentials()+": "+p.value()), scope, "example.org", home)
			if err != nil || id.User != "alice" || id.Realm != "example.org" || (id.Info == "") != (scope == Proxy) {
				t.Errorf("%q: %+v, %v", alg, id, err)
			}
		}
	}
	// Credentials for the other scope are for somebody else.
	id, err := v.Verify(alice(challenged(t, v, home)).register(t), Proxy, "example.org", home)
	if got := verdict(t, id, err); got != "407" {
		t.Errorf("Authorization for the proxy: %s", got)
	}
}

// RFC 7616, 3.5: rspauth proves that the server knows the password; cnonce and nc are the request's; nextnonce is good, and so is the
// old nonce.
func TestInfo(t *testing.T) {
	v := newVerifier(t)
	p := alice(challenged(t, v, home))
	p.cnonce = `a\"b\\c`
	hashed := p
	hashed.cnonce = `a"b\c`
	p.replace = []string{`response="` + p.response("REGISTER"), `response="` + hashed.response("REGISTER")}
	id, err := v.Verify(p.register(t), Registrar, "example.org", home)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range []string{"qop", "rspauth", "cnonce", "nc"} {
		got[name] = read(t, id.Info, name)
	}
	want := map[string]string{"qop": "auth", "rspauth": hashed.response(""), "cnonce": `a"b\c`, "nc": "00000001"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", id.Info, diff)
	}
	if !strings.Contains(id.Info, `cnonce="a\"b\\c"`) || !strings.Contains(id.Info, "qop=auth,") || !strings.HasSuffix(id.Info, "nc=00000001") {
		t.Errorf("quoted wrongly: %s", id.Info)
	}
	next := alice(read(t, id.Info, "nextnonce"))
	old := alice(p.nonce)
	old.nc = "00000002"
	for _, p := range []phone{next, old} {
		id, err := v.Verify(p.register(t), Registrar, "example.org", home)
		if got := verdict(t, id, err); got != "alice" {
			t.Errorf("after nextnonce: %s", got)
		}
	}
}

// RFC 3261, 22.1 and hardening 22: a response is good for its realm and its user only.
func TestRealms(t *testing.T) {
	v := newVerifier(t)
	for name, tt := range map[string]struct {
		change func(p *phone)
		realm  string
		want   string
	}{
		"right":                          {func(*phone) {}, "example.org", "alice"},
		"realm A's on B":                 {func(*phone) {}, "example.net", "401"},
		"realm A's nonce on B":           {func(p *phone) { p.realm = "example.net" }, "example.net", "401 stale"},
		"realm A's response, named B":    {func(p *phone) { p.replace = []string{`realm="example.org"`, `realm="example.net"`} }, "example.net", "401 stale"},
		"realm not ours":                 {func(p *phone) { p.realm = "example.com" }, "example.org", "401"},
		"realm in capitals":              {func(p *phone) { p.realm = "Example.ORG" }, "example.org", "401"},
		"user in capitals":               {func(p *phone) { p.user = "Alice" }, "example.org", "401"},
		"another user":                   {func(p *phone) { p.replace = []string{"alice", "bob"} }, "example.org", "401"},
		"user with domain":               {func(p *phone) { p.user = "alice@example.org" }, "example.org", "401"},
		"user with an escaped character": {func(p *phone) { p.user = "%61lice" }, "example.org", "401"},
		"wrong password":                 {func(p *phone) { p.password = "Wonderland" }, "example.org", "401"},
		"empty password (hardening 27)":  {func(p *phone) { p.password = "" }, "example.org", "401"},
		"nobody with the empty password": {func(p *phone) { p.user, p.password = "", "" }, "example.org", "401"},
		"nobody with the right password": {func(p *phone) { p.user = "" }, "example.org", "401"},
		"a response of another request":  {func(p *phone) { p.method = "INVITE" }, "example.org", "401"},
		"a response in capital digits":   {func(p *phone) { p.replace = []string{p.response("REGISTER"), strings.ToUpper(p.response("REGISTER"))} }, "example.org", "401"},
		"a response cut short":           {func(p *phone) { p.replace = []string{p.response("REGISTER"), p.response("REGISTER")[:63]} }, "example.org", "401"},
		"a response with more":           {func(p *phone) { p.replace = []string{p.response("REGISTER"), p.response("REGISTER") + "0"} }, "example.org", "401"},
		"nobody has been challenged yet": {func(p *phone) { p.replace = []string{p.response("REGISTER"), "", p.nonce, ""} }, "example.org", "401"},
		"no response (RFC 8760, 2.7)":    {func(p *phone) { p.replace = []string{p.response("REGISTER"), ""} }, "example.org", "401"},
		"a nonce of our own make":        {func(p *phone) { p.nonce = strings.Repeat("A", nonceTxt) }, "example.org", "401 stale"},
		"a nonce that is not one at all": {func(p *phone) { p.nonce = "x" }, "example.org", "401 stale"},
		"MD5 response named SHA-256":     {func(p *phone) { p.algorithm = "MD5"; p.replace = []string{"=MD5", "=SHA-256"} }, "example.org", "401"},
		"SHA-256 response named MD5":     {func(p *phone) { p.replace = []string{"=SHA-256", "=MD5"} }, "example.org", "401"},
		"SHA-256 response with no name":  {func(p *phone) { p.replace = []string{", algorithm=SHA-256", ""} }, "example.org", "401"},
		"quoted algorithm, qop and nc too": {func(p *phone) {
			p.replace = []string{"=SHA-256", `="SHA-256"`, "=auth", `="auth"`, "=00000001", `="00000001"`}
		}, "example.org", "alice"},
	} {
		p := alice(challenged(t, v, home))
		tt.change(&p)
		id, err := v.Verify(p.register(t), Registrar, tt.realm, home)
		if got := verdict(t, id, err); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

// hardening 23: what was not offered is not accepted, though the digest be right.
func TestFields(t *testing.T) {
	v := newVerifier(t)
	for name, change := range map[string]func(p *phone){
		"qop=auth-int":       func(p *phone) { p.qop = "auth-int" },
		"qop unknown":        func(p *phone) { p.qop = "auth-x" },
		"qop empty":          func(p *phone) { p.replace = []string{"qop=auth", `qop=""`} },
		"MD5-sess":           func(p *phone) { p.algorithm = "MD5-sess" },
		"SHA-256-sess":       func(p *phone) { p.algorithm = "SHA-256-sess" },
		"SHA-512-256":        func(p *phone) { p.replace = []string{"SHA-256", "SHA-512-256"} },
		"algorithm unknown":  func(p *phone) { p.replace = []string{"SHA-256", "none"} },
		"algorithm empty":    func(p *phone) { p.algorithm = "MD5"; p.replace = []string{"algorithm=MD5", `algorithm=""`} },
		"nc missing":         func(p *phone) { p.nc = ""; p.replace = []string{", nc=,", ","} },
		"nc 0":               func(p *phone) { p.nc = "00000000" },
		"nc not hexadecimal": func(p *phone) { p.nc = "0000000g" },
		"nc short":           func(p *phone) { p.nc = "1" },
		"nc long":            func(p *phone) { p.nc = "100000001" },
		"cnonce empty":       func(p *phone) { p.cnonce = "" },
		"cnonce missing":     func(p *phone) { p.replace = []string{`, cnonce="0a4f113b"`, ""} },
		"cnonce long":        func(p *phone) { p.cnonce = strings.Repeat("c", maxCnonce+1) },
		"uri of another":     func(p *phone) { p.uri = "sip:bob@example.org" },
		"uri elsewhere":      func(p *phone) { p.uri = "sip:example.com" },
		"uri by sips":        func(p *phone) { p.uri = "sips:example.org" },
		"uri is not one":     func(p *phone) { p.uri = "*" },
		"uri empty":          func(p *phone) { p.uri = "" },
		"uri unquoted":       func(p *phone) { p.replace = []string{`uri="sip:example.org"`, "uri=sip"} },
		"everything twice":   func(p *phone) { p.replace = []string{"nc=", "nc=00000001, nc="} },
		"username missing":   func(p *phone) { p.replace = []string{`username="alice", `, ""} },
		"no comma":           func(p *phone) { p.replace = []string{", realm", " realm"} },
	} {
		p := alice(challenged(t, v, home))
		change(&p)
		id, err := v.Verify(p.register(t), Registrar, "example.org", home)
		if got := verdict(t, id, err); got != "400" {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// hardening 23: without qop nothing prevents a replay. Linphone leaves it out with a nextnonce, and must be asked again, not refused: RFC 7616, 3.5.
func TestNoQop(t *testing.T) {
	v := newVerifier(t)
	p := alice(challenged(t, v, home))
	p.qop = ""
	_, err := v.Verify(p.register(t), Registrar, "example.org", home)
	if err == nil || err.Code != 401 || read(t, err.Headers[0].Value(), "stale") != "true" {
		t.Errorf("got %v", err)
	}
}

// hardening 23, RFC 7616, 3.4.6 and RFC 8760, 2.6: the signed URI may lack parameters, and it may be ourselves, but never somebody else.
func TestURI(t *testing.T) {
	v := newVerifier(t, func(c *Config) {
		c.Ours = func(host string, port int) bool { return host == "192.0.2.7" && (port == 5060 || port == 0) }
	})
	for _, tt := range []struct{ signed, target, want string }{
		{"sip:bob@example.org", "sip:bob@example.org", "alice"},
		{"sip:bob@EXAMPLE.org", "sip:bob@example.org", "alice"},
		{"sip:%62ob@example.org", "sip:bob@example.org", "alice"},
		{"sip:bob@example.org", "sip:bob@example.org;transport=tcp", "alice"},
		{"sip:bob@example.org;user=phone", "sip:bob@example.org", "alice"},
		{"sip:192.0.2.7:5060", "sip:bob@example.org", "alice"}, // SIPp
		{"sip:192.0.2.7", "sip:bob@example.org", "alice"},
		{"sip:192.0.2.7:5070", "sip:bob@example.org", "400"},
		{"sip:alice@192.0.2.7", "sip:bob@example.org", "400"},
		{"sip:192.0.2.8:5060", "sip:bob@example.org", "400"},
		{"tel:+12125550100", "sip:bob@example.org", "400"},
		{"tel:+12125550100", "tel:+12125550100", "alice"},
		{"sip:bob@example.org:5070", "sip:bob@example.org", "400"},
		{"sip:carol@example.org", "sip:bob@example.org", "400"},
		{"sip:Bob@example.org", "sip:bob@example.org", "400"},
		{"sip:example.org", "sip:bob@example.org", "400"},
	} {
		p := alice(challenged(t, v, home))
		p.method, p.uri = "MESSAGE", tt.signed
		req := request(t, "MESSAGE", tt.target, "Proxy-Authorization: "+p.value())
		id, err := v.Verify(req, Proxy, "example.org", home)
		if got := verdict(t, id, err); got != tt.want {
			t.Errorf("%s for %s: got %s, want %s", tt.signed, tt.target, got, tt.want)
		}
	}
}

// hardening 24: a request is accepted once; the next count, and one that was overtaken, is another request.
// RFC 7616, 5.5: a request that was accepted once is not accepted again.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t)
		p := alice(challenged(t, v, home))
		elsewhere := flow(wire.UDP, "198.51.100.1:5060")
		for i, tt := range []struct {
			nc   string
			from wire.FlowID
			want string
		}{
			{"00000002", home, "alice"},
			{"00000002", home, "401 stale"},
			{"00000002", elsewhere, "401 stale"},
			{"00000001", home, "alice"},
			{"00000001", home, "401 stale"},
			{"00000003", elsewhere, "alice"},
			{"00000100", home, "alice"},
			{"00000004", home, "401 stale"},
		} {
			p.nc = tt.nc
			id, err := v.Verify(p.register(t), Registrar, "example.org", tt.from)
			if got := verdict(t, id, err); got != tt.want {
				t.Errorf("step %d: got %s, want %s", i, got, tt.want)
			}
		}
		p.nc = "00000101"
		if id, err := newVerifier(t).Verify(p.register(t), Registrar, "example.org", home); verdict(t, id, err) != "401 stale" {
			t.Errorf("after a restart: %v", err) // or on another node: the key is the same
		}
		time.Sleep(NonceLife + time.Millisecond)
		if id, err := v.Verify(p.register(t), Registrar, "example.org", home); verdict(t, id, err) != "401 stale" {
			t.Errorf("expired: %v", err)
		}
		// RFC 7616, 3.3: stale says nothing about the password, so it is no way to try passwords.
		p.password = "wrong"
		if id, err := v.Verify(p.register(t), Registrar, "example.org", home); verdict(t, id, err) != "401 stale" {
			t.Errorf("expired, wrong password: %v", err)
		}
	})
}

// hardening 24: of many copies that arrive at once one is accepted.
func TestReplayRace(t *testing.T) {
	v := newVerifier(t)
	req := alice(challenged(t, v, home)).register(t)
	accepted := make(chan bool)
	for range 16 {
		go func() {
			_, err := v.Verify(req, Registrar, "example.org", home)
			accepted <- err == nil
		}()
	}
	n := 0
	for range 16 {
		if <-accepted {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d accepted", n)
	}
}

// hardening 25: an unknown user and a wrong password get the same answer, byte for byte but for the nonce.
func TestEnumeration(t *testing.T) {
	v := newVerifier(t)
	for _, alg := range []string{"MD5", "SHA-256"} {
		for _, scope := range []Scope{Registrar, Proxy} {
			var answers [2]string
			for i, user := range []string{"alice", "no-such-user"} {
				p := alice(challenged(t, v, home))
				p.user, p.password, p.algorithm = user, "wrong", alg
				_, err := v.Verify(request(t, "REGISTER", "sip:example.org", scope.credentials()+": "+p.value()), scope, "example.org", home)
				for _, h := range err.Headers {
					nonce := read(t, h.Value(), "nonce")
					answers[i] += h.Name() + ": " + strings.ReplaceAll(h.Value(), nonce, strings.Repeat("N", len(nonce))) + "\n"
				}
				answers[i] += fmt.Sprintf("%d %q %v", err.Code, err.Reason, err.Err)
			}
			if diff := cmp.Diff(answers[0], answers[1]); diff != "" {
				t.Errorf("%s: (-known +unknown)\n%s", alg, diff)
			}
		}
	}
}

// hardening 23: a stored HA1 of the wrong length is nobody's (PJSIP CVE-2022-24754), and so is one that is not stored.
func TestHA1Length(t *testing.T) {
	for _, n := range []int{0, 31, 33, 63, 65} {
		v := newVerifier(t, func(c *Config) { c.Users = fixed{strings.Repeat("0", n), strings.Repeat("0", n)} })
		for _, alg := range []string{"MD5", "SHA-256"} {
			p := alice(challenged(t, v, home))
			p.algorithm = alg
			id, err := v.Verify(p.register(t), Registrar, "example.org", home)
			if got := verdict(t, id, err); got != "401" {
				t.Errorf("%d digits, %s: %s", n, alg, got)
			}
		}
	}
}

// hardening 29: 10,000 wrong passwords for alice from one address: that is refused, with a time to come back, and alice logs in
// from another. A request without credentials is never a failure.
// RFC 3261, 21.4.4: a 403 would make the phone give up for good, a 503 heals.
func TestBruteForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := 0
		v := newVerifier(t, func(c *Config) { c.Failed = func(user, source string) { seen++ } })
		bad, clean := flow(wire.UDP, "198.51.100.66:5060"), flow(wire.UDP, "192.0.2.1:5060")
		p := alice(challenged(t, v, bad))
		p.password = "wrong"
		wrong, right := p.register(t), alice(p.nonce).register(t)
		tried := map[string]int{}
		for range 10_000 {
			id, err := v.Verify(wrong, Registrar, "example.org", bad)
			tried[verdict(t, id, err)]++
			challenged(t, v, bad)
		}
		if diff := cmp.Diff(map[string]int{"401": failures + 1, "503": 10_000 - failures - 1}, tried); diff != "" || seen != failures+1 {
			t.Errorf("%d seen (-want +got)\n%s", seen, diff)
		}
		_, err := v.Verify(right, Registrar, "example.org", bad)
		if err == nil || err.Code != 503 || len(err.Headers) != 1 || err.Headers[0].Name() != "Retry-After" || err.Headers[0].Value() != "300" {
			t.Errorf("right password from the bad address: %v", err)
		}
		id, err := v.Verify(alice(challenged(t, v, clean)).register(t), Registrar, "example.org", clean)
		if got := verdict(t, id, err); got != "alice" {
			t.Errorf("alice from a clean address: %s", got)
		}
		time.Sleep(ban)
		id, err = v.Verify(right, Registrar, "example.org", bad)
		if got := verdict(t, id, err); got != "alice" {
			t.Errorf("after the ban: %s", got)
		}
	})
}

// hardening 29: whoever forges alice's address in datagrams does not get her refused: the nonces were not sent there.
func TestForgedSource(t *testing.T) {
	v := newVerifier(t)
	p := alice(challenged(t, v, flow(wire.UDP, "198.51.100.66:5060")))
	p.password = "wrong"
	for range 2 * failures {
		_, _ = v.Verify(p.register(t), Registrar, "example.org", home)
	}
	id, err := v.Verify(alice(challenged(t, v, home)).register(t), Registrar, "example.org", home)
	if got := verdict(t, id, err); got != "alice" {
		t.Errorf("alice: %s", got)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{}, {Users: everybody}, {Users: everybody, Key: bytes.Repeat([]byte{1}, 31)}, {Users: everybody, Key: make([]byte, 32), Nonce: -1}} {
		if _, err := NewVerifier(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// How old the answered challenge is, and whom it was sent to: what a policy asks for beyond the password.
func TestAgeAndMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t)
		id, err := v.Verify(alice(challenged(t, v, home)).register(t), Registrar, "example.org", home)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if age := v.Age(id); age != 90*time.Second {
			t.Errorf("age %v", age)
		}
		if v.Moved(id, home) || !v.Moved(id, flow(wire.UDP, "198.51.100.1:5060")) {
			t.Error("moved without moving, or moves unseen")
		}
	})
}
