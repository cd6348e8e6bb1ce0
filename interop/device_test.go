package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const tvInstance = `;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"`

// deliver sends a MESSAGE that is expected at to, or, where to is nil, nowhere; it returns the status code.
func (u *ua) deliver(uri string, to *ua, fields ...string) int {
	u.t.Helper()
	m := u.request("MESSAGE", uri, fields...)
	res := u.exchange(m)
	if res.code() != 407 {
		return res.code()
	}
	again := u.request("MESSAGE", uri, fields...)
	again.set("Proxy-Authorization", u.answer(res.get("Proxy-Authenticate"), "MESSAGE", uri))
	if to == nil {
		return u.exchange(again).code()
	}
	u.send(again)
	to.await("MESSAGE", 10*time.Second)
	for {
		if got := u.read(10 * time.Second); got.isResponse() && got.code() >= 200 {
			return got.code()
		}
	}
}

// A television and its users against the running program: the three doors, what each side may do in whose name, kill -9 in between, and a policy that is changed while
// everybody is there. RFC 3261, 10.2; RFC 7315, 4.1.2.2
func TestDevice(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			rules := filepath.Join(t.TempDir(), "policy.toml")
			setPolicy := func(doc string) {
				t.Helper()
				if err := os.WriteFile(rules, []byte(doc), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			setPolicy("[[rule]]\ngrace = \"1h\"\n")
			s := newServer(t, fmt.Sprintf("[policy]\nfile = %q\n", rules), "alice", "bob", "carol")
			s.command("device", "add", "tv", "--kind", "tv", "--password", password("tv"))
			s.command("device", "grant", "tv", "alice")
			tv, bob := s.dial(proto, "tv"), s.dial(proto, "bob")
			uri := func(user string) string { return "sip:" + user + "@" + domain }
			expect := func(what string, got, want int) {
				t.Helper()
				if got != want {
					t.Fatalf("%s: %d, want %d", what, got, want)
				}
			}
			register := func(u *ua, user string) *sip {
				t.Helper()
				return u.ask("REGISTER", "sip:"+domain, "To: <"+uri(user)+">", "Contact: "+u.contact()+tvInstance, "Call-ID: "+user+"-on-"+u.user)
			}

			expect("the television", register(tv, "tv").code(), 200)
			expect("alice on it", register(tv, "alice").code(), 200)
			expect("bob, whom it was not granted", register(tv, "bob").code(), 403)
			expect("bob's phone with its instance", register(bob, "bob").code(), 403)
			expect("bob's phone", bob.ask("REGISTER", "sip:"+domain).code(), 200)
			if got, want := register(tv, "tv").get("P-Associated-URI"), "<"+uri("tv")+">, <"+uri("alice")+">"; got != want {
				t.Errorf("P-Associated-URI: %s, want %s", got, want)
			}
			expect("to alice", bob.deliver(uri("alice"), tv), 200)
			expect("from alice", tv.deliver(uri("bob"), bob, "From: <"+uri("alice")+">;tag=a"), 200)
			expect("from carol, who is not there", tv.deliver(uri("bob"), nil, "From: <"+uri("carol")+">;tag=a"), 403)
			expect("from alice, by bob", bob.deliver(uri("tv"), nil, "From: <"+uri("alice")+">;tag=a"), 403)
			call := bob.ask("INVITE", uri("tv"))
			expect("a call to the television", call.code(), 405)
			if !strings.Contains(call.get("Allow"), "MESSAGE") || strings.Contains(call.get("Allow"), "INVITE") {
				t.Errorf("Allow: %s", call.get("Allow"))
			}
			bob.send(acknowledge(bob, call, uri("tv")))

			s.command("login", "add", "carol", "--device", "tv")
			expect("to carol", bob.deliver(uri("carol"), tv), 200)
			start := s.loginStart("alice")

			s.kill()
			s.start()
			if proto == "tcp" { // everybody comes back
				tv.connect(s)
				bob.connect(s)
				expect("the television is back", register(tv, "tv").code(), 200)
				expect("alice is back", register(tv, "alice").code(), 200)
				expect("bob is back", bob.ask("REGISTER", "sip:"+domain).code(), 200)
			}
			expect("to alice after the restart", bob.deliver(uri("alice"), tv), 200)
			expect("to carol after the restart", bob.deliver(uri("carol"), tv), 200)
			expect("a refresh", register(tv, "alice").code(), 200)
			if again := s.loginStart("alice"); again != start {
				t.Errorf("alice's login began at %s, and now at %s", start, again)
			}

			setPolicy("[[rule]]\nwhen = { user = [\"alice\"], kind = [\"tv\"] }\ndeny = { reason = \"No Television\" }\n")
			s.command("reload")
			expect("to alice, whom the new policy denies it", bob.deliver(uri("alice"), nil), 480)
			expect("from alice", tv.deliver(uri("bob"), nil, "From: <"+uri("alice")+">;tag=a"), 403)
			expect("to carol, whom it does not concern", bob.deliver(uri("carol"), tv), 200)
			if res := register(tv, "alice"); res.start != "SIP/2.0 403 No Television" {
				t.Error(res.start)
			}
			s.command("login", "rm", "carol", "--device", "tv")
			expect("to carol, who is logged out", bob.deliver(uri("carol"), nil), 480)
			if proto == "udp" { // what cannot register is registered by hand
				s.command("app", "add", "carol", "--contact", "sip:door@"+tv.conn.LocalAddr().String(), "--instance", "urn:uuid:00000000-0000-1000-8000-aabbccddeeff", "--features", "+sip.message")
				expect("to carol's application", bob.deliver(uri("carol"), tv), 200)
				s.command("app", "rm", "carol@"+domain+"/urn:uuid:00000000-0000-1000-8000-aabbccddeeff")
				expect("to carol, whose application is gone", bob.deliver(uri("carol"), nil), 480)
			}
			if feed := s.command("events"); strings.Count(feed, `"event":"login"`) != 2 || !strings.Contains(feed, `"reason":"admin, logout"`) {
				t.Errorf("the feed does not tell of the logins:\n%s", feed)
			}
			results.passed(t, "Go client", "RFC 3261, 10.2: users on a television, three doors, kill -9, a changed policy", "TestDevice", proto)
		})
	}
}

