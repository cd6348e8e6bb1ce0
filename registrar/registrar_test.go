package registrar

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

// RFC 3261, 10.3: a challenge, then all bindings with expires, the date, and the proof that the server knows the password (RFC 7616, 3.5).
// RFC 3261, 10.2.1: the phone adds a binding. RFC 3261, 20.17: the date is in GMT.
func TestRegister(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		p.cseq = 1
		res := p.send(p.request("Contact: <sip:alice@192.0.2.1:5062>"))
		if res.StatusCode != 401 || res.To.Tag == "" || len(contacts(res)) > 0 || len(w.bindings()) > 0 {
			t.Fatalf("without credentials:\n%s", res)
		}
		res = p.register(`Contact: "Alice" <sip:alice@192.0.2.1:5062;ob>;+sip.instance="<urn:uuid:1;2>";q=0.50;expires=600;audio`, "User-Agent: Phone/1.0",
			"Record-Route: <sip:192.0.2.9;lr>", "Supported: outbound, path")
		if res.StatusCode != 200 || res.To.Tag == "" || res.CSeq.Seq != 3 {
			t.Fatalf("\n%s", res)
		}
		// RFC 3840, 6: feature tags are kept and returned.
		want := []string{`<sip:alice@192.0.2.1:5062;ob>;+sip.instance="<urn:uuid:1;2>";audio;q=0.5;expires=600`}
		if diff := cmp.Diff(want, contacts(res)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for name, want := range map[string]string{
			// RFC 3261, 8.2.4 and 8.2.5: no extension is applied
			"Date": "Sat, 01 Jan 2000 00:00:00 GMT", "Record-Route": "", "Require": "", "Expires": "", // RFC 3261, 10.3: no Record-Route
		} {
			if got := wire.Get(res, name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if info := wire.Get(res, "Authentication-Info"); !strings.Contains(info, "rspauth=") || !strings.Contains(info, "nextnonce=") {
			t.Errorf("Authentication-Info: %q", info)
		}
		b := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})[0]
		got := fmt.Sprint(b.Contact, b.Params, b.Q, b.CallID, b.CSeq, b.Flow == p.line.id, b.Behind, b.Path, b.InstanceID, b.RegID, b.UserAgent, b.Created.Equal(b.Updated))
		if want := `sip:alice@192.0.2.1:5062;ob;+sip.instance="<urn:uuid:1;2>";audio500alice@192.0.2.1:50623truefalse[]<urn:uuid:1;2>0Phone/1.0true`; strings.ReplaceAll(got, " ", "") != want {
			t.Errorf("binding\n%s, want\n%s", got, want)
		}
	})
}

// RFC 3261, 10.3 step 3: nextnonce and further counts of the old nonce need no new challenge (RFC 7616, 3.5).
func TestRefreshWithoutChallenge(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		p.cseq = 1
		challenge := wire.Get(p.send(p.request()), "WWW-Authenticate")
		for nc := range 3 {
			p.cseq++
			if res := p.send(p.request("Contact: <sip:alice@192.0.2.1:5062>", p.authorization(challenge, nc+1))); res.StatusCode != 200 {
				t.Fatalf("nc %d:\n%s", nc+1, res)
			}
		}
		// hardening 24: the same request again, with another branch and CSeq, is a replay.
		p.cseq++
		res := p.send(p.request("Contact: *", "Expires: 0", p.authorization(challenge, 3)))
		if res.StatusCode != 401 || !strings.Contains(wire.Get(res, "WWW-Authenticate"), "stale=true") || len(w.bindings()) != 1 {
			t.Errorf("replay:\n%s", res)
		}
	})
}

