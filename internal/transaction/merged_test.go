package transaction

import "testing"

// RFC 3261, 8.2.2.2: the same request by another way is merged, its retransmission and a new request are not.
func TestMerged(t *testing.T) {
	for _, c := range []struct {
		name    string
		replace []string
		merged  bool
	}{
		{"other branch", nil, true},
		{"other sent-by", []string{"UDP 192.0.2.1", "UDP 192.0.2.2"}, true},
		{"other From tag", []string{"tag=a", "tag=c"}, false},
		{"other Call-ID", []string{"c1@", "c2@"}, false},
		{"other CSeq", []string{"CSeq: 1", "CSeq: 2"}, false},
		{"To tag", []string{"bob@example.org>", "bob@example.org>;tag=b"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, func(s *stage) {
				var merged bool
				s.serve = func(tx *Server) error {
					merged = tx.Merged()
					if tx.Merged() != merged {
						t.Error("asked twice, answered twice")
					}
					return nil
				}
				s.in(s.udp, request("MESSAGE"))
				if merged {
					t.Error("merged with itself")
				}
				s.respond(200, "b") // completed is still there
				second := append([]string{"z9hG4bKa1", "z9hG4bKa2"}, c.replace...)
				s.in(s.udp, request("MESSAGE", second...))
				if merged != c.merged {
					t.Errorf("merged: %t", merged)
				}
				s.at(100)
				s.in(s.udp, request("MESSAGE", second...))
				if merged {
					t.Error("merged with a transaction that is over")
				}
			})
		})
	}
}
