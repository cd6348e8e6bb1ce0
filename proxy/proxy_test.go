package proxy

import (
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// RFC 3261, 16; RFC 3261, 16.2: a call through the proxy, from INVITE to BYE, in both directions: the request is validated (RFC 3261, 16.2 step 1), its routes
// are processed (RFC 3261, 16.2 step 2), its target found (RFC 3261, 16.2 step 3) and asked (RFC 3261, 16.2 step 4).
func TestCall(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)

		invite := alice.invites("sip:bob@example.org", ":v=0\r\n")
		got := bob.hearsRequest("INVITE sip:bob@192.0.2.2:5060")
		if string(got.Body()) != "v=0\r\n" {
			t.Errorf("body %q", got.Body())
		}
		bob.answers(got, 180)
		alice.hears("180")
		res := bob.answers(got, 200)
		ok := alice.hearsResponse("200")
		if n := len(headers(ok, "Via")); n != 1 || ok.Via.Branch != invite.Via.Branch {
			t.Errorf("the caller gets Via %q", headers(ok, "Via"))
		}

		caller, called := alice.dialogOf(invite, ok), bob.dialogAsked(got, res)
		caller.sends("ACK")
		ack := bob.hearsRequest("ACK sip:bob@192.0.2.2:5060")
		if wire.Has(ack, "Route") || len(headers(ack, "Via")) != 2 {
			t.Errorf("ACK arrives as\n%s", ack)
		}
		caller.sends("INFO")
		bob.answers(bob.hearsRequest("INFO"), 200)
		alice.hears("200")
		called.sends("BYE")
		alice.answers(alice.hearsRequest("BYE sip:alice@192.0.2.1:5060"), 200)
		bob.hears("200")
		w.idle()
	})
}

// RFC 3261, 16.2: any method passes, known or not.
func TestMethods(t *testing.T) {
	for _, method := range strings.Fields("MESSAGE OPTIONS SUBSCRIBE NOTIFY REFER INFO UPDATE PRACK PUBLISH FOO") {
		t.Run(method, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
				alice.sends(method, "sip:bob@example.org")
				bob.answers(bob.hearsRequest(method), 200)
				alice.hears("200")
				w.idle()
			})
		})
	}
}

func TestConfigValidate(t *testing.T) {
	w := &world{t: t}
	good := Config{Domains: wire.NewDomains([]string{"example.org"}, nil), Users: w, Auth: w, Location: w, Resolver: w, Network: w, Layer: nil, Key: make([]byte, 32)}
	if good.Validate() == nil {
		t.Error("valid without a Layer")
	}
	c := newWorld(t)
	defer c.layer.Close()
	for name, change := range map[string]func(*Config){
		"key":     func(c *Config) { c.Key = c.Key[:31] },
		"inbound": func(c *Config) { c.Inbound = "some" },
		"domains": func(c *Config) { c.Domains = nil },
	} {
		bad := c.proxy.Config
		change(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
