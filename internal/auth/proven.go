package auth

import (
	"net/netip"
	"time"
)

// Proven is the identity of somebody who has proven it another way, for all that comes over one flow: by VerifyHTTP, since ago.
func (v *Verifier) Proven(user, realm string, from netip.Addr, since time.Duration) Identity {
	issued := v.mint.now() - uint64(max(since, 0)/time.Millisecond)
	return Identity{User: user, Realm: realm, nonce: nonce{issued: issued, source: v.throttle.source(from)}}
}
