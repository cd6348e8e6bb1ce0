// Package icelite answers the connectivity checks of browsers (RFC 8445, 2.5 and 7.3; RFC 8489): it is the whole of ICE that a server with a public
// address needs. It reads and writes bytes and keeps nothing; package media knows the sessions, and calls it for everything on the shared port that
// looks like STUN. Nothing here grows: a check is a view into its datagram.
package icelite

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
)

const (
	headerSize = 20
	cookie     = 0x2112A442 // RFC 8489, 5

	bindingRequest = 0x0001
	bindingSuccess = 0x0101
	bindingError   = 0x0111

	// RFC 8489, 18.3; RFC 8445, 16.1
	attrUsername         = 0x0006
	attrMessageIntegrity = 0x0008
	attrErrorCode        = 0x0009
	attrXORMappedAddress = 0x0020
	attrPriority         = 0x0024
	attrUseCandidate     = 0x0025
	attrFingerprint      = 0x8028
	attrICEControlled    = 0x8029
	attrICEControlling   = 0x802A

	fingerprintXOR = 0x5354554e // RFC 8489, 14.7

	// maxUsername is RFC 8489, 14.3's bound.
	maxUsername = 509
)

// Check is one binding request of a browser.
type Check struct {
	raw       []byte
	username  []byte
	integrity int // offset of MESSAGE-INTEGRITY
	Nominates bool
	conflict  bool // the peer thinks that we are in control
}

// Is tells whether a datagram looks like STUN. RFC 7983
func Is(b []byte) bool { return len(b) >= headerSize && b[0] < 4 }

// Parse reads a connectivity check. What is not one, is malformed, or carries no proof, is not ok: nobody is answered who does not know a
// password. RFC 8445, 7.3
func Parse(b []byte) (c Check, ok bool) {
	if !Is(b) || binary.BigEndian.Uint16(b) != bindingRequest || binary.BigEndian.Uint32(b[4:]) != cookie ||
		int(binary.BigEndian.Uint16(b[2:]))+headerSize != len(b) || len(b)%4 != 0 {
		return c, false
	}
	c.raw = b
	priority := false
	for at := headerSize; at < len(b); {
		if len(b)-at < 4 {
			return c, false
		}
		kind, size := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		value := b[at+4:]
		if size > len(value) {
			return c, false
		}
		value = value[:size]
		if c.integrity != 0 { // RFC 8489, 14.5: after it only the fingerprint counts
			return c, kind == attrFingerprint && size == 4 && at+8 == len(b) && checksum(b[:at]) == binary.BigEndian.Uint32(value) && c.username != nil && priority
		}
		switch kind {
		case attrUsername:
			if c.username != nil || size == 0 || size > maxUsername {
				return c, false
			}
			c.username = value
		case attrMessageIntegrity:
			if size != sha1.Size {
				return c, false
			}
			c.integrity = at
		case attrPriority:
			priority = size == 4
		case attrUseCandidate:
			c.Nominates = true
		case attrICEControlled:
			c.conflict = true
		case attrICEControlling, attrFingerprint:
		default:
			if kind < 0x8000 { // comprehension-required. RFC 8489, 14
				return c, false
			}
		}
		at += 4 + (size+3)&^3
	}
	return c, c.integrity != 0 && c.username != nil && priority
}

// Ufrag is our fragment of the user name: it says which session is meant. RFC 8445, 7.2.2
func (c *Check) Ufrag() []byte {
	for i, b := range c.username {
		if b == ':' {
			return c.username[:i]
		}
	}
	return nil
}

// Authentic tells whether who sent the check knows our password. RFC 8489, 14.5
func (c *Check) Authentic(pwd string) bool {
	var sum [sha1.Size]byte
	mac(sum[:0], c.raw[:c.integrity], pwd)
	return hmac.Equal(sum[:], c.raw[c.integrity+4:c.integrity+4+sha1.Size])
}

// Conflict tells that the peer claims to be controlled. A lite agent is never in control of a full one. RFC 8445, 7.3.1.1
func (c *Check) Conflict() bool { return c.conflict }

