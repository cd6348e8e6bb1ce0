package proxy

import (
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// RFC 3261, 16.3: what fails a check is answered, and goes nowhere.
func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name, uri, want string
		lines           []string
		header          string // the answer has it
	}{
		{"RFC 3261, 16.3 step 2: scheme", "tel:+15550100", "416", nil, ""},
		{"RFC 3261, 16.3 step 2: unknown scheme", "nobodyknows:this", "416", nil, ""},
		{"RFC 3261, 16.3 step 3: no hop left", "sip:bob@example.org", "483", []string{"Max-Forwards: 0"}, ""},
		{"RFC 3261, 16.3 step 5: Proxy-Require", "sip:bob@example.org", "420", []string{"Proxy-Require: novel, sec-agree"}, "Unsupported: novel, sec-agree"},
		{"RFC 3261, 16.3 step 6: no credentials", "sip:bob@example.org", "407", []string{"Proxy-Authorization:-"}, `Proxy-Authenticate: Digest realm="example.org", nonce="n"`},
		{"RFC 5393, 5.3.3: no breadth", "sip:bob@example.org", "440", []string{"Max-Breadth: 0"}, ""},
		{"RFC 5393, 5.8: not a number", "sip:bob@example.org", "400", []string{"Max-Breadth: -1"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				w.user("bob", "192.0.2.2:5060", wire.UDP)
				alice.sends("MESSAGE", test.uri, test.lines...)
				res := alice.hearsResponse(test.want)
				if name, value, ok := strings.Cut(test.header, ": "); ok && wire.Get(res, name) != value {
					t.Errorf("%s: %q, want %q", name, wire.Get(res, name), value)
				}
				w.idle()
			})
		})
	}
}

// RFC 3261, 16.3 step 1: what the proxy does not need may be malformed and passes as it is; unknown header fields too.
func TestIgnoresWhatItDoesNotNeed(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.sends("MESSAGE", "sip:bob@example.org", "Date: yesterday", "Novel: x;;;=\"")
		got := bob.hearsRequest("MESSAGE")
		if wire.Get(got, "Date") != "yesterday" || wire.Get(got, "Novel") != `x;;;="` {
			t.Errorf("arrives as\n%s", got)
		}
	})
}

// RFC 3261, 16.3: a proxy MUST NOT treat merged requests as an error.
func TestMergedRequestsPass(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		text := alice.request("MESSAGE", "sip:bob@example.org")
		alice.send(text)
		alice.send(strings.Replace(text, "branch=z9hG4bKalice1", "branch=z9hG4bKother", 1))
		bob.hears("MESSAGE")
		bob.hears("MESSAGE")
	})
}

// RFC 3261, 11: an OPTIONS about the server itself is answered, whoever asks, and however few hops are left.
func TestOptions(t *testing.T) {
	for _, uri := range []string{"sip:example.org", "sip:192.0.2.100", "sip:192.0.2.100:5061;transport=tls", "sips:example.org"} {
		play(t, func(w *world) {
			stranger := w.phone("mallory", "192.0.2.66:5060", wire.UDP)
			stranger.sends("OPTIONS", uri, "Max-Forwards: 0")
			res := stranger.hearsResponse("200")
			for _, name := range []string{"Allow", "Accept", "Supported"} {
				if !wire.Has(res, name) {
					t.Errorf("%s: no %s (RFC 3261, 11.2)", uri, name)
				}
			}
			if res.To.Tag == "" {
				t.Error("no To tag")
			}
			stranger.sends("OPTIONS", uri, "Require: novel") // RFC 3261, 8.2.2.3
			if got := wire.Get(stranger.hearsResponse("420"), "Unsupported"); got != "novel" {
				t.Errorf("Unsupported: %q", got)
			}
			w.idle()
		})
	}
}
