package registrar

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pelletier/go-toml/v2"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
	"signalbox/registrar/login"
)

var (
	aliceAOR = wire.AOR{User: "alice", Host: "example.org"}
	bobAOR   = wire.AOR{User: "bob", Host: "example.org"}
)

const (
	tvInstance    = `+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"`
	otherInstance = `+sip.instance="<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>"`
)

// house is a world in which bob is a television, and a policy counts.
type house struct {
	*world
	devices *database.Devices
	logins  *login.Service
	policy  atomic.Pointer[policy.Policy]
	named   map[transport.Flow]wire.AOR // devices that certificates name
}

// Named stands for the TLS handshake, which the tests of cmd do for real.
func (h *house) Named(flow transport.Flow) (database.Device, bool) {
	aor, ok := h.named[flow]
	if !ok {
		return database.Device{}, false
	}
	return h.devices.Device(aor)
}

// logins with the certificates of the test.
type certified struct {
	*login.Service
	house *house
}

func (c certified) Named(flow transport.Flow) (database.Device, bool) { return c.house.Named(flow) }

func playHouse(t *testing.T, rules string, story func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, rules)
		defer func() {
			h.close()
			if err := h.logins.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		story(h)
	})
}

func newHouse(t testing.TB, rules string) *house {
	t.Helper()
	h := &house{devices: database.NewDevices(), named: make(map[transport.Flow]wire.AOR)}
	if err := h.devices.Add(t.Context(), database.Device{AOR: bobAOR, Kind: "tv"}); err != nil {
		t.Fatal(err)
	}
	h.setPolicy(t, rules)
	h.world = newWorld(t, func(c *Config) {
		var err error
		h.logins, err = login.Open(login.Config{Store: h.devices, Bindings: c.Location.(*location.Service), Policy: h.policy.Load})
		if err != nil {
			t.Fatal(err)
		}
		c.Logins = certified{h.logins, h}
		c.Policy = h.policy.Load
	})
	h.changed = h.logins.Bound
	return h
}

func (h *house) setPolicy(t testing.TB, rules string) {
	t.Helper()
	h.policy.Store(readPolicy(t, rules))
}

func readPolicy(t testing.TB, rules string) *policy.Policy {
	t.Helper()
	if rules == "" {
		return nil
	}
	var f policy.File
	if err := toml.Unmarshal([]byte(rules), &f); err != nil {
		t.Fatal(err)
	}
	p, found := policy.New(&f, wire.NewDomains([]string{"example.org"}, nil))
	if found != nil {
		t.Fatal(found)
	}
	return p
}

// tv is the television's line.
func (h *house) tv() *phone {
	p := h.phone("bob", "192.0.2.10:5060")
	p.expect(200, `Contact: <sip:bob@192.0.2.10>;`+tvInstance)
	return p
}

// at is another user's phone on the same line.
func (p *phone) at(user string) *phone {
	q := p.w.phone(user, p.line.id.Remote.String())
	q.line = p.line
	return q
}

// expect registers and wants that answer, which may take a commit.
func (p *phone) expect(code int, lines ...string) *wire.Response {
	p.w.t.Helper()
	var res *wire.Response
	authorized := lines
	for range 4 {
		p.cseq++
		n := len(p.line.all())
		p.w.layer.ReceiveRequest(p.line, p.request(authorized...))
		synctest.Wait()
		if len(p.line.all()) != n+1 {
			p.w.t.Fatalf("%d answers", len(p.line.all())-n)
		}
		res = parse(p.w.t, string(p.line.all()[n])).(*wire.Response)
		if res.StatusCode != 401 || code == 401 {
			break
		}
		authorized = append(slices.Clone(lines), p.authorization(wire.Get(res, "WWW-Authenticate"), 1))
	}
	if res.StatusCode != code {
		p.w.t.Errorf("%s %q: %d %s, want %d", p.user, lines, res.StatusCode, res.Reason, code)
	}
	return res
}

