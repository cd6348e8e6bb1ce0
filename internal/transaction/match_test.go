package transaction

import (
	"testing"

	"signalbox/internal/wire"
)

// RFC 3261, 17.2.3 and 8.1.1.7: branch, sent-by and method tell whether a request is new (RFC 6026, 8.10).
func TestMatchRequest(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, then *wire.Request
		fresh       bool
	}{
		{"same", request("MESSAGE"), request("MESSAGE"), false},
		{"other headers do not count", request("MESSAGE"), request("MESSAGE", "c1@192.0.2.1", "c2", "CSeq: 1", "CSeq: 2"), false},
		{"other branch", request("MESSAGE"), request("MESSAGE", "z9hG4bKa1", "z9hG4bKa2"), true},
		{"branch in other case", request("MESSAGE"), request("MESSAGE", "z9hG4bKa1", "z9hG4bKA1"), true},
		{"other sent-by host", request("MESSAGE"), request("MESSAGE", "UDP 192.0.2.1", "UDP 192.0.2.2"), true},
		{"other sent-by port", request("MESSAGE"), request("MESSAGE", "192.0.2.1:5060", "192.0.2.1:5070"), true},
		{"host and branch shifted", request("MESSAGE", "192.0.2.1:5060;branch=z9hG4bKa1", "ab.example;branch=z9hG4bKx"), request("MESSAGE", "192.0.2.1:5060;branch=z9hG4bKa1", "b.example;branch=z9hG4bKxa"), true},
		{"other method", request("MESSAGE"), request("INFO"), true},
		{"extension method", request("FOO"), request("FOO"), false},
		{"extension method, other", request("FOO"), request("BAR"), true},
		// Clients of RFC 2543: Request-URI, tags, Call-ID, CSeq and top Via.
		{"old: same", old("INVITE"), old("INVITE"), false},
		{"old: no branch", request("BYE", ";branch=z9hG4bKa1", ""), request("BYE", ";branch=z9hG4bKa1", ""), false},
		{"old: bare cookie", request("BYE", "z9hG4bKa1", "z9hG4bK"), request("BYE", "z9hG4bKa1", "z9hG4bK", "c1@", "c2@"), true},
		{"old: other Request-URI", old("INVITE"), old("INVITE", "INVITE sip:bob", "INVITE sip:carol"), true},
		{"old: other To tag", old("INVITE"), old("INVITE", "bob@example.org>", "bob@example.org>;tag=b"), true},
		{"old: other From tag", old("INVITE"), old("INVITE", "tag=a", "tag=c"), true},
		{"old: other Call-ID", old("INVITE"), old("INVITE", "c1@", "c2@"), true},
		{"old: other CSeq", old("INVITE"), old("INVITE", "CSeq: 1 ", "CSeq: 2 "), true},
		{"old: other CSeq method", old("INVITE"), old("BYE"), true},
		{"old: other Via", old("INVITE"), old("INVITE", "192.0.2.1:5060", "192.0.2.1:5061"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, func(s *stage) {
				served := 0
				s.serve = func(tx *Server) error { served++; tx.Reply(404, ""); return nil }
				s.layer.ReceiveRequest(s.udp, c.first)
				s.layer.ReceiveRequest(s.udp, c.then)
				if fresh := served == 2; fresh != c.fresh {
					t.Errorf("new transaction: %t", fresh)
				}
			})
		})
	}
}

// old is a request of a client of RFC 2543.
func old(method string, replace ...string) *wire.Request {
	return request(method, append([]string{"z9hG4bKa1", "1"}, replace...)...)
}

// RFC 3261, 17.2.3: whose ACK is it. What matches no INVITE acknowledges a 2xx and goes up.
func TestMatchACK(t *testing.T) {
	tag := func(tag string) []string { return []string{"bob@example.org>", "bob@example.org>;tag=" + tag} }
	for _, c := range []struct {
		name   string
		invite *wire.Request
		ack    *wire.Request
		ours   bool
	}{
		{"branch", request("INVITE"), request("ACK", tag("b")...), true},
		{"branch, wrong tag", request("INVITE"), request("ACK", tag("c")...), true},
		{"other branch", request("INVITE"), request("ACK", append(tag("b"), "z9hG4bKa1", "z9hG4bKa2")...), false},
		{"other sent-by", request("INVITE"), request("ACK", append(tag("b"), "UDP 192.0.2.1", "UDP 192.0.2.2")...), false},
		{"old", old("INVITE"), old("ACK", tag("b")...), true},
		{"old, within a dialog", old("INVITE", tag("b")...), old("ACK", tag("b")...), true},
		{"old, other CSeq", old("INVITE"), old("ACK", append(tag("b"), "CSeq: 1", "CSeq: 2")...), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, func(s *stage) {
				s.serve = func(tx *Server) error {
					tx.Trust()
					tx.Respond(wire.NewResponse(tx.Request, 404, "", "b"))
					return nil
				}
				s.layer.ReceiveRequest(s.udp, c.invite)
				s.layer.ReceiveRequest(s.udp, c.ack)
				s.at(0.5)
				if c.ours {
					s.want("0.000 tu INVITE\n0.000 > 404")
				} else {
					s.want("0.000 tu INVITE\n0.000 > 404\n0.000 tu ACK\n0.500 > 404")
				}
			})
		})
	}
}

