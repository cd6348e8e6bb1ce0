// Package media lets browsers and phones hear each other: it stands between two legs of a call whose ways to carry media differ, and turns packets and
// session descriptions of one into those of the other. A browser's leg is ICE-lite (RFC 8445, 2.5), DTLS-SRTP (RFC 5763; RFC 5764) and everything on one
// UDP port (RFC 8843; RFC 5761); a phone's leg is RTP, or SRTP with keys in its description (RFC 4568) where its signalling is TLS. Nothing is transcoded:
// descriptions are narrowed to what both sides have.
//
// An Engine owns the sockets. A Bridge is one call: package proxy asks for one through its interface Anchor when a branch needs it, and gives
// it each offer and answer that passes (RFC 3264). An Echo is a call that ends here. Signalling changes a bridge under its lock; packets never take it: a
// packet is read, deciphered, rewritten, enciphered and sent by the goroutine that read it, by an immutable route that signalling published.
//
// What bounds it stands in limits.go.
package media
