package proxy

import (
	"testing"

	"signalbox/internal/wire"
)

// RFC 3261, 12.1 and 12.2.1.2: the dialog of a bridged call stands from its 2xx on; a re-INVITE moves the target of who sends it (RFC 3261, 12.2.2), its 2xx that of who answers, and
// what we send when media are lost goes to these. Requests that refresh no target, and refusals, move none.
func TestTargetRefresh(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:4000", wire.WSS), w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, _ := establish(alice, "sip:bob@example.org", bob, sdpType, ":"+webOffer)

		caller.sends("INVITE", sdpType, ":"+webOffer, "Contact: <sip:alice@desk.invalid;transport=ws>")
		alice.hears("100")
		again := bob.hearsRequest("INVITE")
		res := wire.NewResponse(again, 200, "", "bob")
		wire.Add(res, "Contact", "<sip:bob@192.0.2.2:5070>")
		bob.responds(res)
		alice.hears("200")
		caller.sends("ACK")
		bob.hears("ACK")

		caller.sends("INFO", "Contact: <sip:alice@elsewhere.invalid;transport=ws>")
		bob.answers(bob.hearsRequest("INFO"), 200, "Contact: <sip:bob@192.0.2.99>")
		alice.hears("200")

		r.ended("one side has fallen silent")
		toAlice, toBob := alice.hearsRequest("BYE"), bob.hearsRequest("BYE")
		if toAlice.URI.Raw != "sip:alice@desk.invalid;transport=ws" || toBob.URI.Raw != "sip:bob@192.0.2.2:5070" {
			t.Errorf("BYE to %s and to %s", toAlice.URI.Raw, toBob.URI.Raw)
		}
		alice.answers(toAlice, 200)
		bob.answers(toBob, 200)
	})
}
