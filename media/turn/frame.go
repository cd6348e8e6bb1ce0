package turn

import (
	"encoding/binary"
	"errors"
)

// kind is what a frame is, by its first bytes (RFC 8656, 12).
type kind int

const (
	isBad kind = iota
	isRequest
	isIndication // of data to send; a client has no other
	isChannelData
)

const (
	stunHeader    = 20
	channelHeader = 4
	cookieEnd     = 8 // of the magic cookie, in a header of STUN
	magicCookie   = 0x2112A442

	methodSend      = 0x006
	protocolUDP     = 17 // of REQUESTED-TRANSPORT
	classIndication = 0x0010
	classMask       = 0x0110
)

var (
	errFrame   = errors.New("turn: neither STUN nor ChannelData")
	errTooLong = errors.New("turn: a frame is too long")
)

// frameLen tells from the first 4 bytes how long a frame of a stream is.
func frameLen(head []byte) (int, error) {
	n := paddedLen(head)
	if head[0]>>6 > 1 || n%4 != 0 {
		return 0, errFrame
	}
	if n > maxFrame {
		return 0, errTooLong
	}
	return n, nil
}

// paddedLen is the length of a frame that is STUN or ChannelData: the latter is padded to a multiple of 4 on streams (RFC 8656, 12.5).
func paddedLen(head []byte) int {
	n := int(binary.BigEndian.Uint16(head[2:]))
	if head[0]>>6 == 0 {
		return stunHeader + n
	}
	return (channelHeader + n + 3) &^ 3
}

// classify looks at the header of a whole frame. What a client has no business to send is bad: answers above all, which would make two servers talk
// to each other for ever.
func classify(b []byte) kind {
	if len(b) < channelHeader || len(b) > maxFrame {
		return isBad
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if b[0]>>6 == 1 { // RFC 8656, 12: up to 0x4FFF; older clients go up to 0x7FFF
		if n > len(b)-channelHeader {
			return isBad
		}
		return isChannelData
	}
	if b[0]>>6 != 0 || len(b) < stunHeader || n%4 != 0 || n != len(b)-stunHeader || binary.BigEndian.Uint32(b[4:]) != magicCookie || !wellFormed(b) {
		return isBad
	}
	switch t := binary.BigEndian.Uint16(b); t & classMask {
	case 0:
		return isRequest
	case classIndication:
		if t&^classMask == methodSend {
			return isIndication
		}
	}
	return isBad
}

// wellFormed tells whether the attributes fill the message (RFC 8489, 14).
func wellFormed(b []byte) bool {
	for rest := b[stunHeader:]; len(rest) > 0; {
		if len(rest) < 4 {
			return false
		}
		n := 4 + (int(binary.BigEndian.Uint16(rest[2:]))+3)&^3
		if n > len(rest) {
			return false
		}
		rest = rest[n:]
	}
	return true
}