// AppendSuccess answers a check: from is where it came from. RFC 8445, 7.3
func (c *Check) AppendSuccess(dst []byte, from netip.AddrPort, pwd string) []byte {
	start := len(dst)
	dst = c.head(dst, bindingSuccess)
	dst = appendXORAddress(dst, from, c.raw[4:headerSize])
	return seal(dst, start, pwd)
}

// AppendConflict answers 487 Role Conflict. RFC 8445, 7.3.1.1
func (c *Check) AppendConflict(dst []byte, pwd string) []byte {
	const reason = "Role Conflict"
	start := len(dst)
	dst = c.head(dst, bindingError)
	dst = binary.BigEndian.AppendUint16(dst, attrErrorCode)
	dst = binary.BigEndian.AppendUint16(dst, uint16(4+len(reason)))
	dst = append(dst, 0, 0, 4, 87)
	dst = append(dst, reason...)
	for len(dst)%4 != start%4 {
		dst = append(dst, 0)
	}
	return seal(dst, start, pwd)
}

func (c *Check) head(dst []byte, kind uint16) []byte {
	dst = binary.BigEndian.AppendUint16(dst, kind)
	dst = binary.BigEndian.AppendUint16(dst, 0)
	return append(dst, c.raw[4:headerSize]...)
}

// appendXORAddress writes XOR-MAPPED-ADDRESS; id is cookie and transaction id. RFC 8489, 14.2
func appendXORAddress(dst []byte, a netip.AddrPort, id []byte) []byte {
	ip, family := a.Addr().Unmap().AsSlice(), byte(1)
	if len(ip) == 16 {
		family = 2
	}
	dst = binary.BigEndian.AppendUint16(dst, attrXORMappedAddress)
	dst = binary.BigEndian.AppendUint16(dst, uint16(4+len(ip)))
	dst = append(dst, 0, family)
	dst = binary.BigEndian.AppendUint16(dst, a.Port()^uint16(cookie>>16))
	for i, b := range ip {
		dst = append(dst, b^id[i])
	}
	return dst
}

// seal adds MESSAGE-INTEGRITY and FINGERPRINT, each with the length as it is up to its own end. RFC 8489, 14.5 and 14.7
func seal(dst []byte, start int, pwd string) []byte {
	length := func(more int) { binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start-headerSize+more)) }
	length(4 + sha1.Size)
	var sum [sha1.Size]byte
	h := hmac.New(sha1.New, []byte(pwd))
	h.Write(dst[start:])
	dst = binary.BigEndian.AppendUint16(dst, attrMessageIntegrity)
	dst = binary.BigEndian.AppendUint16(dst, sha1.Size)
	dst = append(dst, h.Sum(sum[:0])...)
	length(8)
	crc := checksum(dst[start:])
	dst = binary.BigEndian.AppendUint16(dst, attrFingerprint)
	dst = binary.BigEndian.AppendUint16(dst, 4)
	return binary.BigEndian.AppendUint32(dst, crc)
}

// mac is over everything before the attribute, with the header's length as if the message ended behind it. RFC 8489, 14.5
func mac(dst, b []byte, pwd string) {
	var head [headerSize]byte
	copy(head[:], b)
	binary.BigEndian.PutUint16(head[2:], uint16(len(b)-headerSize+4+sha1.Size))
	h := hmac.New(sha1.New, []byte(pwd))
	h.Write(head[:])
	h.Write(b[headerSize:])
	h.Sum(dst)
}

func checksum(b []byte) uint32 { return crc32.ChecksumIEEE(b) ^ fingerprintXOR }

// Credentials makes a user name fragment and a password: 48 and 144 random bits; the standard asks for 24 and 128. RFC 8445, 5.3
func Credentials() (ufrag, pwd string) {
	var b [24]byte
	rand.Read(b[:])
	text := iceChars.EncodeToString(b[:])
	return strings.Clone(text[:8]), text[8:]
}

// iceChars are letters, digits, + and /. RFC 8839, 5.4
var iceChars = base64.RawStdEncoding
