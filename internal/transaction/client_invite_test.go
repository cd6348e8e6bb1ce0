package transaction

import (
	"strings"
	"testing"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// RFC 3261, 17.1.1.1 and 17.1.1.2: seven INVITEs at intervals that double from T1, then Timer B: the user hears of it and there is no ACK.
func TestClientINVITESilence(t *testing.T) {
	play(t, func(s *stage) {
		s.start(s.udp, request("INVITE"))
		s.at(60)
		s.want(`0.000 > INVITE
			0.500 > INVITE
			1.500 > INVITE
			3.500 > INVITE
			7.500 > INVITE
			15.500 > INVITE
			31.500 > INVITE
			32.000 tu transaction: no final response in time`)
		s.alive(0, 0)
		for _, b := range s.udp.sent {
			if b != s.udp.sent[0] {
				t.Error("a retransmission differs")
			}
		}
	})
}

// RFC 3261, 17.1.1.2: no Timer A on reliable transports, Timer B on all.
func TestClientINVITEReliableSilence(t *testing.T) {
	play(t, func(s *stage) {
		s.start(s.tcp, request("INVITE"))
		s.at(60)
		s.want(`0.000 > INVITE
			32.000 tu transaction: no final response in time`)
		s.alive(0, 0)
		if s.tcp.waiting() != 0 {
			t.Error("OnClose was not stopped")
		}
	})
}

// RFC 3261, 17.1.1.2: Proceeding sends nothing again and passes every provisional; Timer B does not kill a ringing INVITE.
func TestClientINVITEProceeding(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.udp, request("INVITE"))
		s.at(0.7)
		s.inResponse(s.udp, reply(c, 100, ""))
		s.inResponse(s.udp, reply(c, 180, "b"))
		s.inResponse(s.udp, reply(c, 180, "b"))
		s.at(170)
		s.inResponse(s.udp, reply(c, 183, "c"))
		s.at(3600)
		s.want(`0.000 > INVITE
			0.500 > INVITE
			0.700 < 100
			0.700 tu 100
			0.700 < 180
			0.700 tu 180
			0.700 < 180
			0.700 tu 180
			170.000 < 183
			170.000 tu 183`)
		s.alive(0, 1)
	})
}

// RFC 6026, 7.2 and 8.4: every 2xx is the user's for Timer M, none is acknowledged here, nothing else passes any more.
func TestClientINVITEAccepted(t *testing.T) {
	for _, before := range []bool{false, true} {
		play(t, func(s *stage) {
			f := s.udp
			if before {
				f = s.tcp
			}
			c := s.start(f, request("INVITE"))
			if before {
				s.inResponse(f, reply(c, 180, "b"))
				s.want(`0.000 > INVITE
					0.000 < 180
					0.000 tu 180`)
			} else {
				s.want(`0.000 > INVITE`)
			}
			s.inResponse(f, reply(c, 200, "b"))
			s.at(0.5)
			s.inResponse(f, reply(c, 200, "b"))
			s.inResponse(f, reply(c, 200, "c"))
			s.inResponse(f, reply(c, 180, "c"))
			s.inResponse(f, reply(c, 486, "c"))
			s.want(`0.000 < 200
				0.000 tu 200
				0.500 < 200
				0.500 tu 200
				0.500 < 200
				0.500 tu 200
				0.500 < 180
				0.500 < 486`)
			s.at(31.99)
			s.alive(0, 1)
			s.at(32)
			s.alive(0, 0)
			s.inResponse(f, reply(c, 200, "b")) // RFC 6026, 7.3: a stray response is dropped
			s.want(`32.000 < 200`)
			if s.layer.Counts().Stray != 1 {
				t.Error("the stray response was not counted")
			}
		})
	}
}

// RFC 3261, 17.1.1.2 and RFC 6026, 8.4: a 3xx-6xx is passed once and acknowledged each time it comes, until Timer D.
func TestClientINVITECompleted(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.udp, request("INVITE"))
		s.inResponse(s.udp, reply(c, 180, "b"))
		s.inResponse(s.udp, reply(c, 486, "b"))
		s.at(0.5)
		s.inResponse(s.udp, reply(c, 486, "b")) // the ACK was lost
		s.inResponse(s.udp, reply(c, 180, "b")) // late
		s.inResponse(s.udp, reply(c, 200, "b"))
		s.inResponse(s.udp, reply(c, 603, "b"))
		s.at(31.99)
		s.alive(0, 1)
		s.at(32)
		s.alive(0, 0)
		s.want(`0.000 > INVITE
			0.000 < 180
			0.000 tu 180
			0.000 < 486
			0.000 > ACK
			0.000 tu 486
			0.500 < 486
			0.500 > ACK
			0.500 < 180
			0.500 < 200
			0.500 < 603
			0.500 > ACK`)
	})
}

