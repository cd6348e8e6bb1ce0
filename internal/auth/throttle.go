package auth

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// throttle refuses sources that sent too many wrong passwords, whatever the account: so nobody can lock alice out from elsewhere.
//
// A failure is charged to the address that its nonce was sent to. Who uses a nonce has received it there, so that nobody can
// get another address refused by forging it as the source of a datagram.
type throttle struct {
	seed    maphash.Seed
	start   time.Time
	buckets [sourceBuckets]struct {
		mu      sync.Mutex
		entries [sourceWays]debtor
	}
}

// debtor is a source with failures; times are those since start.
type debtor struct {
	source uint32
	clear  time.Duration // when all failures are forgiven
	banned time.Duration // until when it is refused
}

func newThrottle() *throttle {
	return &throttle{seed: maphash.MakeSeed(), start: time.Now()}
}

// source names an address: an IPv6 one with its network, of which a host has 2^64 addresses.
func (t *throttle) source(a netip.Addr) uint32 {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		b := a.As16()
		clear(b[8:])
		a = netip.AddrFrom16(b)
	}
	return uint32(maphash.Comparable(t.seed, a))
}

// refused tells for how long a source is still refused, 0 if it is not.
func (t *throttle) refused(source uint32) time.Duration {
	b := &t.buckets[source%sourceBuckets]
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.entries {
		if e := &b.entries[i]; e.source == source {
			return max(0, e.banned-time.Since(t.start))
		}
	}
	return 0
}

// failed charges a wrong password to a source.
func (t *throttle) failed(source uint32) {
	b := &t.buckets[source%sourceBuckets]
	b.mu.Lock()
	defer b.mu.Unlock()
	e := &b.entries[0]
	for i := range b.entries {
		other := &b.entries[i]
		if other.source == source {
			e = other
			break
		}
		if other.clear < e.clear {
			e = other
		}
	}
	if e.source != source {
		*e = debtor{source: source}
	}
	now := time.Since(t.start)
	e.clear = max(e.clear, now) + forgive
	if e.clear-now > failures*forgive {
		e.banned = now + ban
	}
}
