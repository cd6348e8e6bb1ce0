package registrar

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/auth"
	"signalbox/internal/wire"
	"signalbox/location"
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
		expect := func(what string, s auth.Session, want bool) {
			t.Helper()
			if Accepts(w.location, s, func() { t.Errorf("%s: revoked", what) }) != want {
				t.Errorf("%s: not %v", what, want)
			}
		}
		given := func() auth.Session {
			instance := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})[0].InstanceID
			return auth.Session{User: "alice", Realm: "example.org", Phone: phoneOf(instance, ""), Serial: 1, Since: time.Now()}
		}
		p.register(flow("sip:alice@192.0.2.1", urn1, 1), outboundPhone)
		first := given()
		expect("a login", first, true)
		time.Sleep(time.Minute)
		p.register(flow("sip:alice@192.0.2.99", urn1, 1), outboundPhone)
		expect("the same phone at another address", first, true)
		other := first
		other.User = "bob"
		expect("another user", other, false)
		other = first
		other.Phone = phoneOf("urn:uuid:other", "")
		expect("another phone", other, false)
		p.register(flow("sip:alice@192.0.2.99", urn1, 1)+";expires=0", outboundPhone)
		expect("after the logout", first, false)
		time.Sleep(time.Millisecond)
		p.register(flow("sip:alice@192.0.2.1", urn1, 1), outboundPhone)
		expect("after a new login", first, false)
		expect("the new login", given(), true)
		time.Sleep(3 * time.Hour)
		expect("after its time", first, false)
	})
}

// RFC 6749, 10.4: a token that was shown takes the place of those before it. Who comes with one of them has a copy, or the other has: the session is over for both, and only the password begins
// another. An answer that was lost costs nobody the session.
func TestSessionRotates(t *testing.T) {
	play(t, func(w *world) {
		const wants = outboundPhone + ", session-token"
		var told []location.Reason
		w.changed = func(_ wire.AOR, _, _ []location.Binding, why location.Reason) { told = append(told, why) }
		desk := w.phone("alice", "192.0.2.1:5061")
		desk.connect(1, wire.TLS)
		resume := func(token, instance string) *wire.Response { // over a connection of its own
			time.Sleep(time.Minute)
			desk.connect(desk.line.id.Serial+1, wire.TLS)
			desk.cseq++
			return desk.send(desk.request(flow("sip:alice@192.0.2.1", instance, 1), wants, "Authorization: Bearer "+token))
		}
		expect := func(what string, res *wire.Response, code, bindings, revoked int) (token string) {
			t.Helper()
			token = wire.Get(res, "Session-Token")
			if n := len(w.bindings()); res.StatusCode != code || (token != "") != (code == 200) || n != bindings || w.revoked != revoked {
				t.Fatalf("%s: %d, %d bindings, %d sessions revoked, want %d, %d, %d\n%s", what, res.StatusCode, n, w.revoked, code, bindings, revoked, res)
			}
			return token
		}
		first := expect("the password", desk.register(flow("sip:alice@192.0.2.1", urn1, 1), wants), 200, 1, 0)
		expect("another phone with it", resume(first, urn2), 401, 1, 0)
		expect("an answer that is lost", resume(first, urn1), 200, 1, 0)
		second := expect("once more", resume(first, urn1), 200, 1, 0)
		third := expect("a later one", resume(second, urn1), 200, 1, 0)
		told = nil
		expect("the first one", resume(first, urn1), 401, 0, 1)
		if !slices.Equal(told, []location.Reason{location.Deactivated}) {
			t.Errorf("told %v", told)
		}
		expect("the one that was good", resume(third, urn1), 401, 0, 1)
		fresh := expect("the password", desk.register(flow("sip:alice@192.0.2.1", urn1, 1), wants), 200, 1, 1)
		expect("of the session before", resume(third, urn1), 401, 1, 1)
		expect("the new one", resume(fresh, urn1), 200, 1, 1)

		other := w.phone("alice", "192.0.2.2:5061") // of the same phone, over another access network
		other.connect(99, wire.TLS)
		expect("another flow", other.register(flow("sip:alice@192.0.2.2", urn1, 2), wants), 200, 2, 1)
		desk.register(flow("sip:alice@192.0.2.1", urn1, 1)+";expires=0", wants)
		if b := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"}); len(b) != 1 || b[0].Session != 1 {
			t.Errorf("the flow that is left knows no token: %+v", b)
		}
	})
}

// A token that was given for a token is as old as the password before them, when a policy asks.
func TestSessionAges(t *testing.T) {
	playHouse(t, "[[rule]]\nreauthenticate = \"10m\"", func(h *house) {
		p := h.phone("alice", "192.0.2.1:5061")
		p.connect(1, wire.TLS)
		lines := []string{"Contact: <sip:alice@192.0.2.1>", "Supported: session-token"}
		token := wire.Get(p.register(lines...), "Session-Token")
		for i, want := range []int{200, 200, 401} {
			time.Sleep(4 * time.Minute)
			p.cseq++
			res := p.send(p.request(append(lines, "Authorization: Bearer "+token)...))
			if res.StatusCode != want {
				t.Errorf("%d: %d, want %d", i, res.StatusCode, want)
			}
			token = wire.Get(res, "Session-Token")
		}
	})
}
