package transaction

import (
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// RFC 3261, 9.2 and 16.10: the CANCEL is answered 200 with the To tag of the INVITE's responses, then the user is told, once; its retransmission gets the same 200.
func TestServerCancel(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error {
			tx.OnCancel(func(cancel *wire.Request) {
				s.note("tu cancelled by %s", cancel.Method)
				tx.Reply(487, "")
			})
			return nil
		}
		s.in(s.udp, request("INVITE"))
		s.respond(180, "b")
		s.at(1)
		s.in(s.udp, request("CANCEL"))
		ok := parse(t, s.udp.sent[2]).(*wire.Response)
		if ok.To.Tag != "b" || ok.CSeq.Method != "CANCEL" {
			t.Errorf("got %s", s.udp.sent[2])
		}
		s.at(1.2)
		s.in(s.udp, request("CANCEL"))
		if s.udp.last() != s.udp.sent[2] {
			t.Error("another answer to the same CANCEL")
		}
		s.in(s.udp, request("ACK"))
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100
			0.000 > 180
			1.000 < CANCEL
			1.000 > 200
			1.000 tu cancelled by CANCEL
			1.000 > 487
			1.200 < CANCEL
			1.200 > 200
			1.200 < ACK`)
		s.at(60)
		s.alive(0, 0)
	})
}

// RFC 3261, 9.2: with no provisional from the user there is a tag nevertheless, and the 487 has the same.
func TestServerCancelTag(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error {
			tx.OnCancel(func(*wire.Request) { tx.Reply(487, "") })
			return nil
		}
		s.in(s.tcp, request("INVITE"))
		s.in(s.tcp, request("CANCEL"))
		ok, terminated := parse(t, s.tcp.sent[1]).(*wire.Response), parse(t, s.tcp.sent[2]).(*wire.Response)
		if ok.To.Tag == "" || ok.To.Tag != terminated.To.Tag {
			t.Errorf("tags %q and %q", ok.To.Tag, terminated.To.Tag)
		}
	})
}

// RFC 3261, 9.2: no transaction, 481.
func TestServerCancelUnknown(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.udp, request("CANCEL"))
		s.in(s.udp, request("CANCEL"))
		s.want(`0.000 < CANCEL
			0.000 > 481
			0.000 < CANCEL
			0.000 > 481`)
		s.alive(1, 0)
		if s.layer.Active() != 0 {
			t.Error("active")
		}
	})
}

// RFC 3261, 9.2: after a final response a CANCEL is answered 200 and has no effect.
func TestServerCancelLate(t *testing.T) {
	for _, code := range []int{200, 486} {
		play(t, func(s *stage) {
			s.serve = func(tx *Server) error {
				tx.OnCancel(func(*wire.Request) { t.Error("cancelled") })
				return nil
			}
			s.in(s.tcp, request("INVITE"))
			s.respond(code, "b") // the 200 crosses the CANCEL
			s.tx.OnCancel(func(*wire.Request) { t.Error("cancelled") })
			s.in(s.tcp, request("CANCEL"))
			if got := parse(t, s.tcp.last()).(*wire.Response); got.StatusCode != 200 || got.CSeq.Method != "CANCEL" || got.To.Tag != "b" {
				t.Errorf("got %s", s.tcp.last())
			}
		})
	}
}

// RFC 3261, 9.2: a CANCEL of another method is answered 200 and has no impact.
func TestServerCancelOther(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error {
			tx.OnCancel(func(*wire.Request) { t.Error("cancelled") })
			return nil
		}
		s.in(s.udp, request("MESSAGE"))
		s.in(s.udp, request("CANCEL"))
		s.want(`0.000 < MESSAGE
			0.000 tu MESSAGE
			0.000 < CANCEL
			0.000 > 200`)
		s.respond(200, "b")
		s.in(s.udp, request("CANCEL", "192.0.2.1:5060", "192.0.2.2", "z9hG4bKa1", "z9hG4bKa1"))
		s.want(`0.000 > 200
			0.000 < CANCEL
			0.000 > 481`)
		if got := parse(t, s.udp.sent[0]).(*wire.Response); got.To.Tag == "" {
			t.Error("200 without a To tag")
		}
	})
}

// A CANCEL that comes before the user has set OnCancel is not lost.
func TestServerCancelEarly(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.udp, request("INVITE"))
		s.in(s.udp, request("CANCEL"))
		s.at(1)
		s.tx.Owner().Do(func() {
			s.tx.OnCancel(func(*wire.Request) { s.note("tu cancelled") })
			s.note("tu asked")
		})
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100
			0.000 < CANCEL
			0.000 > 200
			1.000 tu asked
			1.000 tu cancelled`)
	})
}