// What a REGISTER can do wrong: each has its answer, and changes nothing.
func TestRefused(t *testing.T) {
	const contact = "Contact: <sip:alice@192.0.2.1:5062>"
	many := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("Contact: <sip:alice@192.0.2.1:%d>", 6000+i))
		}
		return list
	}
	long := strings.Repeat("x", 2000)
	for _, tt := range []struct {
		name   string
		change func(p *phone)
		lines  []string
		want   string
	}{
		// RFC 3261, 10.3 step 1
		{"domain not ours", func(p *phone) { p.uri = "sip:example.com" }, []string{contact}, "404"},
		// RFC 3261, 8.2.2.1
		{"another scheme", func(p *phone) { p.uri = "tel:+12125550100" }, []string{contact}, "416"},
		// RFC 3261, 10.3 step 2 and 8.2.2.3: before authentication
		{"unknown extension", nil, []string{contact, "Require: outbound, x-new", "Require: y-new"}, "420 Unsupported: x-new, y-new"},
		// RFC 3261, 10.3 step 4; hardening 20: only the user registers, and as the user
		{"bob for alice", func(p *phone) { p.user, p.pass = "bob", "bob" }, []string{contact}, "403"},
		{"bob for alice, From bob", func(p *phone) { p.user, p.pass, p.from = "bob", "bob", "sip:bob@example.org" }, []string{contact}, "403"},
		{"alice for bob, From alice", func(p *phone) { p.to = "sip:bob@example.org" }, []string{contact}, "403"},
		{"alice as bob for alice", func(p *phone) { p.from = "sip:bob@example.org" }, []string{contact}, "403"},
		{"From of a stranger", func(p *phone) { p.from = "sip:alice@example.com" }, []string{contact}, "403"},
		{"From by telephone number", func(p *phone) { p.from = "tel:+12125550100" }, []string{contact}, "403"},
		{"alice of the other domain", func(p *phone) { p.from = "sip:alice@example.net" }, []string{contact}, "403"},
		{"wrong password", func(p *phone) { p.pass = "x" }, []string{contact}, "401"},
		{"nobody", func(p *phone) { p.user, p.to, p.from = "nobody", "sip:nobody@example.org", "sip:nobody@example.org" }, []string{contact}, "401"},
		// RFC 3261, 10.3 step 5
		{"To elsewhere", func(p *phone) { p.to = "sip:alice@example.com" }, []string{contact}, "404"},
		{"To in the other domain", func(p *phone) { p.to = "sip:carol@example.net" }, []string{contact}, "404"},
		{"To nobody", func(p *phone) { p.to = "sip:example.org" }, []string{contact}, "404"},
		{"To with NUL (hardening 19)", func(p *phone) { p.to = "sip:alice%00@example.org" }, []string{contact}, "404"},
		{"To by telephone number (RFC 3261, 10.2)", func(p *phone) { p.to = "tel:+12125550100" }, []string{contact}, "400"},
		// RFC 3261, 10.3 step 6; hardening 47
		{"* without Expires", nil, []string{"Contact: *"}, "400"},
		{"* with Expires", nil, []string{"Contact: *", "Expires: 60"}, "400"},
		{"* with malformed Expires", nil, []string{"Contact: *", "Expires: 0x"}, "400"},
		{"* with expires", nil, []string{"Contact: *;expires=0"}, "400"},
		{"* and another", nil, []string{"Contact: *, <sip:alice@192.0.2.1:5062>", "Expires: 0"}, "400"},
		{"another and *", nil, []string{contact, "Contact: *", "Expires: 0"}, "400"},
		{"* twice", nil, []string{"Contact: *, *", "Expires: 0"}, "400"},
		// RFC 3261, 10.3 step 7
		{"too brief", nil, []string{contact, "Expires: 59"}, "423 Min-Expires: 60"},
		{"too brief by parameter", nil, []string{contact + ";expires=1", "Expires: 3600"}, "423 Min-Expires: 60"},
		{"one of two too brief", nil, []string{contact + ";expires=600", "Contact: <sip:alice@192.0.2.1:6000>;expires=1"}, "423 Min-Expires: 60"},
		{"the same contact twice", nil, []string{contact, "Contact: <sip:alice@192.0.2.1:5062;x=1>"}, "400"},
		// hardening 45
		{"11 contacts", nil, many(11), "403"},
		{"10 contacts and the one there is", nil, many(10), "403"},
		{"1,000 contacts in one header", nil, []string{"Contact: " + strings.TrimSuffix(strings.Repeat("<sip:a@192.0.2.1>,", 850), ",")}, "403"},
		{"contact too long", nil, []string{"Contact: <sip:" + long + "@192.0.2.1>"}, "403"},
		{"Call-ID too long", func(p *phone) { p.callID = long }, []string{contact}, "403"},
		{"q negative", nil, []string{contact + ";q=-1"}, "400"},
		{"q not a number", nil, []string{contact + ";q=NaN"}, "400"},
		{"q 1e9", nil, []string{contact + ";q=1e9"}, "400"},
		{"q above 1", nil, []string{contact + ";q=1.001"}, "400"},
		{"q twice", nil, []string{contact + ";q=1;Q=0.5"}, "400"},
		{"expires twice", nil, []string{contact + ";expires=60;expires=0"}, "400"},
		{"RFC 4475, 3.1.2.13", nil, []string{"Contact: sip:alice@192.0.2.1?Route=%3Csip:sip.example.com%3E"}, "400"},
		{"not a contact", nil, []string{"Contact: <sip:alice@192.0.2.1"}, "400"},
		{"contact by telephone number", nil, []string{"Contact: <tel:+12125550100>"}, "403"},
		// hardening 41 and 44: contacts that lead back to us
		{"an address of ours", nil, []string{"Contact: <sip:bob@example.org>"}, "403"},
		{"an address of ours by port", nil, []string{"Contact: <sips:alice@EXAMPLE.net:5071;transport=tcp>"}, "403"},
		{"our domain", nil, []string{"Contact: <sip:example.org>"}, "403"},
		{"our listener", nil, []string{"Contact: <sip:alice@192.0.2.7>"}, "403"},
		{"our listener by port", nil, []string{"Contact: <sip:alice@127.0.0.1:5060>"}, "403"},
		{"our listener by any", nil, []string{"Contact: <sip:alice@0.0.0.0:5060>"}, "403"},
		{"our listener as IPv6", nil, []string{"Contact: <sip:alice@[::ffff:192.0.2.7]:5060>"}, "403"},
		{"our listener by name", nil, []string{"Contact: <sip:alice@localhost>"}, "403"},
		{"an address in disguise", nil, []string{"Contact: <sip:alice@2130706433>"}, "400"},
		{"an octal address", nil, []string{"Contact: <sip:alice@0177.0.0.1>"}, "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(w *world) {
				w.phone("alice", "192.0.2.99:5099").register("Contact: <sip:alice@192.0.2.99:5099>;expires=100")
				p := w.phone("alice", "192.0.2.1:5062")
				if tt.change != nil {
					tt.change(p)
				}
				res := p.register(tt.lines...)
				got := fmt.Sprint(res.StatusCode)
				for _, name := range []string{"Unsupported", "Min-Expires"} {
					if value := wire.Get(res, name); value != "" {
						got += " " + name + ": " + value
					}
				}
				if got != tt.want || len(contacts(res)) > 0 {
					t.Errorf("want %s, got\n%s", tt.want, res)
				}
				if diff := cmp.Diff([]string{"sip:alice@192.0.2.99:5099 1000 100"}, w.bindings()); diff != "" {
					t.Errorf("bindings (-want +got)\n%s", diff)
				}
			})
		})
	}
}

