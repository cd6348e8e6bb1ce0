package transaction

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// RFC 3261, 17.2.1: the layer generates a 100 unless the user has answered; it has no To tag of ours; the latest provisional is sent again.
func TestServerINVITEProceeding(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.udp, request("INVITE"))
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100`)
		if strings.Contains(s.udp.last(), "To: Bob <sip:bob@example.org>;tag") {
			t.Error("100 with a To tag")
		}
		s.at(0.5)
		s.in(s.udp, request("INVITE"))
		s.respond(180, "b")
		s.respond(183, "b")
		s.in(s.udp, request("INVITE"))
		s.want(`0.500 < INVITE
			0.500 > 100
			0.500 > 180
			0.500 > 183
			0.500 < INVITE
			0.500 > 183`)
		// An ACK means nothing yet.
		s.in(s.udp, request("ACK"))
		s.want(`0.500 < ACK`)
		// Proceeding has no timer: a call may ring for ever.
		s.at(3600)
		s.want(``)
		s.alive(1, 0)
		if s.layer.Active() != 1 {
			t.Error("not active")
		}
	})
}

// RFC 3261, 17.2.1: no 100 when the user has answered within 200 ms, that is, at once.
func TestServerINVITEAnsweredAtOnce(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error { tx.Reply(486, ""); return nil }
		s.in(s.tcp, request("INVITE"))
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 486`)
		s.at(0)
		if s.layer.Active() != 0 || !s.tx.Responded() {
			t.Error("still active")
		}
	})
}

// RFC 6026, 7.1 and 8.6: Accepted absorbs the INVITE, sends every 2xx of the user and nothing else, passes ACKs, and ends by Timer L.
func TestServerINVITEAccepted(t *testing.T) {
	for _, proto := range []wire.Proto{wire.UDP, wire.TCP} {
		play(t, func(s *stage) {
			f := map[wire.Proto]*fakeFlow{wire.UDP: s.udp, wire.TCP: s.tcp}[proto]
			s.in(f, request("INVITE"))
			s.respond(200, "b")
			s.want(`0.000 < INVITE
				0.000 tu INVITE
				0.000 > 100
				0.000 > 200`)
			s.at(1)
			s.in(f, request("INVITE"))
			s.respond(200, "b") // 13.3.1.4: the user's retransmission
			s.respond(200, "c") // another fork
			s.respond(180, "b")
			s.respond(486, "b")
			s.tx.Reply(500, "")
			s.want(`1.000 < INVITE
				1.000 > 200
				1.000 > 200`)
			s.in(f, request("ACK"))
			s.in(f, request("ACK"))
			s.want(`1.000 < ACK
				1.000 tu ACK
				1.000 < ACK
				1.000 tu ACK`)
			s.at(31.99)
			s.alive(1, 0)
			s.at(32)
			s.alive(0, 0)
			s.respond(200, "b") // RFC 6026, 8.3: simply discarded
			s.want(``)
		})
	}
}

// RFC 3261, 17.2.1: Timer G from T1, doubling to T2, until Timer H ends it and the user is told.
func TestServerINVITELostACK(t *testing.T) {
	play(t, func(s *stage) {
		var failure error
		s.serve = func(tx *Server) error {
			tx.Trust()
			tx.OnFailure(func(err error) { failure = err })
			return nil
		}
		s.in(s.udp, request("INVITE"))
		s.respond(486, "b")
		s.at(60)
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100
			0.000 > 486
			0.500 > 486
			1.500 > 486
			3.500 > 486
			7.500 > 486
			11.500 > 486
			15.500 > 486
			19.500 > 486
			23.500 > 486
			27.500 > 486
			31.500 > 486`)
		s.alive(0, 0)
		if !errors.Is(failure, errNotAcknowledged) {
			t.Errorf("user was told %v", failure)
		}
		for _, b := range s.udp.sent[1:] {
			if b != s.udp.sent[1] {
				t.Error("a retransmission differs")
			}
		}
	})
}

// RFC 3261, 17.2.1: Completed answers retransmissions; the ACK ends Timer G, Timer I absorbs what still comes.
func TestServerINVITEConfirmed(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.udp, request("INVITE"))
		s.respond(486, "b")
		s.at(0.2)
		s.in(s.udp, request("INVITE"))
		s.respond(200, "b") // crossing: the machine never lets it pass
		s.respond(180, "b") // a late 180 after 486
		s.at(0.6)
		s.in(s.udp, request("ACK", "To: Bob <sip:bob@example.org>", "To: Bob <sip:bob@example.org>;tag=b"))
		s.in(s.udp, request("ACK"))
		s.in(s.udp, request("INVITE"))
		s.at(5.59)
		s.alive(1, 0)
		s.at(6) // the next half second
		s.alive(0, 0)
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100
			0.000 > 486
			0.200 < INVITE
			0.200 > 486
			0.500 > 486
			0.600 < ACK
			0.600 < ACK
			0.600 < INVITE`)
	})
}

