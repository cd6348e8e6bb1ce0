package transport

import (
	"bytes"
	"encoding/binary"
	"net"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// The frames that we send; those we receive are github.com/coder/websocket's business (RFC 6455, 5.2).
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9

	frameFin = 0x80
	// frameHead is the longest head of a frame that is not masked, as a server's are not.
	frameHead = 10
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
