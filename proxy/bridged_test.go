package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

// recorder is the media bridge as far as the proxy sees it: it writes down what it is told and marks what passes. What it does with media is tested in
// package media and in interop.
type recorder struct {
	log     []string
	sides   []MediaSide
	refuse  string // the turn to refuse: "offer" or "answer"
	answers map[int]string
	late    string // what the caller must be offered
	strips  string // what it takes off a description
	ended   func(string)
}

func (r *recorder) Bridge(caller MediaSide, ended func(string)) Bridge {
	r.sides, r.ended, r.answers = []MediaSide{caller}, ended, map[int]string{}
	r.note("bridge")
	return r
}

func (r *recorder) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorder) Branch(callee MediaSide) (int, error) {
	r.sides = append(r.sides, callee)
	return len(r.sides) - 1, nil
}

func (r *recorder) turn(what string, from, to int, sdp []byte) ([]byte, error) {
	r.note("%s %d>%d %s", what, from, to, sdp)
	if r.refuse == what {
		return nil, wire.Errorf(488, "", "refused")
	}
	return []byte("bridged " + strings.TrimPrefix(string(sdp), r.strips)), nil
}

func (r *recorder) Offer(from, to int, sdp []byte) ([]byte, error) {
	return r.turn("offer", from, to, sdp)
}

func (r *recorder) Answer(from, to int, sdp []byte) ([]byte, error) {
	out, err := r.turn("answer", from, to, sdp)
	if err == nil && r.answers[to] == "" {
		r.answers[to] = string(out)
	}
	return out, err
}

func (r *recorder) Standing(leg int) []byte {
	if r.answers[leg] == "" {
		return nil
	}
	return []byte(r.answers[leg])
}

func (r *recorder) Choose(leg int) { r.note("choose %d", leg) }

func (r *recorder) Reoffer(leg int) []byte {
	if r.late == "" {
		return nil
	}
	r.note("reoffer %d", leg)
	return []byte(r.late)
}

func (r *recorder) Drop(leg int) { r.note("drop %d", leg) }
func (r *recorder) Close()       { r.note("close") }

// expect compares what the bridge was told since the last time.
func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.log); diff != "" {
		t.Errorf("the bridge was told (-want +got):\n%s", diff)
	}
	r.log = nil
}

// bridged plays a story with a bridge.
func bridged(t *testing.T, story func(w *world, r *recorder)) {
	t.Helper()
	r := &recorder{}
	play(t, func(w *world) {
		story(w, r)
		w.idle()
		if n := w.proxy.Bridged(); n != 0 {
			t.Errorf("%d bridged calls are left", n)
		}
	}, func(c *Config) { c.Anchor = r })
}

const sdpType = "Content-Type: application/sdp"

// webOffer is a browser's, as far as the proxy looks.
const webOffer = "a=fingerprint:web"

// says answers with a description.
func (p *phone) says(req *wire.Request, code int, sdp string, lines ...string) *wire.Response {
	p.w.t.Helper()
	res := wire.NewResponse(req, code, "", p.name)
	for _, value := range headers(req, "Record-Route") {
		wire.Add(res, "Record-Route", value)
	}
	wire.Add(res, "Contact", "<"+p.contact()+">")
	wire.Add(res, "Content-Type", "application/sdp")
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		wire.Add(res, name, strings.TrimSpace(value))
	}
	res.SetBody([]byte(sdp))
	p.responds(res)
	return res
}

