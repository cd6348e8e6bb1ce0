package auth

import "sync"

// used remembers which counts of which nonces were accepted, so that no request is accepted twice (RFC 7616, 3.4 nc). Its size is fixed:
// when a bucket is full it forgets the nonce that was issued first, and from then on takes no nonce that is as old as that and
// unknown to it. So a replay is never accepted, whatever was forgotten.
type used struct {
	buckets [usedBuckets]bucket
}

type bucket struct {
	mu        sync.Mutex
	forgotten uint64 // nonces issued then or before are known or stale
	entries   [usedWays]counts
}

// counts are the nonce counts accepted for one nonce.
type counts struct {
	seq, issued uint64 // 0 when the entry is empty
	seen        uint64 // bit i: top-i was accepted
	top         uint32 // the highest
}

// mark accepts a count of a nonce, once.
func (u *used) mark(n nonce, nc uint32) bool {
	b := &u.buckets[n.seq%usedBuckets]
	b.mu.Lock()
	defer b.mu.Unlock()
	oldest := &b.entries[0]
	for i := range b.entries {
		e := &b.entries[i]
		if e.seq == n.seq {
			return e.mark(nc)
		}
		if e.issued < oldest.issued {
			oldest = e
		}
	}
	if n.issued <= b.forgotten {
		return false
	}
	b.forgotten = max(b.forgotten, oldest.issued)
	*oldest = counts{seq: n.seq, issued: n.issued, top: nc, seen: 1}
	return true
}

// mark accepts a count that is higher than all before, or within the window below and new: requests overtake each other.
func (e *counts) mark(nc uint32) bool {
	if nc > e.top {
		e.seen = e.seen<<(nc-e.top) | 1 // shifted by more than its width it is 0
		e.top = nc
		return true
	}
	bit := uint64(1) << (e.top - nc)
	if e.top-nc >= window || e.seen&bit != 0 {
		return false
	}
	e.seen |= bit
	return true
}
