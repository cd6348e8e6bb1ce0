package interop

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// registrations is a document of RFC 3680, 5, as a subscriber reads it.
type registrations struct {
	XMLName      xml.Name `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
	Version      int      `xml:"version,attr"`
	State        string   `xml:"state,attr"`
	Registration struct {
		AOR      string `xml:"aor,attr"`
		State    string `xml:"state,attr"`
		Contacts []struct {
			State string `xml:"state,attr"`
			Event string `xml:"event,attr"`
			URI   string `xml:"uri"`
			GRUU  struct {
				URI string `xml:"uri,attr"`
			} `xml:"urn:ietf:params:xml:ns:gruuinfo pub-gruu"`
		} `xml:"contact"`
	} `xml:"registration"`
}

// told is the document of the next NOTIFY: version, state, and the events of its contacts by user part.
func (u *ua) told(d time.Duration) string {
	u.t.Helper()
	m := u.await("NOTIFY", d)
	if m.get("Content-Type") != "application/reginfo+xml" || m.get("Event") != "reg" {
		u.t.Fatalf("NOTIFY with %q for %q", m.get("Content-Type"), m.get("Event"))
	}
	return tells(u.t, m.body)
}

func tells(t *testing.T, document string) string {
	t.Helper()
	var r registrations
	if err := xml.Unmarshal([]byte(document), &r); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	s := fmt.Sprint(r.Version, " ", r.State, " ", r.Registration.State)
	for _, c := range r.Registration.Contacts {
		s += fmt.Sprint(", ", strings.TrimPrefix(strings.Split(c.URI, "@")[0], "sip:"), " ", c.Event)
		if c.GRUU.URI != "" {
			s += " gruu"
		}
	}
	return s
}

// A subscriber to its own registrations (RFC 6665, RFC 3680, RFC 5628) against the running program: full state, changes from the network and from the command line, kill -9 in
// between, the end of it, and the feed of all that, which reading does not empty.
func TestRegEvent(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "", "alice", "bob")
			u := s.dial(proto, "alice")
			aor := "sip:alice@" + domain
			register := func(contact string) {
				t.Helper()
				if res := u.ask("REGISTER", "sip:"+domain, "Contact: "+contact, "Supported: gruu"); res.code() != 200 {
					t.Fatal(res.start)
				}
			}
			expect := func(want string, d time.Duration) {
				t.Helper()
				if got := u.told(d); got != want {
					t.Fatalf("told %q, want %q", got, want)
				}
			}
			device := func() string { return u.contact() + `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"` }
			register(device())
			res := u.ask("SUBSCRIBE", aor, "Event: reg", "Accept: application/reginfo+xml", "Expires: 3600", "Contact: "+device())
			if res.code() != 200 || res.get("Expires") != "3600" {
				t.Fatal(res.start, res.get("Expires"))
			}
			to, target := res.get("To"), strings.Trim(res.get("Contact"), "<>")
			expect("0 full active, alice registered gruu", 20*time.Second)

			register(strings.Replace(u.contact(), "alice", "second", 1))
			expect("1 partial active, second registered", 20*time.Second)
			s.command("reg", "rm", "alice", "--contact", strings.Trim(strings.Replace(u.contact(), "alice", "second", 1), "<>"))
			expect("2 partial active, second deactivated", 20*time.Second)

			s.kill()
			s.start()
			if proto == "tcp" { // the phone comes back
				u.connect(s)
				register(device())
				// The contact has another port, so it is another one; the old one went with its connection, or is still listed. A number is used up if the server
				// tried the port that is no more before the phone was back.
				if got := u.told(15 * time.Second); !regexp.MustCompile(`^[34] full active, alice re`).MatchString(got) {
					t.Fatalf("told %q", got)
				}
			} else {
				expect("3 full active, alice registered gruu", 30*time.Second)
			}

			stranger := s.dial(proto, "bob")
			if res := stranger.ask("SUBSCRIBE", aor, "Event: reg"); res.code() != 403 {
				t.Errorf("bob: %s", res.start)
			}
			if res := stranger.ask("SUBSCRIBE", "sip:"+domain, "Event: nonsense"); res.code() != 489 || res.get("Allow-Events") != "reg" {
				t.Errorf("nonsense: %s", res.start)
			}
			stranger.quiet(100 * time.Millisecond)

			if res := u.ask("SUBSCRIBE", target, "Event: reg", "Expires: 0", "To: "+to); res.code() != 200 {
				t.Fatal(res.start)
			}
			last := u.await("NOTIFY", 20*time.Second)
			if last.get("Subscription-State") != "terminated;reason=timeout" {
				t.Errorf("last: %s", last.get("Subscription-State"))
			}
			if res := u.ask("SUBSCRIBE", target, "Event: reg", "To: "+to); res.code() != 481 {
				t.Errorf("afterwards: %s", res.start)
			}
			s.checkFeed()
			results.passed(t, "Go client", "RFC 3680: its own registrations watched, over kill -9", "TestRegEvent", proto)
		})
	}
}

