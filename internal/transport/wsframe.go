package transport

import (
	"bytes"
	"encoding/binary"
	"net"
	"unicode/utf8"

	"github.com/coder/websocket"

	"signalbox/internal/wire"
)

// The frames that we send; those we receive are github.com/coder/websocket's business (RFC 6455, 5.2).
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9

	frameFin = 0x80
)

// frames is the stream of a WebSocket connection: each Write is one SIP message, and goes out as one WebSocket message in one frame (RFC 7118, 5).
// The frame is one Write of the connection below, so that frames of several senders do not mix.
type frames struct {
	net.Conn
	t *Transport
}

// Write sends a message: as text what is UTF-8, for the sake of scripts in pages, and the rest as it must be, binary. RFC 7118, 4.2
func (f *frames) Write(b []byte) (int, error) {
	op := byte(opText)
	if !utf8.Valid(b) {
		op = opBinary
	}
	if err := f.frame(op, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ping asks the peer for a sign of life, and keeps the way to it open. RFC 7118, 6
func (f *frames) ping() error { return f.frame(opPing, nil) }

// close says why the connection ends (RFC 6455, 5.5.1).
func (f *frames) close(code websocket.StatusCode, reason string) error {
	return f.frame(opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

func (f *frames) frame(op byte, b []byte) error {
	buf := f.t.buffer()
	defer f.t.release(buf)
	buf.Write(appendFrameHead(buf.AvailableBuffer(), op, len(b)))
	buf.Write(b)
	_, err := f.Conn.Write(buf.Bytes())
	return err
}

// appendFrameHead is the head of a frame that is a whole message. RFC 6455, 5.2
func appendFrameHead(dst []byte, op byte, length int) []byte {
	dst = append(dst, frameFin|op)
	switch {
	case length < 126:
		return append(dst, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(length))
}

// heads follows the heads of the frames that are received: the WebSocket library would wait for the rest of a frame, however long it says it is.
type heads struct {
	head [14]byte // of the frame under way, as far as it has come
	n    int
	skip int // bytes of payload that are still to come
}

// pass sees the next bytes; false: a frame announces more than a message may have.
func (h *heads) pass(b []byte) bool {
	for len(b) > 0 {
		if h.skip > 0 {
			n := min(h.skip, len(b))
			h.skip, b = h.skip-n, b[n:]
			continue
		}
		h.head[h.n] = b[0]
		h.n, b = h.n+1, b[1:]
		length, whole := frameLength(h.head[:h.n])
		if length > wire.MaxMessage {
			return false
		}
		if whole {
			h.n, h.skip = 0, int(length)
		}
	}
	return true
}

// frameLength reads the length of the payload, as soon as it is there; whole tells whether this is all of the head. RFC 6455, 5.2
func frameLength(head []byte) (length uint64, whole bool) {
	if len(head) < 2 {
		return 0, false
	}
	mask := 4 * int(head[1]>>7)
	switch n := head[1] & 0x7f; {
	case n < 126:
		return uint64(n), len(head) == 2+mask
	case n == 126 && len(head) >= 4:
		return uint64(binary.BigEndian.Uint16(head[2:])), len(head) == 4+mask
	case n == 127 && len(head) >= 10:
		return binary.BigEndian.Uint64(head[2:]), len(head) == 10+mask
	}
	return 0, false
}

// buffer is one that is used again: WebSocket connections hold none while they are idle.
func (t *Transport) buffer() *bytes.Buffer {
	if b, ok := t.buffers.Get().(*bytes.Buffer); ok {
		return b
	}
	return bytes.NewBuffer(make([]byte, 0, readBuffer))
}

func (t *Transport) release(b *bytes.Buffer) {
	if b.Cap() > maxKeptBuffer {
		return
	}
	b.Reset()
	t.buffers.Put(b)
}
