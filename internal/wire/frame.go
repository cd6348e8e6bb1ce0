package wire

import (
	"bytes"
	"errors"
	"strings"
)

var (
	errBroken   = errors.New("wire: the stream was broken before")
	errUndrain  = errors.New("wire: Write before Next had taken everything")
	errNoLength = errors.New("no Content-Length on a stream")
)

// Framer cuts a byte stream into messages (RFC 3261, 18.3; RFC 5626, 4.4.1 keep-alives). It holds at most MaxMessage bytes and what one Write
// added, only bytes that were received, and looks at each byte once, however they come. The zero value is ready.
type Framer struct {
	buf   []byte
	start int    // of the message under way; what lies before has been handed out
	line  int    // start of the line under way, in the header
	scan  int    // up to here the header has been looked at
	total int    // length of the message, once its header is complete; else 0
	crlfs int    // CRLFs since the last message or ping
	err   *Error // why the stream is broken
}

// Write adds received bytes. Next must be called until it says there is nothing more. The error is the stream's: it is broken, or its reader
// did not call Next.
func (f *Framer) Write(b []byte) error {
	if f.err != nil {
		return errBroken
	}
	if f.start > 0 {
		f.compact()
	}
	if len(f.buf) > MaxMessage {
		return errUndrain
	}
	f.buf = append(f.buf, b...)
	return nil
}

// compact forgets what was handed out; an idle stream gives a large buffer back.
func (f *Framer) compact() {
	rest := f.buf[f.start:]
	switch {
	case len(rest) > 0:
		f.buf = f.buf[:copy(f.buf, rest)]
	case cap(f.buf) > keepBuffer:
		f.buf = nil
	default:
		f.buf = f.buf[:0]
	}
	f.line -= f.start
	f.scan -= f.start
	f.start = 0
}

// Next returns the next complete message's bytes, valid until the next Write. ping counts CRLFCRLF keep-alives seen before it, each wants
// a CRLF back (RFC 5626, 4.4.1). A framing error (no Content-Length, two that differ, not a number, too large) is fatal for the stream: the error's
// code is the answer to send, msg holds the head so that it can be answered, then the connection is closed. What followed that head
// is never read as a message.
func (f *Framer) Next() (msg []byte, ping int, ok bool, err *Error) {
	if f.err != nil {
		return nil, 0, false, f.err
	}
	ping = f.skipCRLF()
	if f.total == 0 {
		end, err := f.findEnd()
		if err == nil && end > 0 {
			err = f.measure(f.buf[f.start:end])
		}
		if err == nil && end == 0 && len(f.buf)-f.start > MaxMessage {
			err = &Error{Code: 513, Err: errTooLong}
		}
		if err != nil {
			f.err = err
			if end == 0 {
				end = len(f.buf) // where the head ends is not known: all there is
			}
			return f.buf[f.start:end], ping, false, err
		}
	}
	if f.total == 0 || len(f.buf)-f.start < f.total {
		return nil, ping, false, nil
	}
	msg = f.buf[f.start : f.start+f.total : f.start+f.total]
	f.start += f.total
	f.line, f.scan, f.total = f.start, f.start, 0
	return msg, ping, true, nil
}

// skipCRLF passes over CRLFs before a start line (RFC 3261, 7.5) and counts pairs of them.
func (f *Framer) skipCRLF() (ping int) {
	if f.scan > f.start {
		return 0 // a message is under way
	}
	for len(f.buf)-f.start >= 2 && f.buf[f.start] == '\r' && f.buf[f.start+1] == '\n' {
		f.start += 2
		if f.crlfs++; f.crlfs == 2 {
			f.crlfs = 0
			ping++
		}
	}
	f.line, f.scan = f.start, f.start
	if rest := f.buf[f.start:]; len(rest) > 1 || len(rest) == 1 && rest[0] != '\r' {
		f.crlfs = 0
	}
	return ping
}

// findEnd looks for the empty line, from where it stopped last. end is 0 as long as it is not there, else the index behind it. A CR or LF
// alone cannot be framed: other readers would see other lines.
func (f *Framer) findEnd() (end int, err *Error) {
	for {
		rest := f.buf[f.scan:]
		cr := bytes.IndexByte(rest, '\r')
		if cr < 0 {
			cr = len(rest)
		}
		if bytes.IndexByte(rest[:cr], '\n') >= 0 {
			return 0, &Error{Code: 400, Reason: "Bad Line End", Err: errLineEnd}
		}
		f.scan += cr
		if cr+1 >= len(rest) {
			return 0, nil // the CR, if there is one, is looked at again when its LF has come
		}
		if rest[cr+1] != '\n' {
			return 0, &Error{Code: 400, Reason: "Bad Line End", Err: errLineEnd}
		}
		empty := f.scan == f.line
		f.scan += 2
		f.line = f.scan
		if empty {
			return f.scan, nil
		}
	}
}

// measure finds the length of the message whose head is complete (RFC 3261, 18.3: on streams Content-Length is the only frame).
func (f *Framer) measure(head []byte) *Error {
	length := -1
	for rest := head; len(rest) > 0; {
		var line []byte
		line, rest = cutFolded(rest)
		value, ok := lengthField(line)
		if !ok {
			continue
		}
		if length >= 0 {
			return &Error{Code: 400, Reason: "Duplicate Content-Length", Err: errDuplicate}
		}
		n, bad := contentLength(value)
		if bad != nil {
			return bad
		}
		length = n
	}
	if length < 0 {
		return &Error{Code: 400, Reason: "Missing Content-Length", Err: errNoLength}
	}
	if len(head)+length > MaxMessage {
		return &Error{Code: 513, Err: errTooLong}
	}
	f.total = len(head) + length
	return nil
}

// cutFolded cuts a line with its continuation lines off the front.
func cutFolded(b []byte) (line, rest []byte) {
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return b, nil
		}
		if i += n + 1; i == len(b) || !isSpace(b[i]) {
			return b[:i], b[i:]
		}
	}
}

// lengthField tells whether the line is a Content-Length field, as Parse would.
func lengthField(line []byte) (value string, ok bool) {
	if c := lowerByte(line[0]); c != 'c' && c != 'l' {
		return "", false
	}
	n := 1
	for n < len(line) && classes[line[n]]&isToken != 0 {
		n++
	}
	if n != 1 && n != len("Content-Length") || identify(string(line[:n])) != fieldContentLength {
		return "", false
	}
	_, value, ok = cutField(strings.TrimSuffix(unfold(string(line)), "\r\n"))
	return value, ok
}

// Buffered returns how many bytes wait for the rest of their message.
func (f *Framer) Buffered() int { return len(f.buf) - f.start }