// command runs the program's command line beside the server.
func (s *server) command(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(program, append(args, "--config", s.conf)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// checkFeed reads the event feed several times, the last time as one who follows until the server stops.
func (s *server) checkFeed() {
	s.t.Helper()
	s.waitEvents("unsubscribed")
	first := s.command("events")
	if again := s.command("events"); again != first {
		s.t.Errorf("reading changed the feed:\n%s\n%s", first, again)
	}
	var names []string
	cursor := 0
	for line := range strings.Lines(first) {
		var e struct {
			Cursor int
			Event  string
			Reason string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatal(err)
		}
		if cursor++; e.Cursor != cursor {
			s.t.Errorf("cursor %d after %d", e.Cursor, cursor-1)
		}
		names = append(names, e.Event+e.Reason)
	}
	if got := strings.Join(names, " "); !strings.HasPrefix(got, "started registered subscribed registered deactivated startedafter a crash") || !strings.HasSuffix(got, "unsubscribedtimeout") {
		s.t.Errorf("the feed says %s", got)
	}
	var out bytes.Buffer
	follower := exec.Command(program, "events", "--follow", "--since", fmt.Sprint(cursor-1), "--config", s.conf)
	pipe, err := follower.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := follower.Start(); err != nil {
		s.t.Fatal(err)
	}
	one := make([]byte, 1)
	if _, err := pipe.Read(one); err != nil { // it follows
		s.t.Fatal(err)
	}
	s.stop()
	if _, err := out.ReadFrom(pipe); err != nil {
		s.t.Error(err)
	}
	if err := follower.Wait(); err != nil || !strings.Contains(out.String(), `"event":"unsubscribed"`) {
		s.t.Errorf("who follows: %v\n%s", err, out.String())
	}
}

// waitEvents waits until the feed, which is written after the fact, tells of an event.
func (s *server) waitEvents(event string) {
	s.t.Helper()
	waitFor(s.t, event+" in the feed", func() bool { return strings.Contains(s.command("events"), `"event":"`+event+`"`) })
}

// A policy that changes shortens and ends a registration, and who watches it is told: the phone itself, and an application that the policy lets watch, until it does
// so no more. RFC 3680, 3.1 and 4.7.1
func TestPolicyChangeIsNotified(t *testing.T) {
	t.Parallel()
	policy := filepath.Join(t.TempDir(), "policy.toml")
	rules := func(text string) {
		t.Helper()
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const watch = "[[rule]]\nname = \"help desk\"\nwhen = { action = [\"watch\"], user = [\"bob\"], target = [\"alice\"] }\nallow = true\n"
	rules(watch)
	s := newServer(t, fmt.Sprintf("[policy]\nfile = %q\n", policy), "alice", "bob")
	alice, bob := s.dial("udp", "alice"), s.dial("tcp", "bob")
	if res := alice.ask("REGISTER", "sip:"+domain); res.code() != 200 {
		t.Fatal(res.start)
	}
	both := func(want string) {
		t.Helper()
		for _, u := range []*ua{alice, bob} {
			if got := u.told(8 * time.Second); got != want {
				t.Errorf("%s is told %q, want %q", u.user, got, want)
			}
		}
	}
	for _, u := range []*ua{alice, bob} {
		if res := u.ask("SUBSCRIBE", "sip:alice@"+domain, "Event: reg"); res.code() != 200 {
			t.Fatal(u.user, res.start)
		}
	}
	both("0 full active, alice registered")

	rules(watch + "[[rule]]\nwhen = { user = [\"alice\"] }\nexpires_max = \"90s\"\n")
	s.command("reload")
	both("1 partial active, alice shortened")

	rules("[[rule]]\nname = \"unpaid\"\nwhen = { user = [\"alice\"] }\ndeny = { code = 403, reason = \"Unpaid\" }\n")
	s.command("reload")
	if got := alice.told(8 * time.Second); got != "2 partial terminated, alice rejected" {
		t.Errorf("alice is told %q", got)
	}
	if m := bob.await("NOTIFY", 20*time.Second); m.get("Subscription-State") != "terminated;reason=rejected" || m.body != "" {
		t.Errorf("bob is told %q %q", m.get("Subscription-State"), m.body)
	}
	if res := bob.ask("SUBSCRIBE", "sip:alice@"+domain, "Event: reg", "Call-ID: again"); res.code() != 403 {
		t.Errorf("bob again: %s", res.start)
	}
	results.passed(t, "Go client", "RFC 3680, 4.7.1: a policy that changes is heard by who watches", "TestPolicyChangeIsNotified", "udp")
	results.passed(t, "Go client", "RFC 3680, 4.7.1: a policy that changes is heard by who watches", "TestPolicyChangeIsNotified", "tcp")
}

// The subscribers of JsSIP and SIP.js, which nobody here wrote, over WebSocket: full state, a change, the end.
func TestBrowserWatches(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice")
			page := openPage(t, s, kind, "alice", "wss", 440)
			page.do(nil, "watch", "sip:alice@"+domain)
			next := func(version int, rest string) {
				t.Helper()
				var n struct {
					Final bool
					Body  string
				}
				page.wait("notify", &n)
				got := tells(t, n.Body)
				if want := fmt.Sprint(version, " "); !strings.HasPrefix(got, want) || !strings.Contains(got, rest) || n.Final != (version == 3) {
					t.Errorf("told %q, final %v; want %s... %s", got, n.Final, want, rest)
				}
			}
			next(0, "full active, ")
			desk := s.dial("udp", "alice")
			contact := strings.Replace(desk.contact(), "alice", "desk", 1)
			if res := desk.ask("REGISTER", "sip:"+domain, "Contact: "+contact); res.code() != 200 {
				t.Fatal(res.start)
			}
			next(1, "partial active, desk registered")
			s.command("reg", "rm", "alice", "--contact", strings.Trim(contact, "<>"))
			next(2, "partial active, desk deactivated")
			page.do(nil, "unwatch")
			var end struct{ Reason string }
			if page.wait("unwatched", &end); kind == jssip { // SIP.js does not tell its page of the last NOTIFY
				if next(3, "full active, "); end.Reason != "timeout" {
					t.Errorf("ended for %q", end.Reason)
				}
			}
			s.waitEvents("unsubscribed")
			results.passed(t, kind+" in Chromium", "RFC 3680: a page watches its own registrations", "TestBrowserWatches", "wss")
		})
	}
}
