package wire

import "math/rand/v2"

// letters: tokens compare without case (RFC 3261, 7.3.1), so each carries 5 bits in one case only.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

// MagicCookie starts every branch of RFC 3261 (8.1.1.7).
const MagicCookie = "z9hG4bK"

// NewBranch returns a unique branch (RFC 3261, 8.1.1.7): the magic cookie and 100 random bits, so that nobody can guess a transaction.
// math/rand/v2 is ChaCha8, seeded by the system, for each thread.
func NewBranch() string {
	var b [len(MagicCookie) + 20]byte
	n := copy(b[:], MagicCookie)
	spell(b[n:n+10], rand.Uint64())
	spell(b[n+10:], rand.Uint64())
	return string(b[:])
}

// NewTag returns a tag for From or To with 60 random bits (RFC 3261, 19.3 asks for 32).
func NewTag() string {
	var b [12]byte
	spell(b[:], rand.Uint64())
	return string(b[:])
}

// spell writes 5 bits of x to each byte.
func spell(b []byte, x uint64) {
	for i := range b {
		b[i] = letters[x&31]
		x >>= 5
	}
}
