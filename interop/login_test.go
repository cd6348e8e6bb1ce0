package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// contactOf is where a device behind NAT believes itself to be: it is reached over its connection only.
func contactOf(device string) string {
	return fmt.Sprintf(`Contact: <sip:%[1]s@%[1]s.invalid;transport=tcp>;+sip.instance="<urn:x:%[1]s>"`, device)
}

// api asks the control socket, as `curl --unix-socket` does.
func (s *server) api(path string, answer any) {
	s.t.Helper()
	s.call(http.MethodGet, path, answer)
}

// call is api with any method; answer may be nil.
func (s *server) call(method, path string, answer any) {
	s.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(s.dir, "data", "control.sock"))
	}}}
	req, err := http.NewRequest(method, "http://signalbox"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if answer != nil {
		err = json.NewDecoder(res.Body).Decode(answer)
	}
	if err != nil || res.StatusCode/100 != 2 {
		s.t.Fatalf("%s %s: %s %v", method, path, res.Status, err)
	}
}

// loggedIn is who is logged in on a device: "alice online" and the like.
func (s *server) loggedIn(device string) string {
	s.t.Helper()
	var list []struct{ User, State string }
	s.api("/v1/logins?device="+device, &list)
	var names []string
	for _, l := range list {
		names = append(names, strings.TrimSuffix(l.User, "@"+domain)+" "+l.State)
	}
	return strings.Join(names, ", ")
}

// becomes waits until somebody, or nobody, is logged in on a device.
func (s *server) becomes(device, want string) {
	s.t.Helper()
	waitFor(s.t, want+" on "+device, func() bool { return s.loggedIn(device) == want })
}

