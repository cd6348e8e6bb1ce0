package turn

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// countedConn counts system calls that write.
type countedConn struct {
	net.Conn
	writes atomic.Int64
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// Frames that gathered while others were written go out together, each a TLS record of its own: what one read of the client gives is one frame.
func TestOneRecordAFrame(t *testing.T) {
	s := start(t)
	near, far := net.Pipe()
	counted := &countedConn{Conn: near}
	c := newStream(s, counted, netip.AddrPortFrom(loopback, 9))
	certificate, roots := selfSigned(t)
	client := tls.Client(far, &tls.Config{RootCAs: roots, ServerName: "example.com"})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	// Tickets would be records that are no frames.
	if err := c.shake(&tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true}); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	handshake := counted.writes.Load()

	c.out.writing = true // the writer is at work, so they gather
	data := func(n int) []byte {
		return append([]byte{0x40, 0, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{byte(n)}, n)...)
	}
	var frames [][]byte
	for n := range 40 {
		frames = append(frames, data(n))
	}
	frames = append(frames, data(maxFrame), append([]byte{0x01, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...))
	for _, frame := range frames {
		c.send(frame)
	}
	written := make(chan struct{})
	go func() { c.write(); close(written) }()
	b := make([]byte, 1<<16)
	for _, frame := range frames {
		n, err := client.Read(b)
		padded := append(bytes.Clone(frame), make([]byte, -len(frame)&3)...)
		if err != nil || !bytes.Equal(b[:n], padded) {
			t.Fatalf("read %x, %v; want %x", b[:n], err, padded)
		}
	}
	<-written
	if n := counted.writes.Load() - handshake; n != 1 {
		t.Errorf("%d writes", n)
	}

	// More than gatherSize is not kept.
	c.out.writing = true
	for range 3 * gatherSize / maxFrame {
		c.send(data(maxFrame))
	}
	go func() {
		for {
			if _, err := client.Read(b); err != nil {
				return
			}
		}
	}()
	c.write()
	if n := cap(c.records.pending); n > 2*gatherSize {
		t.Errorf("%d bytes are kept", n)
	}
	client.Close()
	near.Close()
}
