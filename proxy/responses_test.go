package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// fork registers n phones for bob, with these q values.
func (w *world) fork(qs ...int) []*phone {
	w.users["bob"] = true
	var phones []*phone
	for i, value := range qs {
		p := w.phone(fmt.Sprintf("bob%d", i+1), fmt.Sprintf("192.0.2.%d:5060", 11+i), wire.UDP)
		w.bind("bob", p, q(value))
		phones = append(phones, p)
	}
	return phones
}

// rings takes the INVITE of each phone.
func rings(phones ...*phone) []*wire.Request {
	var invites []*wire.Request
	for _, p := range phones {
		p.w.t.Helper()
		invites = append(invites, p.hearsRequest("INVITE"))
	}
	return invites
}

// gaveUp: the phone was cancelled and ends its INVITE.
func (p *phone) gaveUp(invite *wire.Request) *wire.Request {
	p.w.t.Helper()
	cancel := p.hearsRequest("CANCEL")
	p.answers(cancel, 200)
	p.answers(invite, 487)
	p.hears("ACK")
	return cancel
}

// RFC 3261, 16.7; RFC 3261, 16.7 step 1: each response finds its call. RFC 3261, 16.7 step 5: provisional responses of every branch but 100 are forwarded at once, and the 2xx; the losers are cancelled (step 10), with
// the reason (RFC 3326, 2).
func TestForkOneAnswers(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(1000, 1000, 1000)
		alice.invites("sip:bob@example.org")
		invites := rings(bobs...)
		for i, p := range bobs {
			p.answers(invites[i], 100)
			alice.hearsNothing()
			p.answers(invites[i], 180+i)
			res := alice.hearsResponse(fmt.Sprint(180 + i))
			if res.To.Tag != p.name || len(wire.List(res, "Via")) != 1 { // RFC 3261, 16.7 step 3 and 6
				t.Errorf("alice hears\n%s", res)
			}
		}
		bobs[1].answers(invites[1], 200)
		alice.hears("200")
		for _, i := range []int{0, 2} {
			if reason := wire.Get(bobs[i].gaveUp(invites[i]), "Reason"); reason != `SIP;cause=200;text="Call completed elsewhere"` {
				t.Errorf("Reason: %s", reason)
			}
		}
		w.idle()
	})
}

// RFC 3261, 16.7 step 5: every 2xx to an INVITE is forwarded, from other branches and again from the same one.
func TestTwoSuccesses(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(1000, 1000)
		req := alice.invites("sip:bob@example.org")
		invites := rings(bobs...)
		ok1 := bobs[0].answers(invites[0], 200)
		ok2 := bobs[1].answers(invites[1], 200) // before our CANCEL, which had to wait for a provisional response
		first, second := alice.hearsResponse("200"), alice.hearsResponse("200")
		if first.To.Tag != "bob1" || second.To.Tag != "bob2" {
			t.Errorf("tags %s, %s", first.To.Tag, second.To.Tag)
		}
		bobs[0].responds(ok1) // lost on the way: the UAS sends it again. RFC 6026, 7.2
		bobs[1].responds(ok2)
		alice.hears("200")
		alice.hears("200")
		for i, ok := range []*wire.Response{first, second} {
			d := alice.dialogOf(req, ok)
			d.sends("ACK")
			bobs[i].hears("ACK")
			d.sends("BYE")
			bobs[i].answers(bobs[i].hearsRequest("BYE"), 200)
			alice.hears("200")
		}
		w.idle()
	})
}

// RFC 3261, 16.7 step 5: exactly one final response to a non-INVITE, however many branches succeed.
func TestForkNonINVITE(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(1000, 1000, 1000)
		alice.sends("MESSAGE", "sip:bob@example.org")
		for i, p := range bobs {
			p.answers(p.hearsRequest("MESSAGE"), 200+i)
		}
		alice.hears("200")
		w.idle()
	})
}

// RFC 3261, 16.7 step 5: a 6xx ends the search and is forwarded when all branches have ended; a 2xx that crosses wins.
func TestGlobalFailure(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(1000, 1000, 500)
		alice.invites("sip:bob@example.org")
		invites := rings(bobs[:2]...)
		bobs[1].answers(invites[1], 180)
		alice.hears("180")
		bobs[0].answers(invites[0], 603)
		bobs[0].hears("ACK")
		alice.hearsNothing()
		if reason := wire.Get(bobs[1].gaveUp(invites[1]), "Reason"); reason != "SIP;cause=603" {
			t.Errorf("Reason: %s", reason)
		}
		if res := alice.hearsResponse("603"); res.To.Tag != "bob1" {
			t.Errorf("To tag %s", res.To.Tag)
		}
		bobs[2].hearsNothing() // no new branches
		w.idle()
	})
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(1000, 1000)
		alice.invites("sip:bob@example.org")
		invites := rings(bobs...)
		bobs[0].answers(invites[0], 600)
		bobs[0].hears("ACK")
		bobs[1].answers(invites[1], 200)
		alice.hears("200")
		w.idle()
	})
}