// A user logs in on a device himself, by his REGISTER over the device's line with the device's instance; from anywhere else that is refused, in either case of
// the instance. hardening 20
func TestOwnLogin(t *testing.T) {
	playHouse(t, "", func(h *house) {
		tv := h.tv()
		onTV := `Contact: <sip:alice@192.0.2.10>;` + tvInstance
		home := h.phone("alice", "192.0.2.1:5060")
		home.expect(403, `Contact: <sip:alice@192.0.2.1>;`+tvInstance)
		home.expect(403, `Contact: <sip:alice@192.0.2.1>;`+strings.ToUpper(tvInstance[:40])+tvInstance[40:])
		h.phone("alice", "192.0.2.10:5062").expect(403, onTV) // the same host is not the same line
		res := tv.at("alice").expect(200, onTV)
		if got := wire.Get(res, "P-Associated-URI"); got != "<sip:alice@example.org>" {
			t.Errorf("P-Associated-URI: %s", got)
		}
		l, ok := h.devices.Login(aliceAOR, bobAOR)
		if !ok || l.Method != "own" || l.Start.IsZero() {
			t.Errorf("login %+v %v", l, ok)
		}
		if !h.logins.LoggedIn(aliceAOR, bobAOR, tv.line.id) || h.logins.LoggedIn(aliceAOR, bobAOR, home.line.id) {
			t.Error("logged in on another flow than the television's")
		}

		// The start is the server's and survives refreshes.
		time.Sleep(time.Minute)
		alice := tv.at("alice")
		alice.cseq = 10
		alice.expect(200, onTV)
		if again, _ := h.devices.Login(aliceAOR, bobAOR); !again.Start.Equal(l.Start) {
			t.Errorf("start moved from %v to %v", l.Start, again.Start)
		}

		// From her own phone she logs out everywhere.
		home.expect(200, "Contact: *", "Expires: 0")
		synctest.Wait()
		if _, still := h.devices.Login(aliceAOR, bobAOR); still {
			t.Error("still logged in")
		}
		if len(h.location.Lookup(bobAOR)) != 1 {
			t.Error("the television is not registered any more")
		}
	})
}

// The first instance that a device registers with is its own from then on; others are applications on it, and nobody else has them by naming them.
func TestInstanceIsPinned(t *testing.T) {
	playHouse(t, "", func(h *house) {
		tv := h.tv()
		if d, _ := h.devices.Device(bobAOR); d.Instance != "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>" {
			t.Errorf("instance %q", d.Instance)
		}
		tv.expect(200, `Contact: <sip:game@192.0.2.10:5070>;`+otherInstance)
		if d, _ := h.devices.Device(bobAOR); d.Instance != "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>" {
			t.Errorf("then %q", d.Instance)
		}
		if len(h.location.Lookup(bobAOR)) != 2 {
			t.Error("the application is not registered")
		}
	})
}

// A device with a client certificate is believed by the certificate, needs no password then, and is not believed by a password.
func TestDeviceCertificate(t *testing.T) {
	playHouse(t, `
[[rule]]
when = { kind = ["camera"] }
require_trust = "certificate"
[[rule]]
require_trust = "password"
`, func(h *house) {
		carol := wire.AOR{User: "carol", Host: "example.org"}
		if err := h.devices.Add(h.t.Context(), database.Device{AOR: carol, Kind: "camera", Certificate: database.ByCA}); err != nil {
			t.Fatal(err)
		}
		contact := "Contact: <sip:carol@192.0.2.3>"
		h.phone("carol", "192.0.2.3:5061").expect(403, contact)
		p := h.phone("carol", "192.0.2.3:5061")
		p.line.id.Proto, p.line.id.Serial = wire.TLS, 1
		h.named[p.line] = carol
		p.cseq++
		if res := p.send(p.request(contact)); res.StatusCode != 200 || wire.Has(res, "Authentication-Info") {
			t.Errorf("with its certificate: %d", res.StatusCode)
		}
		if b := h.location.Lookup(carol); len(b) != 1 || !b[0].Certified {
			t.Errorf("bindings %+v", b)
		}
		// The certificate of one is not that of another.
		alice := p.at("alice")
		alice.expect(401, "Contact: <sip:alice@192.0.2.3>")
	})
}

