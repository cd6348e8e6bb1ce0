package transaction

import "testing"

// RFC 3261, 18.4 and 17.1.4: an ICMP error ends the request that it quotes, and no other: not one sent elsewhere, nor one whose branch it does not know. hardening 48
func TestUnreachable(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE"} {
		play(t, func(s *stage) {
			there := s.udp.ID().Remote
			branch := s.start(s.udp, request(method)).Request.Via.Branch
			s.layer.ReceiveUnreachable(there, method, branch+"x")
			s.layer.ReceiveUnreachable(there, "OPTIONS", branch)
			s.layer.ReceiveUnreachable(s.flow(s.udp.ID().Proto, "192.0.2.99:5060").ID().Remote, method, branch)
			s.want(`0.000 > ` + method)
			s.layer.ReceiveUnreachable(there, method, branch)
			s.layer.ReceiveUnreachable(there, method, branch)
			s.want(`0.000 tu transaction: transport failed: nobody there`)
			s.alive(0, 0)
		})
	}
}

// Who has answered was there: an error about an early copy of the request says nothing any more.
func TestUnreachableLate(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.udp, request("INVITE"))
		s.inResponse(s.udp, reply(c, 180, "b"))
		s.layer.ReceiveUnreachable(s.udp.ID().Remote, "INVITE", c.Request.Via.Branch)
		s.inResponse(s.udp, reply(c, 486, "b"))
		s.layer.ReceiveUnreachable(s.udp.ID().Remote, "INVITE", c.Request.Via.Branch)
		s.want(`0.000 > INVITE
			0.000 < 180
			0.000 tu 180
			0.000 < 486
			0.000 > ACK
			0.000 tu 486`)
		s.alive(0, 1)
	})
}

// What goes over a connection has no ICMP errors of its own.
func TestUnreachableReliable(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.tcp, request("INVITE"))
		s.layer.ReceiveUnreachable(s.tcp.ID().Remote, "INVITE", c.Request.Via.Branch)
		s.want(`0.000 > INVITE`)
		s.alive(0, 1)
	})
}
