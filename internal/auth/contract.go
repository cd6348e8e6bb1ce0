// Package auth is Digest access authentication for SIP (RFC 3261, 22; RFC 7616; RFC 8760) ...
package auth

import (
	"time"

	"signalbox/internal/wire"
)

// Users gives the HA1 values of an account, lower-case hex, "" for an algorithm that is not stored.
type Users interface {
	HA1(name, realm string) (md5, sha256 string, ok bool)
}

// Verifier challenges and verifies. It keeps no table of nonces.
type Verifier struct{}

type Config struct {
	Users  Users
	Key    []byte        // 32 bytes, persisted, so that a restart does not make every nonce stale
	Nonce  time.Duration // life of a nonce; default in limits.go
	Failed func(user, source string) // wrong password seen; nil is silent
}

func NewVerifier(c Config) (*Verifier, error) { return nil, nil }

// Scope says which header fields are used.
type Scope int

const (
	Registrar Scope = iota // 401, WWW-Authenticate, Authorization (RFC 3261, 22.2)
	Proxy                  // 407, Proxy-Authenticate, Proxy-Authorization (22.3)
)

// Identity is who was proven.
type Identity struct {
	User, Realm string
	Info        string // value of Authentication-Info (rspauth, nextnonce, qop, cnonce, nc) for the 2xx; RFC 7616, 3.5
}

// Verify returns who sent the request, or the ready 401/407 (or 400, 403, 429-like throttle) as error. proto orders the challenges: MD5 first on WS and WSS, SHA-256 first elsewhere.
func (v *Verifier) Verify(req *wire.Request, scope Scope, realm string, from wire.FlowID) (Identity, *wire.Error) {
	return Identity{}, nil
}
