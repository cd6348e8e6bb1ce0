package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// algorithm is a hash function that we offer (RFC 8760, 2.1).
type algorithm int

const (
	algMD5 algorithm = iota
	algSHA256
)

func (a algorithm) String() string { return [...]string{"MD5", "SHA-256"}[a] }

// size is the length of a digest in hexadecimal digits (RFC 8760, 2.2).
func (a algorithm) size() int { return [...]int{2 * md5.Size, 2 * sha256.Size}[a] }

// algorithmNamed knows the algorithms by name: the session variants are not offered. MD5 is meant if none is named (RFC 7616, 3.3).
func algorithmNamed(name string, present bool) (algorithm, bool) {
	switch {
	case !present, strings.EqualFold(name, "MD5"):
		return algMD5, true
	case strings.EqualFold(name, "SHA-256"):
		return algSHA256, true
	}
	return 0, false
}

// hash appends H(data) in lower-case hexadecimal digits.
func (a algorithm) hash(dst, data []byte) []byte {
	if a == algMD5 {
		sum := md5.Sum(data)
		return hex.AppendEncode(dst, sum[:])
	}
	sum := sha256.Sum256(data)
	return hex.AppendEncode(dst, sum[:])
}

// respond appends the response of RFC 7616, 3.4.1 (RFC 3261, 22.4) with qop=auth: KD(HA1, nonce:nc:cnonce:qop:H(method:uri)). With an empty method it is
// the rspauth of RFC 7616, 3.5.
func (a algorithm) respond(dst []byte, ha1, method string, c *credentials) []byte {
	var scratch [512]byte
	a2 := append(scratch[:0], method...)
	a2 = append(append(a2, ':'), c.uri...)
	var digits [2 * sha256.Size]byte
	ha2 := a.hash(digits[:0], a2)

	b := append(a2[:0], ha1...)
	for _, s := range [...]string{c.nonce, c.nc, c.cnonce, c.qop} {
		b = append(append(b, ':'), s...)
	}
	b = append(append(b, ':'), ha2...)
	return a.hash(dst, b)
}

// same compares in constant time.
func same(want []byte, response string) bool {
	var got [2 * sha256.Size]byte
	n := copy(got[:], response)
	return len(response) == len(want) && subtle.ConstantTimeCompare(want, got[:n]) == 1
}
