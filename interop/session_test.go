package interop

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// A phone that asks for a session token with its login shows it from then on, over whatever connection, in place of a password: nothing is asked any more. It ends with the login,
// with its account's password, and not with the server. RFC 8898, 2.2; RFC 6750, 3.1; hardening 30 and 31
func TestSessionToken(t *testing.T) {
	t.Parallel()
	s := newServer(t, "", "alice", "bob")
	bob := s.dial("tcp", "bob")
	if res := bob.ask("REGISTER", "sip:"+domain); res.code() != 200 || res.get("Session-Token") != "" {
		t.Fatalf("%s, %q for who has not asked", res.start, res.get("Session-Token"))
	}
	instance := func(u *ua) string {
		return "Contact: " + u.contact() + `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-0000000000aa>";reg-id=1`
	}
	const wants = "Supported: path, outbound, gruu, session-token"
	alice := s.dialTLS("alice")
	res := alice.ask("REGISTER", "sip:"+domain, instance(alice), wants)
	token := res.get("Session-Token")
	if res.code() != 200 || token == "" || res.get("Cache-Control") != "no-store" {
		t.Fatalf("%s, token %q", res.start, token)
	}
	show := "Authorization: Bearer " + token
	expect := func(what string, res *sip, code int, challenge string) {
		t.Helper()
		if res.code() != code || challenge != "" && !strings.Contains(string(res.bytes()), challenge) {
			t.Errorf("%s: %s, want %d %s\n%s", what, res.start, code, challenge, res.bytes())
		}
	}
	message := func(u *ua, credentials string) *sip {
		t.Helper()
		u.send(u.request("MESSAGE", "sip:bob@"+domain, "To: <sip:bob@"+domain+">", credentials))
		return u.read(10 * time.Second)
	}

	// Another connection, the same session: no challenge, the same binding, the token is not passed on.
	moved := s.dialTLS("alice")
	moved.cseq = 100
	again := moved.exchange(moved.request("REGISTER", "sip:"+domain, instance(moved), wants, show))
	expect("REGISTER from elsewhere", again, 200, "")
	if n := len(s.registered("alice")); n != 1 || again.get("Session-Token") == "" {
		t.Errorf("%d bindings, token %q", n, again.get("Session-Token"))
	}
	gruu := func(res *sip) string { return regexp.MustCompile(`pub-gruu="[^"]*"`).FindString(string(res.bytes())) }
	if gruu(res) == "" || gruu(again) != gruu(res) {
		t.Errorf("GRUU %s, then %s", gruu(res), gruu(again))
	}
	expect("another phone with the token", moved.exchange(moved.request("REGISTER", "sip:"+domain, strings.Replace(instance(moved), "aa>", "bb>", 1), wants, show)), 401, "stale=true")
	moved.send(moved.request("MESSAGE", "sip:bob@"+domain, "To: <sip:bob@"+domain+">", show))
	if got := bob.await("MESSAGE", 10*time.Second); strings.Contains(string(got.bytes()), "Bearer") {
		t.Errorf("bob hears the token:\n%s", got.bytes())
	}
	expect("MESSAGE", moved.read(10*time.Second), 200, "")

	// What is no token of this session.
	expect("altered", message(moved, show[:len(show)-4]+"AAAA"), 407, `Bearer realm="`+domain+`", error="invalid_token"`)
	expect("altered", moved.exchange(moved.request("REGISTER", "sip:"+domain, instance(moved), show+"A")), 401, `error="invalid_token"`)
	other := s.dialTLS("bob")
	expect("of somebody else", message(other, show), 403, "")
	expect("of somebody else", other.exchange(other.request("REGISTER", "sip:"+domain, show)), 403, "")

	// The server's end is not that of the session; a change of the password is, and so is the logout.
	s.kill()
	s.start()
	moved = s.dialTLS("alice")
	moved.cseq = 200
	expect("after kill -9", moved.exchange(moved.request("REGISTER", "sip:"+domain, instance(moved), show)), 200, "")
	s.command("user", "passwd", "alice", "--password", "another")
	expect("after a change of the password", message(moved, show), 407, `error="invalid_token"`)
	s.command("user", "passwd", "alice", "--password", password("alice"))
	bob = s.dial("tcp", "bob")
	bob.cseq = 50
	if res := bob.ask("REGISTER", "sip:"+domain); res.code() != 200 {
		t.Fatal(res.start)
	}
	res = moved.ask("REGISTER", "sip:"+domain, instance(moved), wants)
	show = "Authorization: Bearer " + res.get("Session-Token")

	// RFC 6749, 10.4: a later token was shown, so whoever has the one before is not alone. kill -9 does not make it good again.
	later := moved.exchange(moved.request("REGISTER", "sip:"+domain, instance(moved), wants, show))
	expect("its successor", later, 200, "")
	expect("its successor", moved.exchange(moved.request("REGISTER", "sip:"+domain, instance(moved), wants, "Authorization: Bearer "+later.get("Session-Token"))), 200, "")
	s.kill()
	s.start()
	thief := s.dialTLS("alice")
	thief.cseq = 300
	expect("a copy of a token that was replaced", thief.exchange(thief.request("REGISTER", "sip:"+domain, instance(thief), show)), 401, `error="invalid_token"`)
	if n := len(s.registered("alice")); n != 0 {
		t.Errorf("%d bindings of a session that is revoked", n)
	}
	moved = s.dialTLS("alice")
	moved.cseq = 400
	expect("its successor, too", message(moved, "Authorization: Bearer "+later.get("Session-Token")), 407, `error="invalid_token"`)
	res = moved.ask("REGISTER", "sip:"+domain, instance(moved), wants)
	show = "Authorization: Bearer " + res.get("Session-Token")
	expect("logout", moved.exchange(moved.request("REGISTER", "sip:"+domain, instance(moved)+";expires=0", show)), 200, "")
	expect("after the logout", message(moved, show), 407, `error="invalid_token"`)
	results.passed(t, "Go client", "RFC 8898, 2.2: a session token in place of a password, until the logout, over kill -9", "TestSessionToken", "tls")
}
