package registrar

import (
	"testing"

	"signalbox/internal/wire"
)

// hardening 41: a phone is called directly at the very address that it registers from, and nowhere else: everything else is reached over
// the flow of its REGISTER, so that no contact makes the server send to somebody who did not ask.
func TestBehind(t *testing.T) {
	for _, tt := range []struct {
		contact, source string
		behind          bool
	}{
		{"sip:alice@192.0.2.1:5062", "192.0.2.1:5062", false},
		{"sip:alice@192.0.2.1:5070", "192.0.2.1:5062", false},
		{"sip:alice@192.0.2.1", "192.0.2.1:5062", false},
		{"sip:alice@192.0.2.1:1024;transport=tcp", "192.0.2.1:5062", false},
		{"sip:alice@[2001:db8::1]:5062", "[2001:db8::1]:5062", false},
		{"sip:alice@[2001:DB8:0::1]", "[2001:db8::1]:5062", false},
		{"sip:alice@[::ffff:192.0.2.1]", "192.0.2.1:5062", false},
		{"sip:alice@192.0.2.1", "[::ffff:192.0.2.1]:5062", false},
		{"sip:alice@127.0.0.1:5062", "127.0.0.1:5062", false}, // a phone on this machine

		{"sip:alice@192.0.2.1:22", "192.0.2.1:5062", true},
		{"sip:alice@192.0.2.1:1023", "192.0.2.1:5062", true},
		{"sip:alice@192.0.2.1;maddr=10.0.0.1", "192.0.2.1:5062", true},
		{"sip:alice@192.0.2.2:5062", "192.0.2.1:5062", true},
		{"sip:alice@127.0.0.1:22", "192.0.2.1:5062", true},
		{"sip:alice@127.0.0.1:6379;transport=tcp", "192.0.2.1:5062", true},
		{"sip:alice@0.0.0.0:6379", "192.0.2.1:5062", true},
		{"sip:alice@169.254.169.254:8080", "192.0.2.1:5062", true},
		{"sip:alice@[::1]:6379", "192.0.2.1:5062", true},
		{"sip:alice@[::ffff:127.0.0.1]:6379", "192.0.2.1:5062", true},
		{"sip:alice@10.0.0.1:5060", "192.0.2.1:5062", true},
		{"sip:alice@localhost:6379", "127.0.0.1:5062", true},
		{"sip:alice@phone.example.com", "192.0.2.1:5062", true}, // may answer otherwise the next time
		{"sip:x@df7jal23ls0d.invalid;transport=ws", "192.0.2.1:5062", true},
	} {
		play(t, func(w *world) {
			p := w.phone("alice", tt.source)
			if res := p.register("Contact: <" + tt.contact + ">"); res.StatusCode != 200 {
				t.Fatalf("%s from %s:\n%s", tt.contact, tt.source, res)
			}
			b := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})[0]
			if b.Behind != tt.behind || b.Flow != p.line.id {
				t.Errorf("%s from %s: behind %v", tt.contact, tt.source, b.Behind)
			}
		})
	}
}

// RFC 7118, 5: a WebSocket client cannot be connected to, so its Contact leads over its connection, even if it shows the address it comes from.
func TestBehindWebSocket(t *testing.T) {
	for _, proto := range []wire.Proto{wire.WS, wire.WSS} {
		play(t, func(w *world) {
			p := w.phone("alice", "192.0.2.1:5062")
			p.connect(1, proto)
			if res := p.register("Contact: <sip:alice@192.0.2.1:5062;transport=ws>"); res.StatusCode != 200 {
				t.Fatalf("%s", res)
			}
			if b := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})[0]; !b.Behind {
				t.Errorf("%v: not behind", proto)
			}
		})
	}
}
