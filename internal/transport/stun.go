package transport

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// A SIP server answers STUN binding requests on its UDP ports, so that phones can keep their NAT open and see when their address changes
// (RFC 5626, 8). The format is that of RFC 8489, 5 and 14.

const (
	stunHeader = 20
	stunCookie = 0x2112A442

	stunRequest = 0x0001 // Binding
	stunSuccess = 0x0101
	stunError   = 0x0111

	attrErrorCode        = 0x0009
	attrUnknown          = 0x000A
	attrXORMappedAddress = 0x0020
	attrFingerprint      = 0x8028

	fingerprintXOR = 0x5354554e

	// maxUnknown attributes are listed in an error response; a request of many tiny ones gets no longer answer.
	maxUnknown = 8
)

// isSTUN tells STUN from SIP: the two top bits are zero and the cookie is in its place (RFC 8489, 6.3).
func isSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0] <= 1 && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// answerSTUN returns the answer to a binding request, nil where none is due. It is never three times as long as the request. To a flow that is not alive any more it is an error, which means
// that the flow has failed (RFC 5626, 4.4.2).
func answerSTUN(b []byte, from netip.AddrPort, alive bool) []byte {
	if binary.BigEndian.Uint16(b) != stunRequest || len(b)-stunHeader != int(binary.BigEndian.Uint16(b[2:])) {
		return nil // an indication, a response, another method or a wrong length (RFC 8489, 6.3: silently discarded)
	}
	unknown, fingerprint, ok := readAttributes(b)
	if !ok {
		return nil
	}
	var answer []byte
	switch {
	case len(unknown) > 0:
		answer = stunUnknown(b, unknown)
	case !alive:
		answer = finish(stunErrorCode(b, 30, "Flow Failed"))
	default:
		answer = stunMapped(b, from)
	}
	if fingerprint { // RFC 8489, 7: in the answer too
		answer = addFingerprint(answer)
	}
	return answer
}

// readAttributes walks the attributes (RFC 8489, 14): unknown are those that must be understood and are not. ok is false if they do not fill the
// message exactly or the fingerprint is wrong.
func readAttributes(b []byte) (unknown []uint16, fingerprint, ok bool) {
	for at := stunHeader; at < len(b); {
		if len(b)-at < 4 {
			return nil, false, false
		}
		kind, length := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		padded := (length + 3) &^ 3
		if len(b)-at-4 < padded {
			return nil, false, false
		}
		switch {
		case kind == attrFingerprint:
			// RFC 8489, 14.7: the last attribute, over all before it.
			if length != 4 || at+8 != len(b) || binary.BigEndian.Uint32(b[at+4:]) != crc32.ChecksumIEEE(b[:at])^fingerprintXOR {
				return nil, false, false
			}
			fingerprint = true
		case kind >= 0x8000, understood(kind):
		case len(unknown) < maxUnknown:
			unknown = append(unknown, kind)
		}
		at += 4 + padded
	}
	return unknown, fingerprint, true
}

// understood tells whether a comprehension-required attribute may stand in a request without being obeyed: those of authentication, which this usage does
// not have (RFC 5626, 8).
func understood(kind uint16) bool {
	switch kind {
	case 0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E: // USERNAME, MESSAGE-INTEGRITY, REALM, NONCE, MESSAGE-INTEGRITY-SHA256, PASSWORD-ALGORITHM, USERHASH
		return true
	}
	return false
}

// stunMapped is the success response with XOR-MAPPED-ADDRESS (RFC 8489, 14.2).
func stunMapped(req []byte, from netip.AddrPort) []byte {
	a := stunAnswer(req, stunSuccess)
	family, ip := byte(1), from.Addr().AsSlice()
	if from.Addr().Is6() {
		family = 2
	}
	a = binary.BigEndian.AppendUint16(a, attrXORMappedAddress)
	a = binary.BigEndian.AppendUint16(a, uint16(4+len(ip)))
	a = append(a, 0, family)
	a = binary.BigEndian.AppendUint16(a, from.Port()^stunCookie>>16)
	// An address is masked by the cookie and, beyond four bytes, by the transaction id: as they stand in the header.
	for i, c := range ip {
		a = append(a, c^req[4+i])
	}
	return finish(a)
}

// stunUnknown is the 420 response with ERROR-CODE and UNKNOWN-ATTRIBUTES (RFC 8489, 6.3.1).
func stunUnknown(req []byte, unknown []uint16) []byte {
	a := stunErrorCode(req, 20, "Unknown Attribute")
	a = binary.BigEndian.AppendUint16(a, attrUnknown)
	a = binary.BigEndian.AppendUint16(a, uint16(2*len(unknown)))
	for _, kind := range unknown {
		a = binary.BigEndian.AppendUint16(a, kind)
	}
	if len(unknown)%2 != 0 {
		a = append(a, 0, 0)
	}
	return finish(a)
}

// stunErrorCode begins an error response with ERROR-CODE 4xx (RFC 8489, 14.8), its reason padded to a multiple of four.
func stunErrorCode(req []byte, number byte, reason string) []byte {
	a := stunAnswer(req, stunError)
	a = binary.BigEndian.AppendUint16(a, attrErrorCode)
	a = binary.BigEndian.AppendUint16(a, 4+uint16(len(reason)))
	a = append(append(a, 0, 0, 4, number), reason...)
	for range -len(reason) & 3 {
		a = append(a, 0)
	}
	return a
}

// stunAnswer begins a message of that type with the request's cookie and transaction id.
func stunAnswer(req []byte, kind uint16) []byte {
	a := make([]byte, 0, 96)
	a = binary.BigEndian.AppendUint16(a, kind)
	a = append(a, 0, 0)
	return append(a, req[4:stunHeader]...)
}

// finish writes the length.
func finish(a []byte) []byte {
	binary.BigEndian.PutUint16(a[2:], uint16(len(a)-stunHeader))
	return a
}

func addFingerprint(a []byte) []byte {
	binary.BigEndian.PutUint16(a[2:], uint16(len(a)+8-stunHeader))
	sum := crc32.ChecksumIEEE(a) ^ fingerprintXOR
	a = binary.BigEndian.AppendUint16(a, attrFingerprint)
	a = binary.BigEndian.AppendUint16(a, 4)
	return binary.BigEndian.AppendUint32(a, sum)
}
