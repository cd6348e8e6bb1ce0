package wire

// Framer cuts a byte stream into messages (RFC 3261, 18.3; RFC 5626, 4.4.1 keep-alives). It holds at most MaxMessage bytes.
type Framer struct {
	buf []byte
}

// Write adds received bytes. Next must be called until it says there is nothing more.
func (f *Framer) Write(b []byte) error { panic("wire.Framer.Write") }

// Next returns the next complete message's bytes, valid until the next Write. ping counts CRLFCRLF keep-alives seen before it, each wants
// a CRLF back. A framing error (no Content-Length, two that differ, not a number, too large) is fatal for the stream: the error's code is the answer to
// send, msg holds the head so that it can be answered, then the connection is closed.
func (f *Framer) Next() (msg []byte, ping int, ok bool, err *Error) { panic("wire.Framer.Next") }
