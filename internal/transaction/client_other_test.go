package transaction

import (
	"testing"
)

// RFC 3261, 17.1.2.2: Timer E doubles from T1 to T2, Timer F ends it.
func TestClientOtherSilence(t *testing.T) {
	play(t, func(s *stage) {
		s.start(s.udp, request("MESSAGE"))
		s.at(60)
		s.want(`0.000 > MESSAGE
			0.500 > MESSAGE
			1.500 > MESSAGE
			3.500 > MESSAGE
			7.500 > MESSAGE
			11.500 > MESSAGE
			15.500 > MESSAGE
			19.500 > MESSAGE
			23.500 > MESSAGE
			27.500 > MESSAGE
			31.500 > MESSAGE
			32.000 tu transaction: no final response in time`)
		s.alive(0, 0)
	})
}

// RFC 3261, 17.1.2.2: in Proceeding Timer E is T2 and Timer F still ends it; every provisional is passed.
func TestClientOtherProceeding(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.udp, request("MESSAGE"))
		s.at(0.1)
		s.inResponse(s.udp, reply(c, 100, ""))
		s.inResponse(s.udp, reply(c, 182, ""))
		s.at(60)
		s.want(`0.000 > MESSAGE
			0.100 < 100
			0.100 tu 100
			0.100 < 182
			0.100 tu 182
			0.500 > MESSAGE
			4.500 > MESSAGE
			8.500 > MESSAGE
			12.500 > MESSAGE
			16.500 > MESSAGE
			20.500 > MESSAGE
			24.500 > MESSAGE
			28.500 > MESSAGE
			32.000 tu transaction: no final response in time`)
		s.alive(0, 0)
	})
}

// RFC 3261, 17.1.2.2: one final response is passed, from Trying or Proceeding; Timer K absorbs the rest.
func TestClientOtherCompleted(t *testing.T) {
	for _, provisional := range []bool{false, true} {
		play(t, func(s *stage) {
			c := s.start(s.udp, request("MESSAGE"))
			want := `0.000 > MESSAGE`
			if provisional {
				s.inResponse(s.udp, reply(c, 100, ""))
				want += "\n0.000 < 100\n0.000 tu 100"
			}
			s.inResponse(s.udp, reply(c, 404, "b"))
			s.at(1)
			s.inResponse(s.udp, reply(c, 404, "b"))
			s.inResponse(s.udp, reply(c, 200, "b"))
			s.at(4.99)
			s.alive(0, 1)
			s.at(5)
			s.alive(0, 0)
			s.want(want + `
				0.000 < 404
				0.000 tu 404
				1.000 < 404
				1.000 < 200`)
		})
	}
}

// RFC 3261, 17.1.2.2: no Timer E on reliable transports, Timer K is zero.
func TestClientOtherReliable(t *testing.T) {
	play(t, func(s *stage) {
		c := s.start(s.tcp, request("MESSAGE"))
		s.at(20)
		s.inResponse(s.tcp, reply(c, 200, "b"))
		s.alive(0, 0)
		s.start(s.tcp, request("MESSAGE"))
		s.at(60)
		s.alive(0, 0)
		s.want(`0.000 > MESSAGE
			20.000 < 200
			20.000 tu 200
			20.000 > MESSAGE
			52.000 tu transaction: no final response in time`)
		if s.tcp.waiting() != 0 {
			t.Error("OnClose was not stopped")
		}
	})
}