// RFC 3261, 10.3 step 7: which interval is granted. hardening 47: what is no number is an hour (RFC 3261, 10.2).
// RFC 3261, 20.19: Expires is a number of seconds below 2**32.
func TestIntervals(t *testing.T) {
	for _, tt := range []struct{ contact, expires, want string }{
		{"", "", "3600"},
		{"", "600", "600"},
		{";expires=300", "600", "300"},
		{`;expires="300"`, "", "300"},
		{";EXPIRES = 300", "600", "300"},
		{"", "60", "60"},
		{"", "7200", "7200"},
		{"", "7201", "7200"},
		{"", "2147483648", "7200"},
		{"", "4294967295", "7200"},
		{"", "4294967296", "3600"},
		{"", "-1", "3600"},
		{"", "abc", "3600"},
		{"", "1e3", "3600"},
		{";expires=-1", "600", "3600"},
		{";expires=", "600", "3600"},
		{";expires", "600", "3600"},
		{"", "0", ""},
		{";expires=0", "600", ""},
		{";expires=600", "0", "600"},
		{";expires=000", "600", ""},
	} {
		play(t, func(w *world) {
			lines := []string{"Contact: <sip:alice@192.0.2.1:5062>" + tt.contact}
			if tt.expires != "" {
				lines = append(lines, "Expires: "+tt.expires)
			}
			res := w.phone("alice", "192.0.2.1:5062").register(lines...)
			_, got, _ := strings.Cut(strings.Join(contacts(res), ","), ";expires=")
			if res.StatusCode != 200 || got != tt.want {
				t.Errorf("%q with %q: want %q, got\n%s", tt.contact, tt.expires, tt.want, res)
			}
		})
	}
}

