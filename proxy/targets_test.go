package proxy

import (
	"testing"
	"time"

	"signalbox/internal/wire"
	"signalbox/location"
)

// RFC 3261, 16.5: a resource of ours that does not exist is 404, one that is not there 480.
func TestNoTarget(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		w.users["carol"] = true
		for uri, want := range map[string]string{
			"sip:nobody@example.org": "404", "sip:carol@example.org": "480", "sip:carol@example.org:5070": "480", "sip:example.org": "404",
			"sip:c%61rol@EXAMPLE.org": "480", "sip:alice%00@example.org": "404", // hardening 19: nobody's name
		} {
			alice.sends("MESSAGE", uri)
			alice.hears(want)
		}
	})
}

// RFC 3261, 16.5 and 10.3 step 5: the Request-URI is canonicalised before it is looked up.
func TestCanonicalLookup(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		for _, uri := range []string{"sip:%62ob@Example.ORG;transport=tcp;user=phone", "sip:bob@example.org:5060", "sip:bob:secret@example.org"} {
			alice.sends("MESSAGE", uri)
			bob.hears("MESSAGE sip:bob@192.0.2.2:5060 ")
		}
	})
}

// RFC 3261, 16.5: a domain that is not ours: the Request-URI is the only target, as it is.
func TestForeignTarget(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		server := w.phone("server", "192.0.2.20:5060", wire.UDP)
		w.names["example.net"] = []wire.Hop{{Proto: wire.UDP, Addr: server.addr}}
		alice.sends("MESSAGE", "sip:C%61rol@Example.NET;novel")
		server.answers(server.hearsRequest("MESSAGE sip:C%61rol@Example.NET;novel"), 200)
		alice.hears("200")
	})
}

// RFC 5627, 6.1: of the contacts of one instance only the one refreshed last is a target.
func TestNewestOfInstance(t *testing.T) {
	instance := func(id string, age time.Duration) func(*location.Binding) {
		return func(b *location.Binding) { b.InstanceID, b.Updated = id, time.Now().Add(-age) }
	}
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP, instance("urn:uuid:1", time.Minute))
		moved := w.phone("moved", "192.0.2.3:5060", wire.UDP)
		desk := w.phone("desk", "192.0.2.4:5060", wire.UDP)
		w.bind("bob", moved, instance("urn:uuid:1", time.Second), q(500))
		w.bind("bob", desk, instance("urn:uuid:2", time.Hour))
		alice.sends("MESSAGE", "sip:bob@example.org")
		desk.answers(desk.hearsRequest("MESSAGE"), 480)
		moved.answers(moved.hearsRequest("MESSAGE"), 200)
		alice.hears("200")
		bob.hearsNothing()
	})
}

// RFC 3261, 16.6 step 7; RFC 5630, 5.3: a sips URI leads over TLS to sips contacts, or nowhere.
func TestSIPS(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:40000", wire.TLS)
		udp := w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.sends("MESSAGE", "sips:bob@example.org")
		alice.hears("480")
		tls := w.phone("bobtls", "192.0.2.3:40000", wire.TLS)
		w.bind("bob", tls, contact("sips:bob@192.0.2.3:5061"))
		alice.sends("MESSAGE", "sips:bob@example.org")
		tls.answers(tls.hearsRequest("MESSAGE sips:bob@192.0.2.3:5061"), 200)
		alice.hears("200")
		udp.hearsNothing()
		server := w.phone("server", "192.0.2.20:5061", wire.TLS)
		alice.sends("MESSAGE", "sips:carol@192.0.2.20")
		server.hears("MESSAGE sips:carol@192.0.2.20")
	})
}

// A phone behind NAT is reached over the flow it registered on; one that is not, at its Contact; a connection that lives serves either.
func TestReachPhone(t *testing.T) {
	for name, test := range map[string]struct {
		proto   wire.Proto
		contact string
		behind  bool
		at      string // where the request arrives, if not at the phone
	}{
		"UDP":                       {wire.UDP, "sip:bob@192.0.2.2:5060", false, ""},
		"UDP behind NAT":            {wire.UDP, "sip:bob@10.0.0.2:5060", true, ""},
		"UDP, listens elsewhere":    {wire.UDP, "sip:bob@192.0.2.2:5080", false, "192.0.2.2:5080"},
		"UDP, listens on TCP":       {wire.UDP, "sip:bob@192.0.2.2:5080;transport=tcp", false, "192.0.2.2:5080"},
		"TCP":                       {wire.TCP, "sip:bob@192.0.2.2:5080;transport=tcp", false, ""},
		"TLS":                       {wire.TLS, "sip:bob@192.0.2.2:5061;transport=tls", true, ""},
		"name behind NAT":           {wire.TCP, "sip:bob@phone.invalid;transport=tcp", true, ""},
		"UDP, name of its own host": {wire.UDP, "sip:bob@192.0.2.2", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				bob := w.user("bob", "192.0.2.2:5060", test.proto, contact(test.contact), func(b *location.Binding) { b.Behind = test.behind })
				to := bob
				if test.at != "" {
					to = w.phone("elsewhere", test.at, wire.UDP)
				}
				alice.sends("MESSAGE", "sip:bob@example.org")
				if _, on := to.hearsOn("MESSAGE " + test.contact); test.at == "" && on != bob.flow.id {
					t.Errorf("sent over %v, want %v", on, bob.flow.id)
				}
			})
		})
	}
}

// hardening 56: a dead connection is never used: the phone is reached at its Contact if it is not behind NAT; else it is not there.
func TestHardening56DeadConnection(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:40000", wire.TCP, behindNAT)
		bob.flow.close()
		alice.sends("INVITE", "sip:bob@example.org")
		alice.hears("480")
		again := w.phone("again", "192.0.2.2:5060", wire.TCP)
		w.bind("bob", bob, contact("sip:bob@192.0.2.2:5060;transport=tcp"))
		alice.sends("MESSAGE", "sip:bob@example.org")
		m, on := again.hearsOn("MESSAGE")
		again.flow = w.conns[on.Serial]
		again.answers(m.(*wire.Request), 200)
		alice.hears("200")
	})
}
