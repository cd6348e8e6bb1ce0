package turn

import (
	"crypto/rand"
	"sync"
	"time"

	"signalbox/media/udp"
)

const tokenLength = 8 // of RESERVATION-TOKEN (RFC 8656, 18.10)

// reserved is a socket that will be a relay.
type reserved struct {
	at     Relay
	socket *udp.Socket
	user   *account
	until  time.Duration
}

// reservations are ports that are kept for an allocation to come, the next of an even one (RFC 8656, 7.2). Each counts as a relay of its user, so that there are not many.
type reservations struct {
	s    *Server
	mu   sync.Mutex
	kept map[[tokenLength]byte]*reserved
}

func (rs *reservations) keep(r *reserved) (token []byte) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var t [tokenLength]byte
	_, _ = rand.Read(t[:]) // never fails
	rs.kept[t] = r
	return t[:]
}

// claim takes what was reserved for a user; nil if there is nothing, or it is somebody else's.
func (rs *reservations) claim(token [tokenLength]byte, user *account) *reserved {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.kept[token]
	if r == nil || r.user != user || r.until <= rs.s.clock.now() {
		return nil
	}
	delete(rs.kept, token)
	return r
}

// expire frees what nobody came for in time, or everything at the end of time.
func (rs *reservations) expire(now time.Duration) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for token, r := range rs.kept {
		if r.until <= now {
			r.socket.Close()
			rs.s.accounts.give(r.user)
			delete(rs.kept, token)
		}
	}
}