func TestQ(t *testing.T) {
	for in, want := range map[string]int{
		"0": 0, "0.": 0, "0.0": 0, "0.5": 500, "0.05": 50, "0.005": 5, "0.999": 999, "1": 1000, "1.": 1000, "1.000": 1000,
		"": -1, "1.001": -1, "0.0000": -1, "2": -1, ".5": -1, "0.5x": -1, "00": -1, "-0": -1, "+1": -1, "0x1": -1, "1e9": -1, "NaN": -1, "0.-1": -1, "0..": -1,
	} {
		got, ok := qvalue(in)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

// RFC 3261, 10.3 step 8: the bindings come back with the q and the parameters they were given, the best first.
func TestAnswer(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		res := p.register("Contact: <sip:alice@192.0.2.1:6001>;q=0.05, sip:alice@192.0.2.1:6002;q=1.0", `m: "A, B" <sip:alice@192.0.2.1:6003;x=",">`,
			"Contact: <sip:alice@192.0.2.1:6003>;q=0;x=\"a;q=1,\\\";expires=5\"", "Contact: <sip:alice@192.0.2.1:6004>;q=0.7;expires=100")
		if res.StatusCode != 400 {
			t.Fatalf("a URI with a quote:\n%s", res)
		}
		res = p.register("Contact: <sip:alice@192.0.2.1:6001>;q=0.05, sip:alice@192.0.2.1:6002;q=1.0",
			"m: <sip:alice@192.0.2.1:6003>;q=0;x=\"a;q=1,\\\";expires=5\"", "Contact: <sip:alice@192.0.2.1:6004>;q=0.7;expires=100")
		want := []string{
			"<sip:alice@192.0.2.1:6002>;expires=3600",
			"<sip:alice@192.0.2.1:6004>;q=0.7;expires=100",
			"<sip:alice@192.0.2.1:6001>;q=0.05;expires=3600",
			`<sip:alice@192.0.2.1:6003>;x="a;q=1,\";expires=5";q=0;expires=3600`,
		}
		if diff := cmp.Diff(want, contacts(res)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		// RFC 3261, 10.2.3: a REGISTER without Contact asks, and changes nothing; the intervals have gone on.
		time.Sleep(40*time.Second + 100*time.Millisecond)
		synctest.Wait()
		for i, s := range want {
			want[i] = strings.NewReplacer("=3600", "=3560", "=100", "=60").Replace(s)
		}
		if diff := cmp.Diff(want, contacts(p.register())); diff != "" {
			t.Errorf("query (-want +got)\n%s", diff)
		}
		time.Sleep(59*time.Second + 600*time.Millisecond)
		synctest.Wait()
		if list := contacts(p.register("Expires: 0")); len(list) != 4 || !strings.HasSuffix(list[1], ";expires=1") {
			t.Errorf("at the end of a binding: %q", list)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if list := contacts(p.register()); len(list) != 3 {
			t.Errorf("after the end of a binding: %q", list)
		}
	})
}

// RFC 4475, 3.3.12 and 3.3.13: a parameter of the contact is not one of the URI, and the other way round. RFC 4475, 3.3.14: headers of the
// URI are kept. RFC 4475, 3.3.7: an unknown scheme of credentials is challenged.
func TestTorture(t *testing.T) {
	for in, want := range map[string]string{
		"Contact: sip:+19725552222@gw1.example.net;unknownparam":                                                     "<sip:+19725552222@gw1.example.net>;unknownparam;expires=3600",
		"Contact: <sip:+19725552222@gw1.example.net;unknownparam>":                                                   "<sip:+19725552222@gw1.example.net;unknownparam>;expires=3600",
		"M: <sip:user@example.org?Route=%3Csip:sip.example.com%3E>":                                                  "<sip:user@example.org?Route=%3Csip:sip.example.com%3E>;expires=3600",
		"Contact: <sip:%00@host5.example.com>":                                                                       "<sip:%00@host5.example.com>;expires=3600",
		"Contact: \"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =newvalue ;secondparam ; q = 0.33": "<sip:jdrosen@example.com>; newparam =newvalue ;secondparam ;q=0.33;expires=3600",
	} {
		play(t, func(w *world) {
			p := w.phone("alice", "192.0.2.1:5062")
			for _, res := range []*wire.Response{p.register(in), p.register()} {
				if diff := cmp.Diff([]string{want}, contacts(res)); diff != "" {
					t.Errorf("%s (-want +got)\n%s\n%s", in, diff, res)
				}
			}
			p.cseq++
			if res := p.send(p.request("Authorization: NoOneKnowsThisScheme opaque-data=here")); res.StatusCode != 401 {
				t.Errorf("\n%s", res)
			}
		})
	}
}

// hardening 19: an escaped name is the same account. The numeric name of the server counts as its domain.
func TestCanonical(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		p.uri, p.to, p.from = "sip:192.0.2.7:5060", "sips:%61lice@EXAMPLE.org:5070;user=phone", "sip:alice@192.0.2.7"
		if res := p.register("Contact: <sip:alice@192.0.2.1:5062>"); res.StatusCode != 200 || len(w.bindings()) != 1 {
			t.Errorf("\n%s", res)
		}
		c := w.phone("carol", "192.0.2.3:5062")
		c.uri, c.realm, c.to, c.from = "sip:example.net", "example.net", "sip:carol@example.net", "sip:carol@example.net"
		if res := c.register("Contact: <sip:carol@192.0.2.3:5062>"); res.StatusCode != 200 {
			t.Errorf("the other domain:\n%s", res)
		}
	})
}

