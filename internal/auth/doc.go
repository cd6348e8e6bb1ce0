// Package auth is Digest access authentication for SIP (RFC 3261, 22; RFC 7616; RFC 8760): it says who sent a request, or returns the
// 401 or 407 that asks for it.
//
// The registrar calls it for REGISTER (RFC 3261, 22.2), the proxy for every other request from an address of our domains
// (RFC 3261, 22.3). ACK and CANCEL cannot be challenged (RFC 3261, 22.1): nobody calls it for them.
//
// In place of credentials a phone may show the token of its login (RFC 8898): session.go.
//
// It offers SHA-256 and MD5 with qop=auth, and only HA1 values are known to it. Nonces carry their own proof, so a challenge costs no
// memory; what was used is remembered, so that a request is accepted once. Both that memory and the one of sources that failed too
// often have a fixed size: see limits.go.
package auth