// RFC 3261, 17.2.1: on reliable transports there is no Timer G, and Timer I is zero.
func TestServerINVITEReliable(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.tcp, request("INVITE"))
		s.respond(404, "b")
		s.at(31)
		s.alive(1, 0)
		s.in(s.tcp, request("ACK"))
		s.alive(0, 0)
		s.at(31)
		s.in(s.tcp, request("INVITE", "z9hG4bKa1", "z9hG4bKa2"))
		s.respond(404, "b")
		s.at(62.9)
		s.alive(1, 0)
		s.at(63)
		s.alive(0, 0) // Timer H
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100
			0.000 > 404
			31.000 < ACK
			31.000 < INVITE
			31.000 tu INVITE
			31.000 > 100
			31.000 > 404`)
	})
}

// RFC 3261, 8.2.7 and 26.3.2.4: what a stranger is refused at once forgoes Timer G, so that a spoofed INVITE is answered once (hardening 53). Who is authenticated hears it again
// (RFC 3261, 17.2.1).
func TestServerINVITEStranger(t *testing.T) {
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error { tx.Reply(407, ""); return nil }
		s.in(s.udp, request("INVITE"))
		s.at(2)
		s.in(s.udp, request("INVITE"))
		s.at(31.9)
		s.alive(1, 0)
		s.at(32)
		s.alive(0, 0)
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 407
			2.000 < INVITE
			2.000 > 407`)
		s.serve = func(tx *Server) error { tx.Reply(482, ""); return nil }
		s.in(s.udp, request("INVITE", "z9hG4bKa1", "z9hG4bKa2"))
		s.serve = func(tx *Server) error { tx.Trust(); tx.Reply(483, ""); return nil }
		s.in(s.udp, request("INVITE", "z9hG4bKa1", "z9hG4bKa3"))
		s.at(33)
		s.want(`32.000 < INVITE
			32.000 tu INVITE
			32.000 > 482
			32.000 < INVITE
			32.000 tu INVITE
			32.000 > 483
			32.500 > 483`)
	})
}