func body(t *testing.T, m wire.Message, want string) {
	t.Helper()
	if got := string(m.Body()); got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

// RFC 3261, 13.2.1; RFC 3264, 4: every offer and answer of a browser's call to a phone passes the bridge, from the INVITE to the BYE.
func TestBridgedCall(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:4000", wire.WSS), w.user("bob", "192.0.2.2:5060", wire.UDP)
		req := alice.invites("sip:bob@example.org", sdpType, ":"+webOffer)
		invite := bob.hearsRequest("INVITE")
		body(t, invite, "bridged "+webOffer)
		r.expect(t, "bridge", "offer 0>1 "+webOffer)
		if r.sides[0].Kind != Browser || r.sides[1].Kind != Phone || r.sides[0].Source.String() != "192.0.2.1" || r.sides[1].Local.String() != "192.0.2.100" {
			t.Errorf("sides %+v", r.sides)
		}
		bob.says(invite, 183, "early")
		body(t, alice.hears("183"), "bridged early")
		res := bob.answers(invite, 200) // RFC 3262, 5: a description need not be said twice, but a browser wants to see it
		ok := alice.hearsResponse("200")
		body(t, ok, "bridged early")
		caller, called := alice.dialogOf(req, ok), bob.dialogAsked(invite, res)
		caller.sends("ACK")
		bob.hears("ACK")
		r.expect(t, "answer 1>0 early", "choose 1")

		called.sends("INVITE", sdpType, ":hold")
		bob.hears("100")
		again := alice.hearsRequest("INVITE")
		body(t, again, "bridged hold")
		alice.says(again, 200, "held")
		body(t, bob.hears("200"), "bridged held")
		called.sends("ACK")
		alice.hears("ACK")
		caller.sends("UPDATE", sdpType, ":change")
		update := bob.hearsRequest("UPDATE")
		body(t, update, "bridged change")
		bob.says(update, 200, "changed")
		body(t, alice.hears("200"), "bridged changed")
		caller.sends("INFO", "Content-Type: application/dtmf-relay", ":Signal=5")
		info := bob.hearsRequest("INFO")
		body(t, info, "Signal=5")
		bob.answers(info, 200)
		alice.hears("200")
		r.expect(t, "offer 1>0 hold", "answer 0>1 held", "offer 0>1 change", "answer 1>0 changed")

		caller.sends("BYE")
		r.expect(t, "close")
		bob.answers(bob.hearsRequest("BYE"), 200)
		alice.hears("200")
	})
}

// RFC 3261, 13.2.2.4, 14 and 14.1; RFC 3264, 8: a caller who was told what another phone of the fork has is made an offer when it has acknowledged the call. Who refuses it has no
// call; 491 is no refusal.
func TestBridgeOffersAgain(t *testing.T) {
	for _, code := range []int{200, 488, 491} {
		bridged(t, func(w *world, r *recorder) {
			r.late = "late offer"
			alice, bob := w.user("alice", "192.0.2.1:4000", wire.WSS), w.user("bob", "192.0.2.2:5060", wire.UDP)
			req := alice.invites("sip:bob@example.org", sdpType, ":"+webOffer)
			invite := bob.hearsRequest("INVITE")
			res := bob.says(invite, 200, "answer")
			ok := alice.hearsResponse("200")
			caller, called := alice.dialogOf(req, ok), bob.dialogAsked(invite, res)
			caller.sends("ACK")
			bob.hears("ACK")
			again := alice.hearsRequest("INVITE")
			body(t, again, "late offer")
			if again.From.Tag != "bob" || again.To.Tag != "alice" || again.CSeq.Seq != 0 || again.URI.Raw != alice.contact() || again.CallID != req.CallID || wire.Get(again, "Contact") != "<"+bob.contact()+">" {
				t.Errorf("the re-INVITE is\n%s", again)
			}
			caller.sends("ACK") // again: nobody is asked twice
			bob.hears("ACK")
			if code != 200 {
				alice.answers(again, code)
				alice.hears("ACK")
			}
			if code == 488 {
				for _, p := range []*phone{alice, bob} {
					p.answers(p.hearsRequest("BYE"), 200)
				}
				r.expect(t, "bridge", "offer 0>1 "+webOffer, "answer 1>0 answer", "choose 1", "reoffer 1", "close")
				return
			}
			want := []string{"bridge", "offer 0>1 " + webOffer, "answer 1>0 answer", "choose 1", "reoffer 1"}
			if code == 200 {
				final := alice.says(again, 200, "late answer")
				if ack := alice.hearsRequest("ACK"); ack.CSeq.Seq != 0 || ack.URI.Raw != alice.contact() {
					t.Errorf("the ACK is\n%s", ack)
				}
				alice.responds(final)
				alice.hears("ACK")
				want = append(want, "answer 0>1 late answer")
			}
			called.sends("BYE")
			alice.answers(alice.hearsRequest("BYE"), 200)
			bob.hears("200")
			r.expect(t, append(want, "close")...)
		})
	}
}