// The login of a user is refused before it begins and after it ended, and binds no longer than it lasts.
func TestScheduledLogin(t *testing.T) {
	playHouse(t, "", func(h *house) {
		if err := h.devices.Grant(h.t.Context(), database.Grant{Device: bobAOR, User: aliceAOR}); err != nil {
			t.Fatal(err)
		}
		tv := h.tv()
		now := time.Now()
		err := h.logins.Login(h.t.Context(), database.Login{User: aliceAOR, Device: bobAOR, Start: now.Add(time.Hour), End: now.Add(2 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		tv.to = "sip:alice@example.org"
		tv.callID = "for-alice"
		onTV := "Contact: <sip:bob@192.0.2.10>;" + tvInstance
		if res := tv.expect(403, onTV); res.Reason != "Login Not Yet Started" {
			t.Error(res.Reason)
		}
		time.Sleep(90 * time.Minute)
		if res := tv.expect(200, onTV); !strings.HasSuffix(wire.Get(res, "Contact"), ";expires=1800") {
			t.Error(wire.Get(res, "Contact"))
		}
		time.Sleep(31 * time.Minute)
		if _, still := h.devices.Login(aliceAOR, bobAOR); still || len(h.location.Lookup(aliceAOR)) != 0 {
			t.Error("the login has no end")
		}
	})
}

// How old the answered challenge may be, and what a new address does.
func TestReauthenticationAndMoving(t *testing.T) {
	const contact = "Contact: <sip:alice@192.0.2.1>;" + otherInstance
	for name, test := range map[string]struct {
		rule      string
		age       time.Duration
		address   string
		codes     []int // of a REGISTER with the old challenge's answer, and then with a new one's
		challenge bool
	}{
		"young enough":   {`reauthenticate = "10m"`, 9 * time.Minute, "192.0.2.1:5060", []int{200}, false},
		"too old":        {`reauthenticate = "10m"`, 11 * time.Minute, "192.0.2.1:5060", []int{401, 200}, true},
		"moved":          {`address_change = "challenge"`, time.Minute, "198.51.100.1:5060", []int{401, 200}, true},
		"only the port":  {`address_change = "challenge"`, time.Minute, "192.0.2.1:6060", []int{200}, false},
		"must not move":  {`address_change = "deny"`, time.Minute, "198.51.100.1:5060", []int{403}, false},
		"may move":       {`address_change = "allow"`, time.Minute, "198.51.100.1:5060", []int{200}, false},
		"demands a cert": {`require_trust = "certificate"`, time.Minute, "192.0.2.1:5060", []int{403}, false},
	} {
		t.Run(name, func(t *testing.T) {
			playHouse(t, "[[rule]]\nwhen = { user = [\"alice\"] }\nallow = true", func(h *house) {
				p := h.phone("alice", "192.0.2.1:5060")
				p.cseq = 1
				challenge := wire.Get(p.send(p.request(contact)), "WWW-Authenticate")
				p.cseq++
				if res := p.send(p.request(contact, p.authorization(challenge, 1))); res.StatusCode != 200 {
					t.Fatal(res.StatusCode)
				}
				h.setPolicy(t, "[[rule]]\n"+test.rule)
				time.Sleep(test.age)
				q := h.phone("alice", test.address)
				q.callID, q.cseq = p.callID, p.cseq
				for i, want := range test.codes {
					q.cseq++
					res := q.send(q.request(contact, q.authorization(challenge, 2-i)))
					if res.StatusCode != want {
						t.Errorf("answer %d: %d %s, want %d", i, res.StatusCode, res.Reason, want)
					}
					if want == 401 {
						if challenge = wire.Get(res, "WWW-Authenticate"); !strings.Contains(challenge, "stale=true") {
							t.Errorf("a new password is asked for: %s", challenge)
						}
					}
				}
			})
		})
	}
}

// A binding ends with the longest login, however often it is refreshed.
func TestLongest(t *testing.T) {
	playHouse(t, "[[rule]]\nlongest = \"90m\"", func(h *house) {
		p := h.phone("alice", "192.0.2.1:5060")
		for _, want := range []string{"3600", "1801"} {
			if res := p.expect(200, "Contact: <sip:alice@192.0.2.1>"); !strings.HasSuffix(wire.Get(res, "Contact"), ";expires="+want) {
				t.Errorf("%s, want %s", wire.Get(res, "Contact"), want)
			}
			time.Sleep(time.Hour - time.Second)
		}
	})
}

// A policy that cannot be evaluated denies, and nobody is kept from leaving.
func TestPolicyFailsClosed(t *testing.T) {
	playHouse(t, "", func(h *house) {
		p := h.phone("alice", "192.0.2.1:5060")
		p.expect(200, "Contact: <sip:alice@192.0.2.1>")
		h.setPolicy(t, "[[rule]]\nallow = true\nwhen = { source = [\"192.0.2.0/24\"] }")
		p.expect(200, "Contact: <sip:alice@192.0.2.1>")
		p.line.id.Proto = 0 // a transport that nobody knows
		p.expect(500, "Contact: <sip:alice@192.0.2.1>")
		p.expect(200, "Contact: <sip:alice@192.0.2.1>;expires=0")
	})
}

// A login that is refused for what the user has elsewhere leaves no record of it behind, whether it is one device too many or a contact that is not the device's.
func TestRefusedLoginLeavesNothing(t *testing.T) {
	playHouse(t, "[[rule]]\nmulti_login = \"deny\"", func(h *house) {
		if err := h.devices.Grant(h.t.Context(), database.Grant{Device: bobAOR, User: aliceAOR}); err != nil {
			t.Fatal(err)
		}
		tv := h.tv()
		h.phone("alice", "192.0.2.1:5060").expect(200, "Contact: <sip:alice@192.0.2.1>")
		tv.to, tv.callID = "sip:alice@example.org", "for-alice"
		if res := tv.expect(403, "Contact: <sip:bob@192.0.2.10>;"+tvInstance); res.Reason != "Logged In On Another Device" {
			t.Error(res.Reason)
		}
		if res := tv.expect(403, "Contact: <sip:alice@192.0.2.1>"); res.Reason != "Forbidden" {
			t.Error(res.Reason)
		}
		synctest.Wait()
		if l, logged := h.devices.Login(aliceAOR, bobAOR); logged {
			t.Errorf("on record: %+v", l)
		}
		if b := h.location.Lookup(aliceAOR); len(b) != 1 || b[0].Device != (wire.AOR{}) {
			t.Errorf("bindings %+v", b)
		}
	})
}

// What a policy says of logins is not about the device itself: it stays registered, with the applications on it.
func TestDeviceIsNoLogin(t *testing.T) {
	playHouse(t, "[[rule]]\nlongest = \"90s\"\nmulti_login = \"deny\"\nmax_devices = 1", func(h *house) {
		tv := h.tv()
		for range 2 {
			time.Sleep(time.Minute)
			if res := tv.expect(200, `Contact: <sip:bob@192.0.2.10>;`+tvInstance); !strings.HasSuffix(wire.Get(res, "Contact"), ";expires=3600") {
				t.Error(wire.Get(res, "Contact"))
			}
		}
		tv.expect(200, `Contact: <sip:game@192.0.2.10:5070>;`+otherInstance)
	})
}

// The most devices of a user.
func TestMaxDevices(t *testing.T) {
	playHouse(t, "[[rule]]\nmax_devices = 2", func(h *house) {
		p := h.phone("alice", "192.0.2.1:5060")
		p.expect(200, "Contact: <sip:alice@192.0.2.1>;"+otherInstance)
		p.expect(200, "Contact: <sip:alice@192.0.2.1:5070>")
		p.expect(200, "Contact: <sip:alice@192.0.2.1:5080>;"+otherInstance) // the same device again
		if res := p.expect(403, "Contact: <sip:alice@192.0.2.1:5090>"); res.Reason != "Too Many Devices" {
			t.Error(res.Reason)
		}
		p.expect(200, "Contact: <sip:alice@192.0.2.1:5070>;expires=0")
		p.expect(200, "Contact: <sip:alice@192.0.2.1:5090>")
	})
}

// BenchmarkRegisterPolicy is BenchmarkRegister with a policy of five rules and devices.
func BenchmarkRegisterPolicy(b *testing.B) {
	h := newHouse(b, `
[groups]
staff = ["alice", "bob"]
[[rule]]
when = { group = ["staff"], transport = ["tls"] }
expires_max = "1h"
[[rule]]
when = { nat = true }
expires_max = "5m"
[[rule]]
when = { source = ["198.51.100.0/24"] }
deny = {}
[[rule]]
when = { time = "08:00-18:00", days = ["sat"] }
expires_max = "30m"
[[rule]]
expires_max = "2h"
max_devices = 5
`)
	defer func() { _ = h.logins.Close(context.Background()) }()
	defer h.close()
	benchRegister(b, h.world)
}

// RFC 7315, 4.1.2: every 200 says who the phone is, whatever it asked for and supports; a name that needs escapes has them.
func TestIdentityOfAPhone(t *testing.T) {
	playHouse(t, "", func(h *house) {
		p := h.phone("alice", "192.0.2.1:5060")
		for _, lines := range []string{
			"Contact: <sip:alice@192.0.2.1>;" + otherInstance + "\nSupported: gruu",
			"Contact: <sip:alice@192.0.2.1>;" + otherInstance,
			"Contact: <sip:alice@192.0.2.1:5070>",
			"Subject: what is there",
			"Contact: *\nExpires: 0",
		} {
			res := p.expect(200, strings.Split(lines, "\n")...)
			if got := wire.Get(res, "P-Associated-URI"); got != "<sip:alice@example.org>" {
				t.Errorf("%s: %q", lines, got)
			}
		}
	})
}