// RFC 3261, 16.7 step 6: which of the stored responses is the best.
func TestBestResponse(t *testing.T) {
	for _, test := range []struct {
		codes []int
		want  string
	}{
		{[]int{486}, "486"},
		{[]int{404, 486}, "486"},
		{[]int{480, 486, 500}, "486"},
		{[]int{503, 407, 501, 404}, "407"}, // the section's example
		{[]int{500, 302}, "302"},           // lowest class
		{[]int{302, 603, 404}, "603"},
		{[]int{486, 415}, "415"},
		{[]int{484, 401}, "401"},
		{[]int{408, 480}, "480"},
		{[]int{487, 408}, "408"},
		{[]int{503}, "500"}, // a 503 of ours would say that nothing at all can be served
		{[]int{503, 503}, "500"},
		{[]int{503, 501}, "501"},
		{[]int{503, 404}, "404"},
		{[]int{699}, "699"},
	} {
		t.Run(fmt.Sprint(test.codes), func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				bobs := w.fork(make([]int, len(test.codes))...)
				alice.invites("sip:bob@example.org")
				for i, invite := range rings(bobs...) {
					alice.hearsNothing()
					bobs[i].answers(invite, test.codes[i])
					bobs[i].hears("ACK")
				}
				alice.hears(test.want)
				w.idle()
			})
		})
	}
}

// RFC 3261, 16.7 step 7: the challenges of all branches reach the caller, unchanged.
func TestAggregateChallenges(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(1000, 1000, 1000, 1000)
		alice.invites("sip:bob@example.org")
		invites := rings(bobs...)
		answer := func(i, code int, lines ...string) {
			bobs[i].answers(invites[i], code, lines...)
			bobs[i].hears("ACK")
		}
		answer(0, 407, `Proxy-Authenticate: Digest realm="a"`)
		answer(1, 486)
		answer(2, 401, `WWW-Authenticate: Digest realm="b"`, `WWW-Authenticate: Digest realm="c", qop="auth,auth-int"`)
		answer(3, 407, `Proxy-Authenticate: Digest realm="d"`)
		res := alice.hearsResponse("407")
		got := append(headers(res, "Proxy-Authenticate"), headers(res, "WWW-Authenticate")...)
		want := []string{`Digest realm="a"`, `Digest realm="d"`, `Digest realm="b"`, `Digest realm="c", qop="auth,auth-int"`}
		if !slices.Equal(got, want) {
			t.Errorf("challenges %q, want %q", got, want)
		}
	})
}

// RFC 3261, 16.6: serial over falling q, parallel within one; a 2xx ends the search.
func TestSerialFork(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(900, 900, 500, 100)
		alice.invites("sip:bob@example.org")
		invites := rings(bobs[:2]...)
		bobs[0].answers(invites[0], 486)
		bobs[0].hears("ACK")
		bobs[2].hearsNothing()
		bobs[1].answers(invites[1], 480)
		bobs[1].hears("ACK")
		third := rings(bobs[2])[0]
		bobs[3].hearsNothing()
		bobs[2].answers(third, 200)
		alice.hears("200")
		w.idle()
		bobs[3].hearsNothing()
	})
}

// Targets of one q ring for 25 s if there are others after them; who was cancelled for that counts as 408.
func TestSerialForkUnanswered(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bobs := w.fork(900, 500)
		alice.invites("sip:bob@example.org")
		first := rings(bobs[0])[0]
		bobs[0].answers(first, 180)
		alice.hears("180")
		w.at(24.9)
		bobs[0].hearsNothing()
		w.at(25.02)
		bobs[0].gaveUp(first)
		second := rings(bobs[1])[0]
		bobs[1].answers(second, 180)
		alice.hears("180")
		w.at(120) // the last one rings as long as the caller likes
		bobs[1].hearsNothing()
		bobs[1].answers(second, 487) // ended by the callee's own devices
		bobs[1].hears("ACK")
		alice.hears("408")
		w.idle()
	})
}

// RFC 3261, 16.7 step 4; hardening 43: a redirection is the caller's business, never followed.
func TestHardening43Redirect(t *testing.T) {
	for _, code := range []int{300, 301, 302, 305, 380} {
		play(t, func(w *world) {
			alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
			bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
			alice.invites("sip:bob@example.org")
			bob.answers(bob.hearsRequest("INVITE"), code, "Contact: <sip:+19005550100@192.0.2.20>", "Contact: <sip:bob@example.org>")
			bob.hears("ACK")
			res := alice.hearsResponse(fmt.Sprint(code))
			if list := headers(res, "Contact"); len(list) != 2 {
				t.Errorf("Contact: %q", list)
			}
			w.idle()
		})
	}
}