// RFC 3261, 17.2.3: an old client's ACK to another response of the same INVITE, a 2xx, does not confirm ours and goes up.
func TestMatchOldACKOtherTag(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error {
			tx.Trust()
			tx.Respond(wire.NewResponse(tx.Request, 404, "", "b"))
			return nil
		}
		s.layer.ReceiveRequest(s.udp, old("INVITE"))
		s.layer.ReceiveRequest(s.udp, old("ACK", "bob@example.org>", "bob@example.org>;tag=c"))
		s.at(0.5)
		s.want("0.000 tu INVITE\n0.000 > 404\n0.000 tu ACK\n0.500 > 404")
	})
}

// RFC 6026, 8.9: an ACK to a 2xx goes up once each time it arrives, makes no transaction and cannot be answered.
func TestACKTo2xx(t *testing.T) {
	play(t, func(s *stage) {
		ack := request("ACK", "z9hG4bKa1", "z9hG4bKa9", "bob@example.org>", "bob@example.org>;tag=b")
		s.in(s.udp, ack)
		s.in(s.udp, ack)
		s.want(`0.000 < ACK
			0.000 tu ACK
			0.000 < ACK
			0.000 tu ACK`)
		s.alive(0, 0)
		tx := &Server{}
		s.layer.config.Handler = handlerFunc(func(got *Server) error {
			tx = got
			got.OnCancel(func(*wire.Request) { t.Error("cancelled") })
			got.Reply(500, "")
			if got.Merged() || !got.Responded() {
				t.Error("an ACK has no transaction")
			}
			panic("in an ACK")
		})
		s.in(s.udp, ack)
		tx.Fail(wire.Errorf(500, "", "late"))
		s.want(`0.000 < ACK`)
		s.alive(0, 0)
	})
}

type handlerFunc func(tx *Server) error

func (fn handlerFunc) ServeSIP(tx *Server) error { return fn(tx) }

// RFC 3261, 17.1.3: branch and CSeq method; hardening 48: over a connection from the host that we connected to, or as a datagram if we sent one.
func TestMatchResponse(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.udp, request("MESSAGE"))
		s.layer.ReceiveResponse(s.tcp, reply(c, 200, "forged"))
		res := reply(c, 200, "b")
		res.CSeq.Method = "CANCEL"
		s.layer.ReceiveResponse(s.udp, res)
		res = reply(c, 200, "b")
		res.Via.Branch = "z9hG4bKa2"
		s.layer.ReceiveResponse(s.udp, res)
		s.want(`0.000 > MESSAGE`)
		s.layer.ReceiveResponse(s.flow(wire.UDP, "192.0.2.99:5060"), reply(c, 200, "b"))
		s.want(`0.000 tu 200`)

		c = s.start(s.tcp, request("MESSAGE", "z9hG4bKa1", "z9hG4bKa3"))
		s.layer.ReceiveResponse(s.flow(wire.TCP, "192.0.2.99:5060"), reply(c, 200, "forged"))
		s.layer.ReceiveResponse(s.udp, reply(c, 200, "forged"))
		s.want(`0.000 > MESSAGE`)
		s.layer.ReceiveResponse(s.tcp, reply(c, 200, "b"))
		s.want(`0.000 tu 200`)

		// RFC 3261, 18.1.1: the peer may have opened another connection for its response.
		c = s.start(s.tcp, request("MESSAGE", "z9hG4bKa1", "z9hG4bKa4"))
		s.layer.ReceiveResponse(s.flow(wire.TLS, "192.0.2.1:40001"), reply(c, 200, "forged"))
		s.layer.ReceiveResponse(s.flow(wire.TCP, "192.0.2.1:40001"), reply(c, 200, "b"))
		s.want(`0.000 > MESSAGE
			0.000 tu 200`)
		if n := s.layer.Counts().Stray; n != 6 {
			t.Errorf("%d stray responses", n)
		}
	})
}

// hardening 48: a CANCEL by someone who knows the Call-ID but not the branch cancels nothing.
func TestForgedCancel(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error {
			tx.OnCancel(func(*wire.Request) { s.note("tu cancelled") })
			return nil
		}
		s.in(s.udp, request("INVITE"))
		s.in(s.udp, request("CANCEL", "z9hG4bKa1", "z9hG4bKguess"))
		s.in(s.udp, request("CANCEL", "UDP 192.0.2.1", "UDP 192.0.2.99"))
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100
			0.000 < CANCEL
			0.000 > 481
			0.000 < CANCEL
			0.000 > 481`)
	})
}