// RFC 5393, 4.2.2: a page calls a server that sends the call back for another page: a spiral, which is bridged each time it passes. Whichever way its BYE takes, it ends
// both bridges.
func TestBridgedSpiral(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		r.strips = "a=fingerprint:"
		w.proxy.Inbound = Any
		eve, carol := w.phone("eve", "192.0.2.9:4000", wire.WSS), w.user("carol", "192.0.2.3:4000", wire.WSS)
		w.users["bob"] = true
		w.bindings[wire.AOR{User: "bob", Host: "example.org"}] = append(w.bindings[wire.AOR{User: "bob", Host: "example.org"}], bindingAt("sip:bob@192.0.2.20"))
		turn := w.mirror(map[string]string{"bob": "carol"})
		req := eve.invites("sip:bob@example.org", sdpType, ":"+webOffer)
		turn()
		invite := carol.hearsRequest("INVITE")
		body(t, invite, "bridged bridged web")
		carol.says(invite, 200, "answer")
		turn()
		ok := eve.hearsResponse("200")
		body(t, ok, "bridged bridged answer")
		if n := w.proxy.Bridged(); n != 2 {
			t.Errorf("%d bridges", n)
		}
		caller := eve.dialogOf(req, ok)
		caller.sends("ACK")
		carol.hears("ACK")
		caller.sends("BYE")
		carol.answers(carol.hearsRequest("BYE"), 200)
		eve.hears("200")
		r.expect(t, "bridge", "offer 0>1 "+webOffer, "bridge", "offer 0>1 bridged web", "answer 1>0 answer", "choose 1", "answer 1>0 bridged answer", "choose 1", "close", "close")
		w.phones[netip.MustParseAddrPort("192.0.2.20:5060")].inbox = nil
	})
}

// RFC 3261, 13.2.1: an INVITE without an offer: the callee makes it, the ACK brings the answer.
func TestBridgedWithoutOffer(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:5060", wire.UDP), w.user("bob", "192.0.2.2:4000", wire.WSS)
		req := alice.invites("sip:bob@example.org")
		invite := bob.hearsRequest("INVITE")
		body(t, invite, "")
		bob.says(invite, 200, "web offer")
		ok := alice.hearsResponse("200")
		body(t, ok, "bridged web offer")
		caller := alice.dialogOf(req, ok)
		caller.sends("ACK", sdpType, ":phone answer")
		body(t, bob.hears("ACK"), "bridged phone answer")
		r.expect(t, "bridge", "offer 1>0 web offer", "choose 1", "answer 0>1 phone answer")
		caller.sends("BYE")
		bob.answers(bob.hearsRequest("BYE"), 200)
		alice.hears("200")
		r.expect(t, "close")
	})
}

// Calls with nothing to convert pass untouched and never meet the bridge.
func TestNotBridged(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to wire.Proto
		sdp      string
	}{
		{"browsers", wire.WSS, wire.WSS, webOffer}, {"phones", wire.UDP, wire.TCP, "plain"}, {"a phone calls one over TLS", wire.UDP, wire.TLS, "plain"},
		{"phones over TLS", wire.TLS, wire.TLS, "RTP/SAVP"}, {"RTP over WebSocket", wire.WSS, wire.UDP, "plain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bridged(t, func(w *world, r *recorder) {
				alice, bob := w.user("alice", "192.0.2.1:4000", tt.from), w.user("bob", "192.0.2.2:4000", tt.to)
				req := alice.invites("sip:bob@example.org", sdpType, ":"+tt.sdp)
				invite := bob.hearsRequest("INVITE")
				body(t, invite, tt.sdp)
				bob.says(invite, 200, "answer")
				ok := alice.hearsResponse("200")
				body(t, ok, "answer")
				alice.dialogOf(req, ok).sends("ACK")
				bob.hears("ACK")
				r.expect(t)
			})
		})
	}
}

