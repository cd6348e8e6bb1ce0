package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rules is the policy file of a server.
type rules struct {
	t    *testing.T
	path string
}

func newRules(t *testing.T, text string) *rules {
	t.Helper()
	r := &rules{t, filepath.Join(t.TempDir(), "policy.toml")}
	r.write(text)
	return r
}

func (r *rules) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// conf names the file in the configuration.
func (r *rules) conf() string { return fmt.Sprintf("[policy]\nfile = %q\n", r.path) }

// hangup sends SIGHUP and waits until the log has a line about it.
func (s *server) hangup(line string) {
	s.t.Helper()
	before := strings.Count(s.out.String(), line)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	waitFor(s.t, line, func() bool { return strings.Count(s.out.String(), line) > before })
}

// registration is what `signalbox reg show` prints of a user, but for what time alone changes; "" when there is none.
func (s *server) registration(user string) string {
	s.t.Helper()
	out, err := exec.Command(program, "reg", "show", user, "-o", "json", "--config", s.conf).Output()
	if err != nil {
		return ""
	}
	var r struct{ Contacts []map[string]any }
	if err := json.Unmarshal(out, &r); err != nil {
		s.t.Fatal(err)
	}
	for _, c := range r.Contacts {
		delete(c, "expires")
	}
	return fmt.Sprint(r.Contacts)
}

// A policy taken up by SIGHUP while phones are registered: shortened, deactivated, on probation, rejected; each hears of it who watches its own registration, and those it does
// not concern keep theirs as it was. A broken file changes nothing and is shown with line and caret, by SIGHUP in the log and by reload on the screen. RFC 3680, 4.7.1
func TestPolicyBySIGHUP(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			users := []string{"short", "again", "later", "never", "other", "short2"}
			file := newRules(t, "")
			s := newServer(t, file.conf(), users...)
			phones := map[string]*ua{}
			for _, user := range users {
				u := s.dial(proto, user)
				if res := u.ask("REGISTER", "sip:"+domain); res.code() != 200 {
					t.Fatal(res.start)
				}
				if res := u.ask("SUBSCRIBE", "sip:"+user+"@"+domain, "Event: reg"); res.code() != 200 {
					t.Fatal(res.start)
				}
				if got := u.told(10 * time.Second); got != "0 full active, "+user+" registered" {
					t.Fatalf("%s is told %q", user, got)
				}
				phones[user] = u
			}
			before := map[string]string{}
			for _, user := range users {
				before[user] = s.registration(user)
			}

			const broken = "[[rule]]\nwhen = { user = [\"never\"] }\ndeny = {}\n[[rule]]\nwhen = { sauce = [\"192.0.2.1\"] }\nallow = true\n"
			file.write(broken)
			s.hangup("level=ERROR msg=reload")
			if log := s.out.String(); !strings.Contains(log, "the policy stays as it was") || !strings.Contains(log, "policy.toml:5:10: unknown key rule[1].when.sauce") {
				t.Errorf("the log does not say what is wrong:\n%s", log)
			}
			if said := s.fails("reload"); !strings.Contains(said, "policy.toml:5:10: unknown key rule[1].when.sauce") || !strings.Contains(said, "\n             ^") {
				t.Errorf("reload says\n%s", said)
			}
			if err := os.Remove(file.path); err != nil {
				t.Fatal(err)
			}
			s.hangup("level=ERROR msg=reload")
			for _, user := range users {
				if got := s.registration(user); got != before[user] {
					t.Errorf("a broken policy changed %s: %s, before %s", user, got, before[user])
				}
			}

			file.write(`
[[rule]]
when = { user = ["never"] }
deny = { code = 403, reason = "Unpaid" }
[[rule]]
when = { user = ["later"] }
deny = { code = 480, retry_after = "7m" }
[[rule]]
when = { user = ["short"] }
expires_max = "2m"
[[rule]]
when = { user = ["again"] }
reauthenticate = "1s"
`)
			time.Sleep(1100 * time.Millisecond) // the youngest challenge is older than a second now
			s.hangup("policy read again")
			for user, want := range map[string]string{"short": "active, short shortened", "again": "terminated, again deactivated", "later": "terminated, later probation", "never": "terminated, never rejected"} {
				if got := phones[user].told(15 * time.Second); got != "1 partial "+want {
					t.Errorf("%s is told %q, want %q", user, got, want)
				}
			}
			for _, user := range []string{"other", "short2"} {
				phones[user].quiet(100 * time.Millisecond)
				if got := s.registration(user); got != before[user] {
					t.Errorf("%s was changed: %s, before %s", user, got, before[user])
				}
			}
			for user, want := range map[string]string{"never": "SIP/2.0 403 Unpaid", "later": "SIP/2.0 480 ", "again": "SIP/2.0 200", "short": "SIP/2.0 200"} {
				res := phones[user].ask("REGISTER", "sip:"+domain, "Call-ID: anew-"+user)
				if !strings.HasPrefix(res.start, want) || (res.get("Retry-After") == "420") != (user == "later") {
					t.Errorf("%s registers: %s, Retry-After %s", user, res.start, res.get("Retry-After"))
				}
				if user == "short" && !strings.HasSuffix(res.get("Contact"), ";expires=120") {
					t.Errorf("short has %s", res.get("Contact"))
				}
			}
			results.passed(t, "Go client", "RFC 3680, 4.7.1: SIGHUP takes up a policy; a broken one stays out", "TestPolicyBySIGHUP", proto)
		})
	}
}
