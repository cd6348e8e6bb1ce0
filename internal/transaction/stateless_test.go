package transaction

import (
	"fmt"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// tagOf is the To tag of a response.
func tagOf(t *testing.T, text string) string {
	t.Helper()
	return parse(t, text).(*wire.Response).To.Tag
}

// crowd makes a quarter of the transactions that may be.
func (s *stage) crowd() {
	s.serve = func(tx *Server) error { tx.Reply(200, ""); return nil }
	for i := range 4 {
		s.in(s.tcp, request("INVITE", "z9hG4bKa1", fmt.Sprintf("z9hG4bKo%d", i)))
	}
}

// hardening 53, hardening 55 and RFC 3261, 26.3.2.4: who shows no credentials is challenged once for each request, and nothing is kept; a retransmission hears the same To tag (RFC 3261, 8.2.7).
func TestStatelessChallenge(t *testing.T) {
	for method, code := range map[string]int{"REGISTER": 401, "MESSAGE": 407, "INVITE": 407} {
		t.Run(method, func(t *testing.T) {
			play(t, func(s *stage) {
				s.crowd()
				asked := 0
				s.serve = func(tx *Server) error {
					asked++
					return wire.Errorf(code, "", "test").With("WWW-Authenticate", fmt.Sprintf(`Digest realm="example.org", nonce="%d"`, asked))
				}
				req := request(method)
				for range 2 {
					s.in(s.udp, req)
					s.alive(4, 0)
				}
				if len(s.udp.sent) != 2 || asked != 2 || s.layer.Active() != 0 {
					t.Fatalf("asked %d times, sent %q", asked, s.udp.sent)
				}
				tag := tagOf(t, s.udp.sent[0])
				if again := tagOf(t, s.udp.sent[1]); tag == "" || again != tag || !strings.Contains(s.udp.sent[1], `nonce="2"`) {
					t.Errorf("tags %q, then %q", tag, again)
				}
				s.serve = func(*Server) error { t.Error("the ACK to a challenge is nobody else's"); return nil }
				s.in(s.udp, request("ACK", "bob@example.org>", "bob@example.org>;tag="+tag))
				s.at(40)
				if len(s.udp.sent) != 2 {
					t.Errorf("sent %q", s.udp.sent[2:])
				}
			}, func(c *Config) { c.Limits.Transactions = 16 })
		})
	}
}

// RFC 3261, 17.2.1 and 17.2.2: while there is room, with credentials, within a dialog, or after a 100 the challenge is that of a transaction as any other response.
func TestStatefulChallenge(t *testing.T) {
	for name, tt := range map[string]struct {
		replace []string
		trying  bool
		room    bool
	}{
		"room":        {room: true},
		"credentials": {replace: []string{"Max-Forwards: 70", "Max-Forwards: 70\r\nAuthorization: Digest username=\"alice\""}},
		"dialog":      {replace: []string{"bob@example.org>", "bob@example.org>;tag=b"}},
		"trying":      {trying: true},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				others := 0
				if !tt.room {
					s.crowd()
					others = 4
				}
				s.serve = func(tx *Server) error {
					if tt.trying {
						tx.Reply(100, "")
					}
					return wire.Errorf(401, "", "test")
				}
				s.in(s.udp, request("INVITE", tt.replace...))
				s.alive(others+1, 0)
				last := s.udp.last()
				if s.in(s.udp, request("INVITE", tt.replace...)); s.udp.last() != last {
					t.Error("a retransmission hears something else")
				}
				s.in(s.udp, request("ACK", "bob@example.org>", "bob@example.org>;tag="+tagOf(t, last)))
				s.at(40)
				s.alive(0, 0)
			}, func(c *Config) { c.Limits.Transactions = 16 })
		})
	}
}
