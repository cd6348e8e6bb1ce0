package transaction

import (
	"errors"
	"strings"
	"testing"
	"time"

	"signalbox/internal/wire"
)

// RFC 3261, 17.2.2: Trying discards retransmissions, Completed answers them with the same response until Timer J; other finals are discarded.
func TestServerOther(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.udp, request("MESSAGE"))
		s.at(0.5)
		s.in(s.udp, request("MESSAGE"))
		s.respond(200, "b")
		s.respond(500, "b")
		s.at(1.5)
		s.in(s.udp, request("MESSAGE"))
		s.at(32.49)
		s.alive(1, 0)
		s.at(32.5)
		s.alive(0, 0)
		s.respond(200, "b") // RFC 4320, 4.2: no late response
		s.want(`0.000 < MESSAGE
			0.000 tu MESSAGE
			0.500 < MESSAGE
			0.500 > 200
			1.500 < MESSAGE
			1.500 > 200`)
		if s.udp.sent[0] != s.udp.sent[1] {
			t.Error("the retransmission differs")
		}
	})
}

// RFC 3261, 17.2.2: Timer J is zero on reliable transports.
func TestServerOtherReliable(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error { tx.Reply(200, ""); return nil }
		s.in(s.tcp, request("OPTIONS"))
		s.alive(0, 0)
		s.want(`0.000 < OPTIONS
			0.000 tu OPTIONS
			0.000 > 200`)
	})
}

// RFC 4320, 4.1: no provisional but 100; on UDP that not before 3.5 s, when Timer E has reached T2; then always. Proceeding sends it again.
func TestServerOtherTrying(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.udp, request("MESSAGE"))
		s.respond(100, "")
		s.respond(180, "b")
		s.at(3.49)
		s.want(`0.000 < MESSAGE
			0.000 tu MESSAGE`)
		s.at(3.6)
		s.in(s.udp, request("MESSAGE"))
		s.respond(100, "")
		s.respond(183, "b")
		s.respond(200, "b")
		s.want(`3.500 > 100
			3.600 < MESSAGE
			3.600 > 100
			3.600 > 100
			3.600 > 200`)
	})
}

// RFC 4320, 4.1: a 100 at any time on a reliable transport, and after 3.5 s in any case.
func TestServerOtherTryingReliable(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.tcp, request("MESSAGE"))
		s.respond(100, "")
		s.respond(180, "b")
		s.in(s.tcp, request("INFO"))
		s.at(4)
		s.want(`0.000 < MESSAGE
			0.000 tu MESSAGE
			0.000 > 100
			0.000 < INFO
			0.000 tu INFO
			3.500 > 100`)
	})
}

// RFC 4320, 4.2: a 408 is never sent to a non-INVITE; the transaction goes on absorbing and ends in silence.
func TestServerOtherTimeout(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.udp, request("MESSAGE"))
		s.at(1)
		s.respond(408, "b")
		s.respond(200, "b")
		s.at(2)
		s.in(s.udp, request("MESSAGE"))
		s.at(32.9)
		s.alive(1, 0)
		s.at(33)
		s.alive(0, 0)
		s.in(s.tcp, request("MESSAGE"))
		s.respond(408, "b")
		s.alive(0, 0)
		s.want(`0.000 < MESSAGE
			0.000 tu MESSAGE
			2.000 < MESSAGE
			33.000 < MESSAGE
			33.000 tu MESSAGE`)
	})
}

// RFC 4320, 4.2: what is not answered before the client gives up is not answered at all.
func TestServerOtherNeverAnswered(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.tcp, request("MESSAGE"))
		s.at(31.9)
		s.alive(1, 0)
		s.at(32)
		s.alive(0, 0)
		s.respond(200, "b")
		if s.layer.Active() != 0 {
			t.Error("still active")
		}
		s.want(`0.000 < MESSAGE
			0.000 tu MESSAGE
			3.500 > 100`)
	})
}

// A returned error is the final response: a *wire.Error as it says, any other 500.
func TestServerFail(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"wire.Error", wire.Errorf(420, "", "unknown option").With("Unsupported", "x"), "SIP/2.0 420"},
		{"wrapped", errors.Join(wire.Errorf(403, "Not You", "from")), "SIP/2.0 403 Not You"},
		{"other", errors.New("secret detail"), "SIP/2.0 500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var codes []int
			play(t, func(s *stage) {
				s.serve = func(*Server) error { return c.err }
				s.in(s.udp, request("MESSAGE"))
				if got := s.udp.last(); !strings.HasPrefix(got, c.want) || strings.Contains(got, "secret") {
					t.Errorf("got %s", got)
				}
				if c.name == "wire.Error" && !strings.Contains(s.udp.last(), "Unsupported: x\r\n") {
					t.Errorf("no header in %s", s.udp.last())
				}
				s.tx.Fail(c.err) // too late
				if len(s.udp.sent) != 1 || len(codes) != 1 {
					t.Errorf("%d responses, %d finished", len(s.udp.sent), len(codes))
				}
			}, func(config *Config) {
				config.Finished = func(_ *Server, code int, _ time.Duration) { codes = append(codes, code) }
			})
		})
	}
}

// Responses of one transaction have one To tag (RFC 3261, 8.2.6.2).
func TestServerTag(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error { tx.Reply(180, ""); tx.Reply(200, ""); return nil }
		s.in(s.udp, request("INVITE"))
		a, b := parse(t, s.udp.sent[0]).(*wire.Response), parse(t, s.udp.sent[1]).(*wire.Response)
		if a.To.Tag == "" || a.To.Tag != b.To.Tag {
			t.Errorf("tags %q and %q", a.To.Tag, b.To.Tag)
		}
	})
}
