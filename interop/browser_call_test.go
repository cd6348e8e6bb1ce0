package interop

import "testing"

// Two pages call each other; both hear the other's tone, the session description passes untouched, and the call ends on both sides.
func TestBrowserCalls(t *testing.T) {
	for _, tt := range []struct{ caller, callee, over string }{
		{jssip, jssip, "wss"}, {jssip, jssip, "ws"}, {sipjs, sipjs, "wss"}, {jssip, sipjs, "wss"}, {sipjs, jssip, "wss"},
	} {
		t.Run(tt.caller+"-"+tt.callee+"/"+tt.over, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			alice := openPage(t, s, tt.caller, "alice", tt.over, 440)
			bob := openPage(t, s, tt.callee, "bob", tt.over, 1000)
			alice.call("bob")
			var in incoming
			bob.wait("incoming", &in)
			if in.From != "sip:alice@"+domain {
				t.Errorf("the call came from %s", in.From)
			}
			bob.answer()
			alice.wait("confirmed", nil)
			bob.wait("confirmed", nil)
			for _, heard := range []sound{alice.hears(1000), bob.hears(440)} {
				if heard.Lost != 0 || heard.Received == 0 {
					t.Errorf("counted %+v", heard)
				}
			}
			if tt.caller == jssip && tt.callee == jssip {
				sameDescriptions(t, alice, bob)
			}
			bob.hangup()
			alice.wait("ended", nil)
			bob.wait("ended", nil)
			results.passed(t, tt.caller+" and "+tt.callee+" in Chromium", "RFC 7118, 8.2: two pages call each other, tones measured at both ends", "TestBrowserCalls", tt.over)
		})
	}
}

type description struct{ Originator, Type, SDP string }

// sameDescriptions: between two browsers there is nothing to convert, so the offer and the answer arrive as they were sent.
func sameDescriptions(t *testing.T, alice, bob *page) {
	t.Helper()
	var sent, came []description
	alice.eval(&sent, "phone.descriptions")
	bob.eval(&came, "phone.descriptions")
	if len(sent) != 2 || len(came) != 2 {
		t.Fatalf("%d and %d descriptions, want an offer and an answer on each side", len(sent), len(came))
	}
	for i, kind := range []string{"offer", "answer"} {
		if sent[i].Type != kind || sent[i].SDP != came[i].SDP || sent[i].Originator == came[i].Originator {
			t.Errorf("%s on one side:\n%+v\non the other:\n%+v", kind, sent[i], came[i])
		}
	}
}

// A user with two pages: both ring, the first to answer has the call, the other stops ringing; a caller who gives up stops both. RFC 3261, 16.7 step 10
func TestBrowserFork(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			alice := openPage(t, s, kind, "alice", "wss", 440)
			first, second := openPage(t, s, kind, "bob", "wss", 1000), openPage(t, s, kind, "bob", "ws", 2000)
			over := map[string]string{jssip: "failed", sipjs: "ended"}[kind] // what a stack calls a call that came and was not answered

			alice.call("bob")
			first.wait("incoming", nil)
			second.wait("incoming", nil)
			second.answer()
			alice.wait("confirmed", nil)
			first.wait(over, nil)
			alice.hears(2000)
			second.hears(440)
			alice.hangup()
			second.wait("ended", nil)
			alice.wait("ended", nil)

			alice.call("bob")
			first.wait("incoming", nil)
			second.wait("incoming", nil)
			alice.wait("progress", nil)
			alice.hangup()
			first.wait(over, nil)
			second.wait(over, nil)
			results.passed(t, kind+" in Chromium", "RFC 3261, 16.7 step 10: two pages of one user ring, one answers; the caller gives up", "TestBrowserFork", "wss")
		})
	}
}