// RFC 3261, 17.1.1.2: the ACK is sent on reliable transports too; Timer D is zero there.
func TestClientINVITECompletedReliable(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.tcp, request("INVITE"))
		s.inResponse(s.tcp, reply(c, 486, "b"))
		s.alive(0, 0)
		s.inResponse(s.tcp, reply(c, 486, "b"))
		s.want(`0.000 > INVITE
			0.000 < 486
			0.000 > ACK
			0.000 tu 486
			0.000 < 486`)
	})
}

// RFC 3261, 17.1.1.3: what an ACK to a 3xx-6xx consists of.
func TestACK(t *testing.T) {
	play(t, func(s *stage) {
		invite := parse(t, strings.ReplaceAll(`INVITE sip:bob@192.0.2.4 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKp1
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa1;received=192.0.2.1
Max-Forwards: 69
Route: <sip:a.example.org;lr>, <sip:b.example.org;lr>
route: <sip:c.example.org;lr>
Record-Route: <sip:192.0.2.7;lr>
Require: 100rel
Proxy-Require: x
f: Alice <sip:alice@example.org>;tag=a
To: Bob <sip:bob@example.org>
Call-ID: c1@192.0.2.1
CSeq: 986759 INVITE
Content-Type: application/sdp
Content-Length: 3

v=0`, "\n", "\r\n")).(*wire.Request)
		c := s.start(s.udp, invite)
		s.inResponse(s.udp, reply(c, 415, "99sa0xk"))
		want := strings.ReplaceAll(`ACK sip:bob@192.0.2.4 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKp1
Max-Forwards: 70
Route: <sip:a.example.org;lr>, <sip:b.example.org;lr>
Route: <sip:c.example.org;lr>
From: Alice <sip:alice@example.org>;tag=a
To: Bob <sip:bob@example.org>;tag=99sa0xk
Call-ID: c1@192.0.2.1
CSeq: 986759 ACK
Content-Length: 0

`, "\n", "\r\n")
		if got := s.udp.last(); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	})
}

// RFC 3261, 17.1.4 and 8.1.3.1: a transport that fails is told once, at whatever time, and ends the transaction.
func TestClientTransportError(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE"} {
		play(t, func(s *stage) {
			s.udp.fail(transport.ErrClosed)
			s.start(s.udp, request(method))
			s.want(`0.000 tu transaction: transport failed`)

			s.udp.fail(nil)
			s.start(s.udp, request(method))
			s.udp.fail(transport.ErrClosed)
			s.at(1)
			s.want(`0.000 > ` + method + `
				0.500 tu transaction: transport failed`)

			s.start(s.tcp, request(method))
			s.at(1)
			s.tcp.close()
			s.want(`1.000 > ` + method + `
				1.000 tu transaction: transport failed`)

			s.start(s.tcp, request(method)) // dead already: Send fails and OnClose may say so too
			s.want(`1.000 tu transaction: transport failed`)
			s.alive(0, 0)

			// A full queue of a datagram socket is loss, a full queue of a connection is failure.
			s.udp.fail(transport.ErrFull)
			s.tcp.fail(transport.ErrFull)
			s.start(s.udp, request(method))
			s.start(s.tcp, request(method, "z9hG4bKa1", "z9hG4bKa2"))
			s.udp.fail(nil)
			s.at(1.5)
			s.want(`1.000 tu transaction: transport failed
				1.500 > ` + method)
			s.at(60)
			s.alive(0, 0)
		})
	}
}

// After a final response the flow's end is nobody's concern.
func TestClientFlowEndsLater(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.tcp, request("INVITE"))
		s.inResponse(s.tcp, reply(c, 200, "b"))
		s.tcp.close()
		s.want(`0.000 > INVITE
			0.000 < 200
			0.000 tu 200`)
		s.alive(0, 1)
	})
}

// A ringing INVITE learns of its connection's end.
func TestClientFlowEndsRinging(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.tcp, request("INVITE"))
		s.inResponse(s.tcp, reply(c, 180, "b"))
		s.tcp.close()
		s.want(`0.000 > INVITE
			0.000 < 180
			0.000 tu 180
			0.000 tu transaction: transport failed`)
		s.alive(0, 0)
	})
}