// RFC 4568, 8: SRTP keys do not leave TLS.
func TestBridgedSRTP(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:4000", wire.TLS), w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.invites("sip:bob@example.org", sdpType, ":RTP/SAVP keys")
		invite := bob.hearsRequest("INVITE")
		body(t, invite, "bridged RTP/SAVP keys")
		bob.answers(invite, 486)
		bob.hears("ACK")
		alice.hears("486")
		r.expect(t, "bridge", "offer 0>1 RTP/SAVP keys", "drop 1", "close")
	})
}

// RFC 8643: a phone over TLS that refuses RTP is offered SRTP, once.
func TestRefusedRTPIsOfferedSRTP(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:5060", wire.UDP), w.user("bob", "192.0.2.2:4000", wire.TLS)
		alice.invites("sip:bob@example.org", sdpType, ":plain")
		invite := bob.hearsRequest("INVITE")
		body(t, invite, "plain")
		bob.answers(invite, 488)
		bob.hears("ACK")
		second := bob.hearsRequest("INVITE")
		body(t, second, "bridged plain")
		if r.sides[1].Kind != SRTPPhone {
			t.Errorf("sides %+v", r.sides)
		}
		bob.answers(second, 488)
		bob.hears("ACK")
		alice.hears("488")
		r.expect(t, "bridge", "offer 0>1 plain", "drop 1", "close")
	})
}

// What ends a search ends its bridge: a refusal, a CANCEL, an offer that suits nobody.
func TestBridgeEndsWithTheSearch(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:4000", wire.WSS), w.user("bob", "192.0.2.2:5060", wire.UDP)
		req := alice.invites("sip:bob@example.org", sdpType, ":"+webOffer)
		invite := bob.hearsRequest("INVITE")
		bob.answers(invite, 180)
		alice.hears("180")
		alice.cancels(req)
		bob.gaveUp(invite)
		alice.hears("487")
		r.expect(t, "bridge", "offer 0>1 "+webOffer, "drop 1", "close")

		r.refuse = "offer"
		alice.sends("INVITE", "sip:bob@example.org", sdpType, ":"+webOffer)
		alice.hears("488")
		r.expect(t, "bridge", "offer 0>1 "+webOffer, "drop 1", "close")
	})
}

// RFC 3261, 13.2.2.4 and 15: a callee who answers with what the caller cannot have gets its ACK and a BYE, the caller a refusal.
func TestBridgeRefusesTheAnswer(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:4000", wire.WSS), w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.invites("sip:bob@example.org", sdpType, ":"+webOffer)
		invite := bob.hearsRequest("INVITE")
		r.refuse = "answer"
		bob.says(invite, 200, "G.729")
		ack := bob.hearsRequest("ACK")
		if ack.To.Tag != "bob" || ack.CSeq.Seq != invite.CSeq.Seq {
			t.Errorf("ACK\n%s", ack)
		}
		bye := bob.hearsRequest("BYE")
		if bye.To.Tag != "bob" || bye.From.Tag != "alice" || bye.CSeq.Seq != invite.CSeq.Seq+1 {
			t.Errorf("BYE\n%s", bye)
		}
		bob.answers(bye, 200)
		alice.hears("488")
		r.expect(t, "bridge", "offer 0>1 "+webOffer, "answer 1>0 G.729", "drop 1", "close")
	})
}

