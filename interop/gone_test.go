package interop

import (
	"testing"
	"time"
)

// RFC 3261, 18.4: the port of a phone is closed: ICMP says so, and the caller hears it at once, not when Timer B fires. hardening 56
func TestPhoneGone(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			s := newVictim(t, "", "", "alice", "bob")
			bob, alice := s.dial(proto, "bob"), s.dial("udp", "alice")
			if code := bob.registerAs("bob"); code != 200 {
				t.Fatal(code)
			}
			bob.conn.Close()
			began := time.Now()
			if res := alice.ask("INVITE", "sip:bob@"+domain, "To: <sip:bob@"+domain+">"); res.code() != 480 {
				t.Errorf("after %v: %s", time.Since(began), res.start)
			}
		})
	}
}