// hardening 53 and RFC 3261, 26.3.2.4: over UDP a stranger hears the first answers to its INVITE, copies only while all is less than three bytes for each that it has sent. Who is
// authenticated hears all of them (RFC 3261, 17.2.1), and so does who came by TCP.
func TestServerINVITEAllowance(t *testing.T) {
	padded := request("INVITE", "Max-Forwards: 70", "Max-Forwards: 70\r\nSubject: "+strings.Repeat("x", 600))
	ring := func(t *testing.T, f func(*stage) *fakeFlow, req *wire.Request, trust bool, final int) (sent []string) {
		play(t, func(s *stage) {
			s.serve = func(tx *Server) error {
				if trust {
					tx.Trust()
				}
				return nil
			}
			flow := f(s)
			s.in(flow, req)
			for range 20 {
				s.respond(180, "b")
			}
			for range 20 {
				s.respond(final, "b")
			}
			s.respond(final, "c")
			s.at(40)
			sent = flow.sent
		})
		return sent
	}
	udp := func(s *stage) *fakeFlow { return s.udp }
	tcp := func(s *stage) *fakeFlow { return s.tcp }
	count := func(sent []string, code string) (n, bytes int) {
		for _, text := range sent {
			bytes += len(text)
			if text[8:11] == code {
				n++
			}
		}
		return n, bytes
	}
	for _, req := range []*wire.Request{request("INVITE"), padded} {
		size := len(wire.Append(nil, req))
		for _, final := range []int{486, 200} {
			code := fmt.Sprint(final)
			sent := ring(t, udp, req, false, final)
			n, bytes := count(sent, code)
			if sent[0][8:11] != "100" || n == 0 {
				t.Errorf("%d to a stranger: %q", final, sent)
			}
			if forks := len(sent[len(sent)-1]); bytes > 3*size+forks {
				t.Errorf("%d to a stranger: %d bytes for %d", final, bytes, size)
			}
			if final == 200 && !strings.Contains(sent[len(sent)-1], ";tag=c") {
				t.Error("a stranger does not hear of another dialog (RFC 6026, 7.1)")
			}
			want := map[int]int{486: 11, 200: 21}[final]
			if n, _ := count(ring(t, udp, req, true, final), code); n != want {
				t.Errorf("%d to a user: %d times, want %d", final, n, want)
			}
		}
		if n, _ := count(ring(t, tcp, req, false, 200), "200"); n != 21 {
			t.Errorf("200 over TCP: %d times", n)
		}
	}
	// What is sent again may be heard again, and adds to what may be.
	play(t, func(s *stage) {
		s.in(s.udp, request("INVITE"))
		s.respond(486, "b")
		for range 10 {
			s.in(s.udp, request("INVITE"))
		}
		s.at(0.5)
		if n, _ := count(s.udp.sent, "486"); n != 12 {
			t.Errorf("%d times", n)
		}
	})
}

// RFC 3261, 17.2.4 and RFC 6026, 8.8: a response that cannot be sent changes no state, and the user is told; a full datagram queue is a lost datagram.
func TestServerINVITETransportError(t *testing.T) {
	play(t, func(s *stage) {
		var failures []error
		s.serve = func(tx *Server) error {
			tx.OnFailure(func(err error) { failures = append(failures, err) })
			return nil
		}
		s.udp.fail(transport.ErrFull)
		s.in(s.udp, request("INVITE"))
		s.udp.fail(transport.ErrClosed)
		s.respond(486, "b")
		s.respond(486, "b")
		s.alive(1, 0)
		s.udp.fail(nil)
		s.in(s.udp, request("INVITE"))
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 < INVITE
			0.000 > 486`)
		if len(failures) != 1 || !errors.Is(failures[0], ErrTransport) {
			t.Errorf("user was told %v", failures)
		}
	})
}

// RFC 3261, 18.2.2: the response goes to a new connection when the one of the request is gone.
func TestServerFallback(t *testing.T) {
	var other *fakeFlow
	play(t, func(s *stage) {
		other = s.flow(wire.TCP, "192.0.2.1:5060")
		s.in(s.tcp, request("INVITE"))
		s.tcp.close()
		s.respond(180, "b")
		s.respond(486, "b")
		s.in(other, request("ACK"))
		s.alive(0, 0)
		s.want(`0.000 < INVITE
			0.000 tu INVITE
			0.000 > 100
			0.000 > 180
			0.000 > 486
			0.000 < ACK`)
		if len(other.sent) != 2 {
			t.Errorf("%d messages on the new connection", len(other.sent))
		}
	}, func(c *Config) {
		c.Fallback = func(top *wire.Via) (transport.Flow, error) {
			if top.Host != "192.0.2.1" {
				t.Errorf("fallback to %s", top.Raw)
			}
			return other, nil
		}
	})
}

// RFC 3261, 18.2.2: and is lost when that fails too.
func TestServerFallbackFails(t *testing.T) {
	play(t, func(s *stage) {
		s.in(s.tcp, request("MESSAGE"))
		s.tcp.close()
		s.respond(200, "b")
		s.alive(0, 0)
	}, func(c *Config) {
		c.Fallback = func(*wire.Via) (transport.Flow, error) { return nil, errors.New("no route") }
	})
}
