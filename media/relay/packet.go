// Package relay is what happens to one RTP or RTCP packet on its way between two legs (RFC 3550; RFC 4733; RFC 5761; RFC 7983): telling packets apart,
// rewriting their headers so that one stream leaves whatever came in, learning where a phone behind NAT sends from, counting, and the RTCP that each leg
// gets of its own. Nothing here waits, allocates or locks: package media calls it on the goroutine that read the packet. All state is of a fixed size.
package relay

import "encoding/binary"

// Kind of a packet by its first bytes. RFC 7983; RFC 5761, 4
type Kind uint8

// What may come on one port.
const (
	Unknown Kind = iota
	STUN
	DTLS
	RTP
	RTCP
)

// HeaderSize is that of an RTP header without contributing sources and extensions.
const HeaderSize = 12

// Classify tells what a datagram is.
func Classify(b []byte) Kind {
	switch {
	case len(b) < 8:
		return Unknown
	case b[0] < 4:
		return STUN
	case b[0] >= 20 && b[0] <= 63:
		return DTLS
	case b[0]>>6 != 2:
		return Unknown
	case b[1] >= 192 && b[1] <= 223: // RFC 5761, 4: payload types 64 to 95 are left to RTCP
		return RTCP
	case len(b) < HeaderSize:
		return Unknown
	}
	return RTP
}

// Header is what we read of an RTP header. RFC 3550, 5.1
type Header struct {
	Marker  bool
	PT      uint8
	Seq     uint16
	TS      uint32
	SSRC    uint32
	Payload int // where it begins: behind contributing sources and extension
}

// Parse reads the header of an RTP packet. ok is false where the packet contradicts itself.
func Parse(b []byte) (h Header, ok bool) {
	if len(b) < HeaderSize || b[0]>>6 != 2 {
		return h, false
	}
	h = Header{
		Marker: b[1]&0x80 != 0, PT: b[1] & 0x7f,
		Seq: binary.BigEndian.Uint16(b[2:]), TS: binary.BigEndian.Uint32(b[4:]), SSRC: binary.BigEndian.Uint32(b[8:]),
		Payload: HeaderSize + 4*int(b[0]&0x0f),
	}
	if b[0]&0x10 != 0 {
		if len(b) < h.Payload+4 {
			return h, false
		}
		h.Payload += 4 + 4*int(binary.BigEndian.Uint16(b[h.Payload+2:]))
	}
	return h, h.Payload <= len(b)
}

// Rewrite puts a plain header before the payload: no contributing sources, no extension, which would be a phone's noise (only the padding flag
// stays: it says something of the payload). It returns the packet, which begins later in b than b does if something was dropped.
func Rewrite(b []byte, h Header) []byte {
	padding := b[0] & 0x20
	b = b[h.Payload-HeaderSize:]
	b[0] = 0x80 | padding
	b[1] = h.PT
	if h.Marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], h.Seq)
	binary.BigEndian.PutUint32(b[4:], h.TS)
	binary.BigEndian.PutUint32(b[8:], h.SSRC)
	return b
}

// ScaleEvent changes the duration of a telephone-event from one clock to another. RFC 4733, 2.3
func ScaleEvent(payload []byte, from, to int) {
	if len(payload) < 4 || from == to || from == 0 {
		return
	}
	d := uint64(binary.BigEndian.Uint16(payload[2:])) * uint64(to) / uint64(from)
	binary.BigEndian.PutUint16(payload[2:], uint16(min(d, 0xffff)))
}
