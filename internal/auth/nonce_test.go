package auth

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func open(m *mint, text, realm string) bool {
	_, ok := m.open(text, realm)
	return ok
}

// RFC 7616, 3.3: a nonce is good in its realm for its life, and nobody else can make one.
func TestNonce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMint(bytes.Repeat([]byte{1}, 32), time.Minute)
		b := m.issue("example.org", 7)
		text := string(b[:])
		n, ok := m.open(text, "example.org")
		if !ok || n != (nonce{issued: 1, seq: 1, source: 7}) {
			t.Fatalf("%+v, %v", n, ok)
		}
		other := m.issue("example.org", 7)
		if other == b {
			t.Error("two nonces are the same")
		}
		if open(m, text, "example.net") || open(m, text, "") || open(m, "", "example.org") || open(m, text+"A", "example.org") {
			t.Error("a nonce is good elsewhere")
		}
		if open(newMint(bytes.Repeat([]byte{2}, 32), time.Minute), text, "example.org") {
			t.Error("a nonce made with another key is good")
		}
		// Two runs with the same key: a restart, or another node.
		if open(newMint(bytes.Repeat([]byte{1}, 32), time.Minute), text, "example.org") {
			t.Error("a nonce of another run is good: nobody knows whether it was used")
		}
		time.Sleep(time.Minute)
		if !open(m, text, "example.org") {
			t.Error("too old too early")
		}
		time.Sleep(time.Millisecond)
		if open(m, text, "example.org") {
			t.Error("a nonce is good for ever")
		}
	})
}

// hardening 24: a nonce with one character changed is not ours.
func TestNonceFlipped(t *testing.T) {
	m := newMint(make([]byte, 32), time.Minute)
	b := m.issue("example.org", 0)
	for i := range b {
		for _, c := range []byte("A_-z0=\n\"") {
			if c == b[i] {
				continue
			}
			forged := b
			forged[i] = c
			if open(m, string(forged[:]), "example.org") {
				t.Fatalf("%s is good for %s", forged, b)
			}
		}
	}
	for m := m; ; m = newMint(make([]byte, 32), time.Minute) { // one whose last byte is 0, as the decoder leaves it if a line end takes its place
		b := m.issue("example.org", 0)
		if raw, err := base64.RawURLEncoding.DecodeString(string(b[:])); err != nil || raw[nonceLen-1] != 0 {
			continue
		}
		if open(m, string(b[:nonceTxt-1])+"\n", "example.org") {
			t.Errorf("%s is as good without its end", b)
		}
		break
	}
	if open(m, strings.ToLower(string(b[:]))+"x", "example.org") {
		t.Error("case does not matter")
	}
}
