package auth

import (
	"fmt"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

const good = `username="alice", realm="example.org", nonce="n", uri="sip:example.org", response="r", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"`

// RFC 3261, 25.1 dig-resp; RFC 7616, 3.4.
func TestParseDigest(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{good, "alice|example.org|n|sip:example.org|r|SHA-256|auth|00000001|c"},
		{strings.ReplaceAll(good, ", ", ","), "alice|example.org|n|sip:example.org|r|SHA-256|auth|00000001|c"},
		{strings.ReplaceAll(strings.ReplaceAll(good, ", ", " \t, "), "=", " = "), "alice|example.org|n|sip:example.org|r|SHA-256|auth|00000001|c"},
		{strings.ToUpper(good), "ALICE|EXAMPLE.ORG|N|SIP:EXAMPLE.ORG|R|SHA-256|AUTH|00000001|C"},
		{good + `, opaque="", userhash=false, x-new="a,b\"c"`, "alice|example.org|n|sip:example.org|r|SHA-256|auth|00000001|c"},
		{strings.Replace(good, `"alice"`, `"al\"i\\ce"`, 1), `al"i\ce|example.org|n|sip:example.org|r|SHA-256|auth|00000001|c`},
		{strings.Replace(good, `"alice"`, `""`, 1), "|example.org|n|sip:example.org|r|SHA-256|auth|00000001|c"},
		{strings.Replace(good, `qop=auth`, `qop="auth"`, 1), "alice|example.org|n|sip:example.org|r|SHA-256|auth|00000001|c"},
		{`username=alice,realm=r,nonce=n,uri="sip:a",response=r`, "alice|r|n|sip:a|r||||"},

		{"", "error"},
		{good + ",", "error"},
		{"," + good, "error"},
		{strings.Replace(good, ", ", ",, ", 1), "error"},
		{strings.Replace(good, ", ", "; ", 1), "error"},
		{strings.Replace(good, ", ", " ", 1), "error"},
		{good + `, uri="sip:example.org"`, "error"},
		{good + `, Username="bob"`, "error"},
		{good + `, x`, "error"},
		{good + `, x=`, "error"},
		{good + `, ="x"`, "error"},
		{good + `, x="`, "error"},
		{good + `, x="\`, "error"},
		{good + `, x="\"`, "error"},
		{good + ", x=\"a\x00b\"", "error"},
		{good + ", x=\"a\x7fb\"", "error"},
		{good + ", x=\"a\\\xffb\"", "error"},
		{strings.Replace(good, `"sip:example.org"`, `sip`, 1), "error"}, // RFC 8760, 2.6: quotation marks around uri
		{strings.Replace(good, `nonce="n", `, "", 1), "error"},
		{strings.Replace(good, `username=`, "username*=", 1), "error"},
		{good + strings.Repeat(", x=1", maxParams-8), "error"},
		{good + `, x="` + strings.Repeat("a", maxHeader) + `"`, "error"},
	} {
		c, err := parseDigest(tt.in)
		got := strings.Join([]string{c.username, c.realm, c.nonce, c.uri, c.response, c.algorithm, c.qop, c.nc, c.cnonce}, "|")
		if err != nil {
			if got != "||||||||" {
				t.Errorf("%q: error and %q", tt.in, got)
			}
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

// hardening 11: every prefix of valid credentials, and every byte of them changed, is understood or refused, and never proves anybody.
func TestPrefixes(t *testing.T) {
	v := newVerifier(t)
	nonce := challenged(t, v, home)
	header := alice(nonce).value()
	refused := func(value string) {
		t.Helper()
		m, err := wire.Parse([]byte("REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=a\r\nTo: <sip:a@b>\r\n" +
			"Call-ID: c\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nAuthorization: " + value + "\r\nContent-Length: 0\r\n\r\n"))
		if err != nil {
			return
		}
		id, verr := v.Verify(m.(*wire.Request), Registrar, "example.org", home)
		if got := verdict(t, id, verr); got != "400" && got != "401" && got != "401 stale" && got != "503" {
			t.Errorf("%q: %s", value, got)
		}
	}
	for i := range header {
		refused(header[:i])
		b := []byte(header)
		b[i] ^= 0x01
		if s := string(b); !strings.EqualFold(s, header) && !strings.HasPrefix(s[i:], "!") { // "!" in place of a blank
			refused(s)
		}
	}
}

// hardening 11: other schemes are for others, whatever they contain; RFC 4475, 3.3.7: an unknown scheme is challenged.
func TestOtherSchemes(t *testing.T) {
	v := newVerifier(t)
	for _, value := range []string{
		"NoOneKnowsThisScheme opaque-data=here", "Bearer a.b.c", "Basic YWxpY2U6d29uZGVybGFuZA==", "Digestive x", `"Digest"`, "=", "Bearer",
		"Bearer " + strings.Repeat(".", 8000),
	} {
		id, err := v.Verify(request(t, "REGISTER", "sip:example.org", "Authorization: "+value), Registrar, "example.org", home)
		if got := verdict(t, id, err); got != "401" {
			t.Errorf("%q: %s", value, got)
		}
	}
}

// hardening 17 and 20: two Digest responses for our realm are two users to two readers; those for other realms are for others.
func TestSeveralCredentials(t *testing.T) {
	v := newVerifier(t)
	a, b, foreign := alice(challenged(t, v, home)), alice(challenged(t, v, home)), alice("x")
	b.user, b.password = "bob", "builder"
	foreign.realm = "example.com"
	for _, tt := range []struct {
		values []string
		want   string
	}{
		{[]string{a.value(), b.value()}, "400"},
		{[]string{a.value(), a.value()}, "400"},
		{[]string{a.value() + ", " + b.value()}, "400"},
		{[]string{foreign.value(), "Digest"}, "400"},
		{[]string{foreign.value(), foreign.value()}, "401"},
		{[]string{foreign.value(), a.value(), "Bearer x"}, "alice"},
	} {
		var lines []string
		for i, value := range tt.values {
			lines = append(lines, []string{"Authorization: ", "AUTHORIZATION: "}[i%2]+value)
		}
		id, err := v.Verify(request(t, "REGISTER", "sip:example.org", lines...), Registrar, "example.org", home)
		if got := verdict(t, id, err); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.values, got, tt.want)
		}
	}
}

func TestCount(t *testing.T) {
	for nc, want := range map[string]uint32{
		"00000001": 1, "ffffffff": 1<<32 - 1, "0000000A": 10, "00000000": 0, "": 0, "1": 0, "000000001": 0, "0000000g": 0, "+0000001": 0,
		"-0000001": 0, "0x000001": 0, "0000_001": 0,
	} {
		c := credentials{nc: nc}
		if got, ok := c.count(); ok != (want > 0) || ok && got != want {
			t.Errorf("%q: %d, %v", nc, got, ok)
		}
	}
}

// What is read is written and read again as the same.
func FuzzParseDigest(f *testing.F) {
	for _, s := range []string{good, strings.ToUpper(good), `username="a\"b",realm=r,nonce=n,uri="u",response=""`, "x", `a="`, ",", strings.Repeat("a=b,", 40)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseDigest(s)
		if err != nil {
			return
		}
		q := func(s string) string { return string(appendQuoted(nil, s)) }
		again := fmt.Sprintf("username=%s,realm=%s,nonce=%s,uri=%s,response=%s", q(c.username), q(c.realm), q(c.nonce), q(c.uri), q(c.response))
		for _, p := range []struct {
			bit         param
			name, value string
		}{{pAlgorithm, "algorithm", c.algorithm}, {pCnonce, "cnonce", c.cnonce}, {pQop, "qop", c.qop}, {pNc, "nc", c.nc}} {
			if c.seen&p.bit != 0 {
				again += "," + p.name + "=" + q(p.value)
			}
		}
		if len(again) > maxHeader {
			return
		}
		if d, err := parseDigest(again); err != nil || d != c {
			t.Errorf("%q\n%q: %+v, %v", s, again, d, err)
		}
	})
}
