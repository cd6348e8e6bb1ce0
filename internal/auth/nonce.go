package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"sync"
	"sync/atomic"
	"time"
)

// A nonce is base64url of the fields below, authenticated with our key, so that there is no table of nonces (RFC 7616, 3.3). They are
// offsets; the realm is under the MAC too.
const (
	atBoot   = 0                // which run of which server made it
	atIssued = atBoot + 5       // milliseconds of that run, from 1
	atSeq    = atIssued + 5     // number within that run, from 1
	atSource = atSeq + 5        // whom it was sent to
	atMAC    = atSource + 4     // 112 bits
	nonceLen = atMAC + 14       // bytes
	nonceTxt = nonceLen / 3 * 4 // characters
)

// nonce is what an authentic nonce says.
type nonce struct {
	issued uint64 // milliseconds of this run, from 1
	seq    uint64 // unique in this run, from 1
	source uint32 // see throttle
}

// mint makes nonces and knows its own again. Time is that of the run, which no change of the clock alters; nonces of an earlier run are
// stale, for nobody remembers which of them were used.
type mint struct {
	boot  [atIssued - atBoot]byte
	start time.Time
	life  time.Duration
	seq   atomic.Uint64
	macs  sync.Pool // of *mac
}

type mac struct {
	hash hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

func newMint(key []byte, life time.Duration) *mint {
	m := &mint{start: time.Now(), life: life}
	rand.Read(m.boot[:]) // never fails
	m.macs.New = func() any { return &mac{hash: hmac.New(sha256.New, key)} }
	return m
}

// now is the time of this run in milliseconds, from 1.
func (m *mint) now() uint64 { return uint64(time.Since(m.start)/time.Millisecond) + 1 }

// issue makes a nonce for a realm and the source it is sent to.
func (m *mint) issue(realm string, source uint32) [nonceTxt]byte {
	var b [nonceLen]byte
	copy(b[atBoot:], m.boot[:])
	put(b[atIssued:atSeq], m.now())
	put(b[atSeq:atSource], m.seq.Add(1))
	put(b[atSource:atMAC], uint64(source))
	m.sign(b[atMAC:], b[:atMAC], realm)
	var text [nonceTxt]byte
	base64.RawURLEncoding.Encode(text[:], b[:])
	return text
}

// open reads a nonce of ours. ok is false if it is forged, for another realm, of another run, or too old.
func (m *mint) open(text, realm string) (n nonce, ok bool) {
	if len(text) != nonceTxt {
		return nonce{}, false
	}
	var src [nonceTxt]byte
	copy(src[:], text)
	var b [nonceLen]byte
	// The decoder passes over line ends: what is short of a byte is not what we wrote.
	if size, err := base64.RawURLEncoding.Decode(b[:], src[:]); err != nil || size != nonceLen {
		return nonce{}, false
	}
	var sum [nonceLen - atMAC]byte
	m.sign(sum[:], b[:atMAC], realm)
	if subtle.ConstantTimeCompare(sum[:], b[atMAC:]) != 1 || [len(m.boot)]byte(b[atBoot:]) != m.boot {
		return nonce{}, false
	}
	n = nonce{issued: get(b[atIssued:atSeq]), seq: get(b[atSeq:atSource]), source: uint32(get(b[atSource:atMAC]))}
	return n, m.now()-n.issued <= uint64(m.life/time.Millisecond)
}

// sign fills dst with the MAC over text, whose length is fixed, and realm.
func (m *mint) sign(dst, text []byte, realm string) {
	p := m.macs.Get().(*mac)
	p.hash.Reset()
	p.text = append(append(p.text[:0], text...), realm...)
	p.hash.Write(p.text)
	copy(dst, p.hash.Sum(p.sum[:0]))
	m.macs.Put(p)
}

// put and get are big-endian numbers of the slice's width.
func put(b []byte, x uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte(x)
		x >>= 8
	}
}

func get(b []byte) (x uint64) {
	for _, c := range b {
		x = x<<8 | uint64(c)
	}
	return x
}