// RFC 3261, 16.7 step 9: nothing of a response is changed but the topmost Via.
func TestResponseKeepsTheRest(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.sends("INVITE", "sip:bob@example.org", "Via: SIP/2.0/UDP 192.0.2.50;branch=z9hG4bKd;received=192.0.2.51, SIP/2.0/TCP 192.0.2.52;branch=z9hG4bKe")
		alice.hears("100")
		res := wire.NewResponse(bob.hearsRequest("INVITE"), 200, "Fine by me", "bob")
		wire.Add(res, "X-Novel", "a,b;")
		wire.Add(res, "x-nOVEL", "c")
		res.SetBody([]byte("v=0\r\n"))
		bob.responds(res)
		wire.Pop(res, "Via")
		if got := alice.hearsResponse("200 Fine by me"); got.String() != res.String() {
			t.Errorf("alice hears\n%s\nwant\n%s", got, res)
		}
	})
}

// hardening 42; RFC 3261, 16.7 step 3: a response goes along our transaction only: one whose Vias were changed counts as a failure of its branch.
func TestHardening42Vias(t *testing.T) {
	for name, change := range map[string]func(*wire.Response){
		"removed": func(res *wire.Response) {
			top := res.Via.Raw
			wire.Set(res, "Via", top)
		},
		"added": func(res *wire.Response) {
			top, _ := wire.Pop(res, "Via")
			wire.Push(res, "Via", "SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKevil;received=10.0.0.1")
			wire.Push(res, "Via", top)
		},
		"other branch": func(res *wire.Response) {
			top := res.Via.Raw
			wire.Set(res, "Via", top+", SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKevil")
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
				for _, code := range []int{180, 200, 486} {
					alice.invites("sip:bob@example.org")
					invite := bob.hearsRequest("INVITE")
					res := wire.NewResponse(invite, code, "", "bob")
					change(res)
					bob.responds(res)
					if code == 180 {
						alice.hearsNothing()
						bob.answers(invite, 486)
					}
					if code != 200 {
						bob.hears("ACK")
					}
					if code == 180 {
						alice.hears("486")
					} else {
						alice.hears("502")
					}
				}
				w.idle()
			})
		})
	}
}

// RFC 4320, 4.1 and 4.2: to a non-INVITE no provisional response but 100 is sent, and no 408: silence stays silence.
func TestNonINVITESilence(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:40000", wire.TCP)
		bob := w.user("bob", "192.0.2.2:40001", wire.TCP)
		alice.sends("MESSAGE", "sip:bob@example.org")
		bob.answers(bob.hearsRequest("MESSAGE"), 180)
		alice.hearsNothing()
		w.at(5)
		alice.hears("100")
		w.at(40)
		alice.hearsNothing()
		w.idle()
	})
	play(t, func(w *world) { // a 408 that arrives is not forwarded either, and of several responses another is chosen
		alice := w.user("alice", "192.0.2.1:40000", wire.TCP)
		bobs := w.fork(1000, 1000)
		for _, code := range []int{408, 501} {
			alice.sends("OPTIONS", "sip:bob@example.org")
			bobs[0].answers(bobs[0].hearsRequest("OPTIONS"), 408)
			bobs[1].answers(bobs[1].hearsRequest("OPTIONS"), code)
			if code == 501 {
				alice.hears("501")
			} else {
				alice.hearsNothing()
			}
		}
		w.idle()
	})
}

// RFC 3261, 16.7 step 6: nobody answers at all: 408. hardening 56: the binding stays, one failure says nothing.
func TestHardening56Silence(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.invites("sip:bob@example.org")
		w.at(32.2)
		if n := len(bob.inbox); n != 7 {
			t.Errorf("%d INVITEs, want 7", n)
		}
		bob.inbox = nil
		alice.hears("408")
		alice.sends("MESSAGE", "sip:bob@example.org")
		bob.answers(bob.hearsRequest("MESSAGE"), 200)
		alice.hears("200")
		w.idle()
	})
}

// Within one flow nothing overtakes: responses leave in the order they came.
func TestOrder(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.invites("sip:bob@example.org")
		invite := bob.hearsRequest("INVITE")
		for i := range 50 {
			bob.answers(invite, 180, fmt.Sprintf("X-Number: %d", i))
		}
		bob.answers(invite, 200)
		for i := range 50 {
			if got := wire.Get(alice.hearsResponse("180"), "X-Number"); got != fmt.Sprint(i) {
				t.Fatalf("number %s comes as %d", got, i)
			}
		}
		alice.hears("200")
	})
}

func TestRankCoversClasses(t *testing.T) {
	for code := 300; code < 700; code++ {
		for other := code + 1; other < 700; other++ {
			if code/100 < other/100 && other < 600 && rank(code) >= rank(other) {
				t.Fatalf("%d does not come before %d", code, other)
			}
			if code < 600 && other >= 600 && rank(code) <= rank(other) {
				t.Fatalf("%d does not come after %d", code, other)
			}
		}
	}
	if !strings.HasPrefix(fmt.Sprint(rank(401)), "4") {
		t.Errorf("rank(401) = %d", rank(401))
	}
}
