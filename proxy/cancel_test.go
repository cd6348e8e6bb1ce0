package proxy

import (
	"fmt"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// cancels sends the CANCEL for an INVITE. RFC 3261, 9.1
func (p *phone) cancels(invite *wire.Request, lines ...string) {
	p.w.t.Helper()
	text := p.request("CANCEL", invite.URI.Raw, append([]string{fmt.Sprintf("CSeq: %d CANCEL", invite.CSeq.Seq), "Call-ID:" + invite.CallID, "To:" + invite.To.Raw}, lines...)...)
	top := text[strings.Index(text, "Via: "):]
	top, _, _ = strings.Cut(top, "\r\n")
	p.w.layer.ReceiveRequest(p.flow, parse(p.w.t, strings.Replace(text, top, "Via: "+invite.Via.Raw, 1)).(*wire.Request))
	p.hears("200 OK")
}

// RFC 3261, 16.10: a CANCEL is answered and every pending branch cancelled, those without a provisional response when it comes (9.1); the Reason goes along
// (RFC 3326, 2).
func TestCancel(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(1000, 1000, 500)
		req := alice.invites("sip:bob@example.org")
		invites := rings(bobs[:2]...)
		bobs[0].answers(invites[0], 180)
		alice.hears("180")
		alice.cancels(req, `Reason: Q.850;cause=16`)
		if reason := wire.Get(bobs[0].gaveUp(invites[0]), "Reason"); reason != "Q.850;cause=16" {
			t.Errorf("Reason: %s", reason)
		}
		alice.hearsNothing()
		bobs[1].hearsNothing()
		bobs[1].answers(invites[1], 100)
		bobs[1].gaveUp(invites[1])
		alice.hears("487")
		bobs[2].hearsNothing() // no new branches
		w.idle()
	})
}

// RFC 3261, 9.1: the CANCEL crosses a 200: the 200 is forwarded, the caller will hang up.
func TestCancelCrosses200(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		req := alice.invites("sip:bob@example.org")
		invite := bob.hearsRequest("INVITE")
		bob.answers(invite, 180)
		alice.hears("180")
		alice.cancels(req)
		bob.answers(invite, 200)
		bob.answers(bob.hearsRequest("CANCEL"), 481)
		alice.hears("200")
		w.idle()
	})
}

// A callee that rings and then vanishes: the cancelled call ends 32 s later. RFC 3261, 9.1
func TestCancelUnanswered(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		req := alice.invites("sip:bob@example.org")
		bob.answers(bob.hearsRequest("INVITE"), 180)
		alice.hears("180")
		alice.cancels(req)
		w.at(32.2)
		alice.hears("487")
		w.idle()
		bob.inbox = nil
	})
}

// While the address of the target is still looked up, nothing was sent: 487 at once, and nothing later.
func TestCancelWhileResolving(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		w.phone("server", "192.0.2.20:5060", wire.UDP)
		w.slow = true
		req := alice.invites("sip:carol@192.0.2.20")
		alice.cancels(req)
		alice.hears("487")
		w.answer()
		w.idle()
	})
}

// RFC 3261, 16.10 concerns INVITE: a CANCEL for anything else changes nothing.
func TestCancelNonINVITE(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		req := alice.sends("MESSAGE", "sip:bob@example.org")
		text := strings.NewReplacer("MESSAGE sip", "CANCEL sip", "1 MESSAGE", "1 CANCEL").Replace(req.String())
		alice.w.layer.ReceiveRequest(alice.flow, parse(t, text).(*wire.Request))
		alice.inbox = nil // 200 or 481, the transaction layer's affair
		bob.answers(bob.hearsRequest("MESSAGE"), 200)
		alice.hears("200")
		bob.hearsNothing()
		w.idle()
	})
}

// RFC 3261, 16.6 step 11 and 16.8: a call that rings without end is cancelled after three minutes, counted from the last provisional response but 100 (16.7
// step 2), and the caller gets 408.
func TestTimerC(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.invites("sip:bob@example.org")
		invite := bob.hearsRequest("INVITE")
		bob.answers(invite, 100)
		w.at(100)
		bob.answers(invite, 180)
		alice.hears("180")
		w.at(200)
		bob.answers(invite, 100) // does not count
		w.at(280.9)
		bob.hearsNothing()
		w.at(281.1)
		bob.gaveUp(invite)
		alice.hears("408")
		w.idle()
	})
}

// hardening 55: a callee that answers 100 and nothing else: Timer C frees everything, even if the CANCEL is not answered either.
func TestHardening55OnlyTrying(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		const calls = 200
		for range calls {
			alice.invites("sip:bob@example.org")
			bob.answers(bob.hearsRequest("INVITE"), 100)
		}
		w.at(181.1)
		for range calls {
			bob.hears("CANCEL")
		}
		w.at(181 + 32.2)
		for range calls {
			alice.hears("408")
		}
		bob.inbox = nil
		w.idle()
		alice.inbox = nil
	})
}

// hardening 55: CANCELs and ACKs without an INVITE, and merged requests, keep nothing.
func TestHardening55Storm(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		for range 500 {
			alice.sends("ACK", "sip:bob@example.org", "To: <sip:bob@example.org>;tag=x")
			alice.sends("CANCEL", "sip:bob@example.org")
			alice.hears("481")
		}
		bob.hearsNothing()
		if n := w.layer.Counts(); n.Clients != 0 {
			t.Errorf("%d client transactions", n.Clients)
		}
		w.idle()
	})
}