// RFC 3261, 15.1.1 and 12.2.1.1: when media are lost, both sides get a BYE, each as from the other, with its numbers going on.
func TestLostMediaEndTheCall(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:4000", wire.WSS), w.user("bob", "192.0.2.2:5060", wire.UDP)
		req := alice.invites("sip:bob@example.org", sdpType, ":"+webOffer)
		invite := bob.hearsRequest("INVITE")
		res := bob.says(invite, 200, "answer")
		ok := alice.hearsResponse("200")
		caller, called := alice.dialogOf(req, ok), bob.dialogAsked(invite, res)
		caller.sends("ACK")
		bob.hears("ACK")
		called.seq = 41
		called.sends("INFO")
		alice.answers(alice.hearsRequest("INFO"), 200)
		bob.hears("200")
		r.ended("one side has fallen silent")
		toAlice, toBob := alice.hearsRequest("BYE"), bob.hearsRequest("BYE")
		if toAlice.From.Tag != "bob" || toAlice.To.Tag != "alice" || toAlice.CSeq.Seq != 43 || toAlice.URI.Raw != alice.contact() || toAlice.CallID != req.CallID {
			t.Errorf("to alice:\n%s", toAlice)
		}
		if toBob.From.Tag != "alice" || toBob.To.Tag != "bob" || toBob.CSeq.Seq != req.CSeq.Seq+1 || toBob.URI.Raw != bob.contact() || !strings.Contains(wire.Get(toBob, "Reason"), "silent") {
			t.Errorf("to bob:\n%s", toBob)
		}
		alice.answers(toAlice, 200)
		bob.answers(toBob, 200)
	})
}

// Media that are lost while it still rings, a browser that cannot be trusted, refuse the call. Hardening 67
func TestLostMediaRefuseTheCall(t *testing.T) {
	bridged(t, func(w *world, r *recorder) {
		alice, bob := w.user("alice", "192.0.2.1:4000", wire.WSS), w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.invites("sip:bob@example.org", sdpType, ":"+webOffer)
		invite := bob.hearsRequest("INVITE")
		bob.says(invite, 183, "early")
		alice.hears("183")
		r.ended("certificate")
		bob.gaveUp(invite)
		alice.hears("488")
	})
}

// A page and two phones ring together: early descriptions are kept from a calling browser, since the page's answer would be another one; the first to
// answer wins. RFC 3261, 16.7 step 10
func TestMixedFork(t *testing.T) {
	for _, winner := range []string{"phone", "page"} {
		t.Run(winner, func(t *testing.T) {
			bridged(t, func(w *world, r *recorder) {
				alice := w.user("alice", "192.0.2.1:4000", wire.WSS)
				desk := w.user("bob", "192.0.2.2:5060", wire.UDP)
				page := w.phone("page", "192.0.2.3:4000", wire.WSS)
				w.bind("bob", page)
				alice.invites("sip:bob@example.org", sdpType, ":"+webOffer)
				toDesk, toPage := desk.hearsRequest("INVITE"), page.hearsRequest("INVITE")
				body(t, toDesk, "bridged "+webOffer)
				body(t, toPage, webOffer)
				desk.says(toDesk, 183, "early")
				body(t, alice.hears("183"), "")
				page.answers(toPage, 180)
				alice.hears("180")
				if winner == "phone" {
					desk.says(toDesk, 200, "desk")
					body(t, alice.hears("200"), "bridged desk")
					page.gaveUp(toPage)
					r.expect(t, "bridge", "offer 0>1 "+webOffer, "answer 1>0 desk", "choose 1")
					r.ended("over")
					for _, p := range []*phone{alice, desk} {
						p.answers(p.hearsRequest("BYE"), 200)
					}
				} else {
					page.says(toPage, 200, "page")
					body(t, alice.hears("200"), "page")
					desk.gaveUp(toDesk)
					r.expect(t, "bridge", "offer 0>1 "+webOffer, "drop 1", "close")
				}
			})
		})
	}
}
