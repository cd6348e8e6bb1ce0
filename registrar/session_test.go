package registrar

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/auth"
	"signalbox/internal/wire"
)

// tokens shows what a token would be made of.
type tokens struct{}

func (tokens) SessionToken(s auth.Session, end time.Time) string {
	return fmt.Sprint(s.User, "@", s.Realm, " ", s.Phone != "", " ", end.Sub(s.Since).Round(time.Second))
}

// A session token is for the phone that asks for one with its own login, where nobody reads along; and for as long as the binding.
func TestSessionToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Tokens = tokens{} })
		defer w.close()
		const wants, contact = "Supported: path, session-token", "Contact: <sip:alice@192.0.2.1>;expires=600"
		for i, tt := range []struct {
			name  string
			proto wire.Proto
			lines []string
			want  string
		}{
			{"TLS", wire.TLS, []string{wants, contact}, "alice@example.org true 10m0s"},
			{"WSS", wire.WSS, []string{wants, contact}, "alice@example.org true 10m0s"},
			{"not asked for", wire.TLS, []string{"Supported: path", contact}, ""},
			{"UDP", wire.UDP, []string{wants, contact}, ""},
			{"TCP", wire.TCP, []string{wants, contact}, ""},
			{"WS", wire.WS, []string{wants, contact}, ""},
			{"by a proxy", wire.TLS, []string{wants, contact, "Path: <sip:edge.example.net;lr>"}, ""},
			{"a question", wire.TLS, []string{wants}, ""},
			{"a logout", wire.TLS, []string{wants, "Contact: <sip:alice@192.0.2.1>;expires=0"}, ""},
		} {
			p := w.phone("alice", "192.0.2.1:5061")
			p.callID = fmt.Sprint("call-", i)
			p.connect(1, tt.proto)
			res := p.register(tt.lines...)
			if got := wire.Get(res, "Session-Token"); res.StatusCode != 200 || got != tt.want {
				t.Errorf("%s: %q, want %q\n%s", tt.name, got, tt.want, res)
			}
		}
	})
}

// The binding is the session: what begins anew is another one.
func TestSessionLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		p := w.phone("alice", "192.0.2.1:5060")
		lasts := func() bool {
			list := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})
			return len(list) == 1 && Lasts(w.location, auth.Session{User: "alice", Realm: "example.org", Phone: phoneOf(&list[0]), Since: time.Now()})
		}
		expect := func(what string, s auth.Session, want bool) {
			t.Helper()
			if Lasts(w.location, s) != want {
				t.Errorf("%s: not %v", what, want)
			}
		}
		p.register(flow("sip:alice@192.0.2.1", urn1, 1), outboundPhone)
		if !lasts() {
			t.Fatal("it does not begin")
		}
		first := auth.Session{User: "alice", Realm: "example.org", Phone: phoneOf(&w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})[0]), Since: time.Now()}
		time.Sleep(time.Minute)
		p.register(flow("sip:alice@192.0.2.99", urn1, 1), outboundPhone)
		expect("the same phone at another address", first, true)
		other := first
		other.User = "bob"
		expect("another user", other, false)
		other = first
		other.Phone = "other"
		expect("another phone", other, false)
		p.register(flow("sip:alice@192.0.2.99", urn1, 1)+";expires=0", outboundPhone)
		expect("after the logout", first, false)
		time.Sleep(time.Minute)
		p.register(flow("sip:alice@192.0.2.1", urn1, 1), outboundPhone)
		expect("after a new login", first, false)
		if !lasts() {
			t.Error("the new login is no session")
		}
		time.Sleep(3 * time.Hour)
		expect("after its time", first, false)
	})
}
