package interop

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"
)

// Messages go from page to page, from page to phone and from phone to page. RFC 3428, 4 and 7
func TestBrowserMessages(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob", "carol")
			alice, bob := openPage(t, s, kind, "alice", "wss", 440), openPage(t, s, kind, "bob", "ws", 440)
			for _, pair := range [][2]*page{{alice, bob}, {bob, alice}} {
				from, to := pair[0], pair[1]
				if code := from.message(to.user, "grüß dich ☎"); code != 200 {
					t.Errorf("%s to %s: %d", from.user, to.user, code)
				}
				var got text
				if to.wait("message", &got); got.Text != "grüß dich ☎" || got.From != "sip:"+from.user+"@"+domain {
					t.Errorf("%s got %+v", to.user, got)
				}
			}
			results.passed(t, kind+" in Chromium", "RFC 3428, 7: MESSAGE from page to page and back", "TestBrowserMessages", "wss")
			if _, err := exec.LookPath("sipp"); err != nil {
				t.Skip("SKIPPED: sipp is not installed (interop/tools.sh installs it)")
			}
			phone := s.phone("udp", "inbox", "carol")
			phone.args = append(phone.args, "-m", "1")
			phone.start()
			reg := s.phone("udp", "register", "carol")
			reg.contact = phone.contact
			reg.inject("carol", "carol", "")
			reg.run()
			if code := alice.message("carol", "from a page"); code != 200 {
				t.Errorf("to the phone: %d", code)
			}
			phone.wait()
			sender := s.phone("udp", "message", "carol")
			sender.inject("carol", "alice", "")
			sender.args = append(sender.args, "-m", "1")
			sender.run()
			var got text
			if alice.wait("message", &got); got.Text != "Hello, are you there?" {
				t.Errorf("from the phone: %+v", got)
			}
			results.passed(t, kind+" in Chromium", "RFC 3428, 7: MESSAGE between page and SIPp, both ways", "TestBrowserMessages", "wss")
		})
	}
}

// contacts are those that the server has for a user.
func (s *server) contacts(user string) (list []string) {
	s.t.Helper()
	out, err := exec.Command(program, "reg", "list", "-o", "json", "--config", s.conf).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	var rows []struct {
		AOR      string
		Contacts []struct{ Contact string }
	}
	if err := json.Unmarshal(out, &rows); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	for _, r := range rows {
		if r.AOR == "sip:"+user+"@"+domain {
			for _, c := range r.Contacts {
				list = append(list, c.Contact)
			}
		}
	}
	return list
}

// until waits for what must become true.
func (s *server) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	s.t.Fatalf("never: %s", what)
}

// A page that is loaded anew leaves no ghost: its flow closed, so its binding is gone, and a call rings in the new page only. RFC 5626, 5.3
func TestBrowserReload(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			alice, bob := openPage(t, s, kind, "alice", "wss", 440), openPage(t, s, kind, "bob", "wss", 1000)
			if n := len(s.contacts("alice")); n != 1 {
				t.Fatalf("%d contacts", n)
			}
			alice.load()
			s.until("alice's binding goes with her page", func() bool { return len(s.contacts("alice")) == 0 })
			if code := bob.message("alice", "gone?"); code != 480 {
				t.Errorf("a message to nobody got %d", code)
			}
			alice.start()
			alice.wait("registered", nil)
			if n := len(s.contacts("alice")); n != 1 {
				t.Errorf("%d contacts after the page came back", n)
			}
			bob.call("alice")
			alice.wait("incoming", nil)
			alice.answer()
			bob.wait("confirmed", nil)
			alice.hears(1000)
			bob.hangup()
			alice.wait("ended", nil)
			results.passed(t, kind+" in Chromium", "RFC 5626, 5.3: a page that is loaded anew leaves no ghost", "TestBrowserReload", "wss")
		})
	}
}

// A page of a foreign origin gets no connection; a wrong password no registration. RFC 6455, 10.2; hardening 73
func TestBrowserStrangers(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			startBrowser(t)
			closed := newServer(t, "", "alice")
			p := newPage(t, closed, kind, "alice", "wss", 440)
			var outcome string
			p.eval(&outcome, `(async () => {
				const ws = new WebSocket('`+closed.url("wss")+`', 'sip');
				return await new Promise(done => { ws.onopen = () => done('open'); ws.onclose = e => done('closed ' + e.code); });
			})()`)
			if outcome != "closed 1006" {
				t.Errorf("a foreign page: %s", outcome)
			}
			open := newWebServer(t, "", "alice")
			p = newPage(t, open, kind, "alice", "wss", 440, func(c *pageConfig) { c.Password = "wrong" })
			p.start()
			var failed struct{ Status int }
			if p.wait("registrationFailed", &failed); failed.Status != 401 {
				t.Errorf("a wrong password: %+v", failed)
			}
		})
	}
}

// A page that has signed in once needs no password afterwards: it shows its session token, which JsSIP calls authorization_jwt, to register and to call, as long as it keeps its instance, too.
// RFC 8898, 2.2
func TestBrowserSessionToken(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "", "alice")
	const instance = "4f3a9d1e-0c6b-4b7e-9f53-3d0f5f6f7a11"
	first := newPage(t, s, jssip, "alice", "wss", 440, func(c *pageConfig) { c.Token, c.Extra = true, map[string]any{"instance_id": instance} })
	first.start()
	var in struct{ Token string }
	if first.wait("registered", &in); in.Token == "" {
		t.Fatal("no token")
	}
	show := func(token, instance string) *page {
		return newPage(t, s, jssip, "alice", "wss", 660, func(c *pageConfig) {
			c.Password, c.Extra = "", map[string]any{"authorization_jwt": "Bearer " + token, "instance_id": instance}
		})
	}
	second := show(in.Token, instance)
	second.start()
	second.wait("registered", nil)
	second.call("echo")
	second.wait("confirmed", nil)
	second.hears(660)
	second.hangup()
	second.wait("ended", nil)
	for what, bad := range map[string]*page{
		"an altered token":        show(in.Token[:len(in.Token)-3]+"AAA", instance),
		"another phone's session": show(in.Token, "5f3a9d1e-0c6b-4b7e-9f53-3d0f5f6f7a11"),
	} {
		bad.start()
		var out struct{ Status int }
		if bad.wait("registrationFailed", &out); out.Status != 401 {
			t.Errorf("%s is answered %d", what, out.Status)
		}
	}
	results.passed(t, jssip+" in Chromium", "RFC 8898, 2.2: a session token in place of a password, to register and to call", "TestBrowserSessionToken", "wss")
}