// RFC 3261, 17.2.3 and 9.2: an old client's CANCEL finds its INVITE by everything but the method.
func TestServerCancelOld(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error {
			tx.OnCancel(func(*wire.Request) { s.note("tu cancelled") })
			return nil
		}
		s.in(s.udp, old("INVITE"))
		s.in(s.udp, old("CANCEL"))
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100
			0.000 < CANCEL
			0.000 > 200
			0.000 tu cancelled`)
	})
}

func (s *stage) cancel(c *Client, reason string) { c.machine.owner.Do(func() { c.Cancel(reason) }) }

// cancelResponse is what comes back for our CANCEL.
func cancelResponse(text string, code int) *wire.Response {
	cancel := parse(nil, text).(*wire.Request)
	return parse(nil, string(wire.Append(nil, wire.NewResponse(cancel, code, "", "b")))).(*wire.Response)
}

// RFC 3261, 9.1: the CANCEL waits for a provisional response, goes once, is a transaction of its own, and its 200 tells the user nothing.
func TestClientCancel(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.udp, request("INVITE"))
		s.cancel(c, "")
		s.cancel(c, "")
		s.at(0.6)
		s.inResponse(s.udp, reply(c, 100, ""))
		s.inResponse(s.udp, reply(c, 180, "b"))
		s.at(1.2)
		s.inResponse(s.udp, cancelResponse(s.udp.last(), 200))
		s.inResponse(s.udp, cancelResponse(s.udp.last(), 200)) // a stray one
		s.inResponse(s.udp, reply(c, 487, "b"))
		s.cancel(c, "")
		s.want(`0.000 > INVITE
			0.500 > INVITE
			0.600 < 100
			0.600 > CANCEL
			0.600 tu 100
			0.600 < 180
			0.600 tu 180
			1.100 > CANCEL
			1.200 < 200
			1.200 < 200
			1.200 < 487
			1.200 > ACK
			1.200 tu 487`)
		s.at(60)
		s.alive(0, 0)
	})
}

// RFC 3261, 9.1: what a CANCEL consists of; RFC 3326, 2: its Reason.
func TestClientCancelMessage(t *testing.T) {
	play(t, func(s *stage) {
		req := request("INVITE", "Max-Forwards: 70", "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\nMax-Forwards: 69\r\nRoute: <sip:a.example.org;lr>\r\nRequire: 100rel\r\nProxy-Require: x")
		c := s.start(s.udp, req)
		s.inResponse(s.udp, reply(c, 180, "b"))
		s.cancel(c, `SIP;cause=200;text="Call completed elsewhere"`)
		want := strings.ReplaceAll(`CANCEL sip:bob@example.org SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa1
Max-Forwards: 70
Route: <sip:a.example.org;lr>
From: Alice <sip:alice@example.org>;tag=a
To: Bob <sip:bob@example.org>
Call-ID: c1@192.0.2.1
CSeq: 1 CANCEL
Reason: SIP;cause=200;text="Call completed elsewhere"
Content-Length: 0

`, "\n", "\r\n")
		if got := s.udp.last(); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	})
}

// RFC 3261, 9.1: no CANCEL after a final response, nor for another method; Timer B still ends an INVITE that waits for a provisional to cancel.
func TestClientCancelNothing(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.tcp, request("INVITE"))
		s.inResponse(s.tcp, reply(c, 200, "b"))
		s.cancel(c, "")
		c = s.start(s.tcp, request("MESSAGE", "z9hG4bKa1", "z9hG4bKa2"))
		s.inResponse(s.tcp, reply(c, 100, ""))
		s.cancel(c, "")
		c = s.start(s.tcp, request("INVITE", "z9hG4bKa1", "z9hG4bKa3"))
		s.cancel(c, "")
		s.at(1)
		s.inResponse(s.tcp, reply(c, 486, "b"))
		c = s.start(s.tcp, request("INVITE", "z9hG4bKa1", "z9hG4bKa4"))
		s.cancel(c, "")
		s.at(60)
		for _, b := range s.tcp.sent {
			if strings.HasPrefix(b, "CANCEL") {
				t.Errorf("sent %s", b)
			}
		}
		s.alive(0, 0)
	})
}

// RFC 3261, 9.1: an INVITE without a final response 64*T1 after its CANCEL is given up.
func TestClientCancelUnheard(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.tcp, request("INVITE"))
		s.inResponse(s.tcp, reply(c, 180, "b"))
		s.at(100)
		s.cancel(c, "")
		s.at(110)
		s.inResponse(s.tcp, reply(c, 180, "b"))
		s.at(200)
		s.want(`0.000 > INVITE
			0.000 < 180
			0.000 tu 180
			100.000 > CANCEL
			110.000 < 180
			110.000 tu 180
			132.000 tu transaction: no final response in time`)
		s.alive(0, 0)
	})
}

// A 200 that crosses the CANCEL still is the user's (RFC 3261, 9.1).
func TestClientCancelCrossed(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.udp, request("INVITE"))
		s.inResponse(s.udp, reply(c, 180, "b"))
		s.cancel(c, "")
		s.inResponse(s.udp, reply(c, 200, "b"))
		s.inResponse(s.udp, cancelResponse(s.udp.last(), 481))
		s.want(`0.000 > INVITE
			0.000 < 180
			0.000 tu 180
			0.000 > CANCEL
			0.000 < 200
			0.000 tu 200
			0.000 < 481`)
		s.at(60)
		s.alive(0, 0)
	})
}
