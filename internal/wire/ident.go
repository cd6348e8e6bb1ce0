package wire

import (
	"encoding/base64"
	"math/rand/v2"
)

// letters: tokens compare without case (RFC 3261, 7.3.1), so each carries 5 bits in one case only.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

// MagicCookie starts every branch of RFC 3261 (8.1.1.7).
const MagicCookie = "z9hG4bK"

// userText is base 64 of unreserved characters (RFC 3261, 25.1), where "." stands for "C": some look for header fields anywhere in a message, and a Record-Route
// in which chance had spelt "CSeq" was a failed call to SIPp.
const userText = "AB.DEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// UserText is how bytes are written in the user parts of our URIs. Case counts there (RFC 3261, 19.1.4).
var UserText = base64.NewEncoding(userText).WithPadding(base64.NoPadding).Strict()

// IsUserText tells whether s may have been written by [UserText].
func IsUserText(s string) bool { return all(s, isUserText) }

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
