package relay

import (
	"encoding/binary"
	"time"
)

// RTCP packet types. RFC 3550, 12.1; RFC 4585, 6.1
const (
	senderReport    = 200
	receiverReport  = 201
	sourceDesc      = 202
	goodbye         = 203
	payloadFeedback = 206

	pictureLoss      = 1 // RFC 4585, 6.3.1
	fullIntraRequest = 4 // RFC 5104, 4.3.1
)

// Control is what we read of a compound RTCP packet.
type Control struct {
	Valid    bool
	SSRC     uint32 // of its author
	SR       bool
	Middle   uint32 // of the sender report's time
	Keyframe bool   // a new picture is asked for
}

// ParseControl reads a compound packet. RFC 3550, 6.1 and A.2
func ParseControl(b []byte) (c Control) {
	for first := true; len(b) > 0; first = false {
		if len(b) < 8 || b[0]>>6 != 2 {
			return Control{}
		}
		size := 4 * (1 + int(binary.BigEndian.Uint16(b[2:])))
		if size > len(b) || size < 8 {
			return Control{}
		}
		p := b[:size]
		if first {
			c.SSRC = binary.BigEndian.Uint32(p[4:])
		}
		switch count := p[0] & 0x1f; {
		case p[1] == senderReport && size >= 28:
			c.SR, c.Middle = true, binary.BigEndian.Uint32(p[10:])
		case p[1] == payloadFeedback && size >= 12 && (count == pictureLoss || count == fullIntraRequest && size >= 20):
			c.Keyframe = true
		}
		b = b[size:]
	}
	c.Valid = true
	return c
}

// Origin is when the streams of this program began; sender reports need the wall clock too.
type Origin struct{ wall time.Time }

// NewOrigin begins now.
func NewOrigin() Origin { return Origin{time.Now()} }

// ntp is the time of day in NTP's format. RFC 3550, 4
func (o Origin) ntp(now time.Duration) uint64 {
	t := o.wall.Add(now)
	sec := uint64(t.Unix()) + 2208988800
	return sec<<32 | uint64(t.Nanosecond())<<32/1e9
}

// AppendReport writes the RTCP of one leg for one stream: a sender report if it was sent to lately, else a receiver report; the report block if
// something came in; the canonical name. RFC 3550, 6.4 and 6.5
func (o Origin) AppendReport(dst []byte, ssrc uint32, sent *Sent, clock int, block *Report, cname string, now time.Duration) []byte {
	start := len(dst)
	dst = append(dst, 0x80, receiverReport, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	if sent.Packets > 0 {
		dst[start+1] = senderReport
		dst = binary.BigEndian.AppendUint64(dst, o.ntp(now))
		dst = binary.BigEndian.AppendUint32(dst, sent.TS+uint32(int64(now-sent.At)*int64(clock)/int64(time.Second)))
		dst = binary.BigEndian.AppendUint32(dst, uint32(sent.Packets))
		dst = binary.BigEndian.AppendUint32(dst, uint32(sent.Octets))
	}
	if block != nil {
		dst[start]++
		dst = binary.BigEndian.AppendUint32(dst, block.SSRC)
		dst = binary.BigEndian.AppendUint32(dst, uint32(block.FractionLost)<<24|uint32(block.Lost)&0xffffff)
		dst = binary.BigEndian.AppendUint32(dst, block.Highest)
		dst = binary.BigEndian.AppendUint32(dst, block.Jitter)
		dst = binary.BigEndian.AppendUint32(dst, block.LastSR)
		dst = binary.BigEndian.AppendUint32(dst, block.Delay)
	}
	setLength(dst, start)
	return appendName(dst, ssrc, cname)
}

// appendName is a source description with the canonical name. RFC 3550, 6.5.1
func appendName(dst []byte, ssrc uint32, cname string) []byte {
	start := len(dst)
	dst = append(dst, 0x81, sourceDesc, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	dst = append(dst, 1, byte(len(cname)))
	dst = append(dst, cname...)
	dst = append(dst, 0)
	for (len(dst)-start)%4 != 0 {
		dst = append(dst, 0)
	}
	setLength(dst, start)
	return dst
}

// AppendPLI asks the sender of media for a new picture. RFC 4585, 6.3.1
func AppendPLI(dst []byte, ssrc, media uint32) []byte {
	dst = append(dst, 0x80|pictureLoss, payloadFeedback, 0, 2)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	return binary.BigEndian.AppendUint32(dst, media)
}

// AppendFIR does the same for who knows that only. RFC 5104, 4.3.1
func AppendFIR(dst []byte, ssrc, media uint32, seq uint8) []byte {
	dst = append(dst, 0x80|fullIntraRequest, payloadFeedback, 0, 4)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, media)
	return append(dst, seq, 0, 0, 0)
}

// AppendBye says that the stream ends. RFC 3550, 6.6
func AppendBye(dst []byte, ssrc uint32) []byte {
	dst = append(dst, 0x81, goodbye, 0, 1)
	return binary.BigEndian.AppendUint32(dst, ssrc)
}

func setLength(b []byte, start int) {
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start)/4-1))
}