// Logins that begin and end by themselves: scheduled by an administrator, idle, and after their longest time; and the limits: users of a device, devices of a user, a second device
// refused, or the first logged out. Each ends alone, and the feed says why. RFC 3261, 10.2
func TestLoginTimesAndLimits(t *testing.T) {
	t.Parallel()
	file := newRules(t, `
[[rule]]
name = "public phones"
when = { kind = ["public"] }
idle = "2s"
[[rule]]
name = "kiosks"
when = { kind = ["kiosk"] }
longest = "3s"
[[rule]]
name = "televisions"
when = { kind = ["tv"] }
max_users = 2
[[rule]]
name = "one at a time"
when = { user = ["carol"] }
multi_login = "deny"
[[rule]]
name = "the latest"
when = { user = ["dave"] }
multi_login = "auto-logout"
[[rule]]
name = "two devices"
when = { user = ["erin"] }
max_devices = 2
`)
	s := newServer(t, file.conf(), "alice", "bob", "carol", "dave", "erin", "frank")
	devices := map[string]*ua{}
	for _, d := range [][2]string{{"tv", "tv"}, {"tv2", "tv"}, {"lobby", "public"}, {"kiosk", "kiosk"}, {"desk", "desk"}} {
		s.command("device", "add", d[0], "--kind", d[1], "--password", password(d[0]))
		for _, user := range []string{"carol", "dave", "erin"} {
			s.call(http.MethodPut, "/v1/devices/"+d[0]+"/grants/"+user, nil)
		}
		u := s.dial("tcp", d[0])
		if res := u.ask("REGISTER", "sip:"+domain, contactOf(d[0])); res.code() != 200 {
			t.Fatal(res.start)
		}
		devices[d[0]] = u
	}
	bob := s.dial("tcp", "bob")
	if res := bob.ask("REGISTER", "sip:"+domain); res.code() != 200 {
		t.Fatal(res.start)
	}
	// logIn is the device's REGISTER in a user's name.
	logIn := func(device, user string) string {
		t.Helper()
		u := devices[device]
		res := u.ask("REGISTER", "sip:"+domain, "To: <sip:"+user+"@"+domain+">", contactOf(device), "Call-ID: "+user+"-on-"+device)
		return strings.TrimPrefix(res.start, "SIP/2.0 ")
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	at := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }

	// A start and an end that lie ahead. Before, nobody is there; in between, alice is called on the television; afterwards no more.
	expect("said", s.command("login", "add", "alice", "--device", "tv", "--start", at(5*time.Second))[:len("alice will be")], "alice will be")
	expect("before the start", s.loggedIn("tv"), "alice scheduled")
	if code := bob.deliver("sip:alice@"+domain, nil); code != 480 {
		t.Errorf("to alice before the start: %d", code)
	}
	s.becomes("tv", "alice online")
	if code := bob.deliver("sip:alice@"+domain, devices["tv"]); code != 200 {
		t.Errorf("to alice: %d", code)
	}
	s.command("login", "add", "alice", "--device", "tv", "--end", at(6*time.Second))
	// Who says nothing for too long is logged out, and who stays too long.
	s.command("login", "add", "frank", "--device", "lobby")
	s.command("login", "add", "frank", "--device", "kiosk")
	s.becomes("lobby", "")
	s.becomes("kiosk", "")
	s.becomes("tv", "")
	if code := bob.deliver("sip:alice@"+domain, nil); code != 480 {
		t.Errorf("to alice after the end: %d", code)
	}

	// Two users on a television, by whichever door.
	s.command("login", "add", "frank", "--device", "tv")
	expect("erin on the television", logIn("tv", "erin"), "200 OK")
	expect("a third user", logIn("tv", "carol"), "403 Too Many Users On This Device")
	if said := s.fails("login", "add", "alice", "--device", "tv"); !strings.Contains(said, "tv@"+domain+" has 2 users: denied by policy") {
		t.Error(said)
	}
	expect("erin again", logIn("tv", "erin"), "200 OK") // a refresh is not a third one
	expect("on the television", s.loggedIn("tv"), "erin online, frank online")

	expect("erin on a second device", logIn("tv2", "erin"), "200 OK")
	expect("erin on a third", logIn("desk", "erin"), "403 Too Many Devices")
	expect("carol", logIn("tv2", "carol"), "200 OK")
	expect("carol on a second device", logIn("desk", "carol"), "403 Logged In On Another Device")
	if said := s.fails("login", "add", "carol", "--device", "desk"); !strings.Contains(said, "carol@"+domain+" is logged in on another device: denied by policy") {
		t.Error(said)
	}
	s.command("login", "rm", "erin", "--device", "tv")
	expect("dave", logIn("tv", "dave"), "200 OK")
	expect("dave on a second device", logIn("desk", "dave"), "200 OK")
	s.becomes("tv", "frank online")
	s.command("login", "add", "dave", "--device", "lobby")
	s.becomes("desk", "")
	expect("nobody else has gone", s.loggedIn("tv2"), "carol online, erin online")

	feed := s.command("events")
	for _, want := range []string{
		`"aor":"sip:alice@` + domain + `","device":"sip:tv@` + domain + `","reason":"admin, ended"`,
		`"aor":"sip:frank@` + domain + `","device":"sip:lobby@` + domain + `","reason":"admin, idle"`,
		`"aor":"sip:frank@` + domain + `","device":"sip:kiosk@` + domain + `","reason":"admin, ended"`,
		`"aor":"sip:dave@` + domain + `","device":"sip:tv@` + domain + `","reason":"device, logout"`,
	} {
		if strings.Count(feed, want) != 1 {
			t.Errorf("the feed says %d times %s", strings.Count(feed, want), want)
		}
	}
	if n := strings.Count(feed, `"device":"sip:desk@`+domain+`","reason":"device, login"`); n != 1 {
		t.Errorf("%d logins on the desk, want dave's: who was refused has not logged in", n)
	}
	if strings.Contains(feed, "lost") {
		t.Errorf("somebody was lost:\n%s", feed)
	}
	// The device is gone, and all its users with it, one event each.
	devices["tv2"].conn.Close()
	s.becomes("tv2", "")
	feed = s.command("events")
	for _, user := range []string{"carol", "erin"} {
		if n := strings.Count(feed, `"aor":"sip:`+user+`@`+domain+`","device":"sip:tv2@`+domain+`","reason":"device, lost"`); n != 1 {
			t.Errorf("%s was lost %d times", user, n)
		}
	}
	results.passed(t, "Go client", "RFC 3261, 10.2: logins begin and end by themselves; limits of devices and users", "TestLoginTimesAndLimits", "tcp")
}