// RFC 3261, 8.2.1: only REGISTER. RFC 3261, 8.2.2.2: a request that came by two ways is answered once.
func TestInspect(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		options := parse(t, strings.ReplaceAll(p.request("Contact: <sip:alice@192.0.2.1:5062>").String(), "REGISTER", "OPTIONS")).(*wire.Request)
		if res := p.send(options); res.StatusCode != 405 || wire.Get(res, "Allow") != "REGISTER" {
			t.Errorf("OPTIONS:\n%s", res)
		}
		// A client that keeps its CSeq when it answers the challenge.
		res := p.send(p.request("Contact: <sip:alice@192.0.2.1:5062>"))
		credentials := p.authorization(wire.Get(res, "WWW-Authenticate"), 1)
		first := p.request("Contact: <sip:alice@192.0.2.1:5062>", credentials)
		if res = p.send(first); res.StatusCode != 200 {
			t.Errorf("first:\n%s", res)
		}
		if res = p.send(p.request("Contact: <sip:alice@192.0.2.1:5062>", credentials)); res.StatusCode != 482 {
			t.Errorf("merged:\n%s", res)
		}
		if res = p.send(first); res.StatusCode != 200 {
			t.Errorf("retransmission:\n%s", res)
		}
	})
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	for name, change := range map[string]func(c *Config){
		"no domains":            func(c *Config) { c.Domains = nil },
		"no authentication":     func(c *Config) { c.Auth = nil },
		"no location":           func(c *Config) { c.Location = nil },
		"no listeners":          func(c *Config) { c.Local = nil },
		"least above an hour":   func(c *Config) { c.MinExpires, c.DefaultExpires, c.MaxExpires = 2*time.Hour, 2*time.Hour, 2*time.Hour }, // RFC 3261, 10.3 step 7
		"least below 1 s":       func(c *Config) { c.MinExpires = time.Millisecond },
		"default below least":   func(c *Config) { c.DefaultExpires = time.Second },
		"most below default":    func(c *Config) { c.MaxExpires = time.Minute },
		"negative contacts":     func(c *Config) { c.MaxContacts = -1 },
		"more than can be kept": func(c *Config) { c.MaxContacts = 1000 },
	} {
		c := w.reg.Config
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