// acknowledge is the ACK for a refused INVITE. RFC 3261, 17.1.1.3
func acknowledge(u *ua, res *sip, uri string) *sip {
	cseq, _, _ := strings.Cut(res.get("CSeq"), " ")
	m := u.request("ACK", uri, "Via: "+res.get("Via"), "To: "+res.get("To"), "Call-ID: "+res.get("Call-ID"), "CSeq: "+cseq+" ACK")
	return m
}

// loginStart is when the login of a user on the television began.
func (s *server) loginStart(user string) string {
	s.t.Helper()
	out, err := exec.Command(program, "login", "show", user, "--device", "tv", "-o", "json", "--config", s.conf).Output()
	var list []struct{ Start string }
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil || len(list) != 1 {
		s.t.Fatalf("login show: %v\n%s", err, out)
	}
	return list[0].Start
}

// SIPp plays a television.
func TestDeviceSIPp(t *testing.T) {
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip("SKIPPED: sipp is not installed (interop/tools.sh installs it)")
	}
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "", "alice", "bob")
			s.command("device", "add", "tv", "--kind", "tv", "--password", password("tv"))
			s.command("device", "grant", "tv", "alice")
			p := s.phone(transport, "device", "bob")
			p.inject("tv", "alice", "")
			p.args = append(p.args, "-m", "1")
			p.run()
			results.passed(t, "SIPp", "RFC 3261, 10.2: a device registers a user, who is reached there; 403 without a grant and after the logout", "device.xml", transport)
		})
	}
}
