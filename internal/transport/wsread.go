package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"signalbox/internal/wire"
)

var (
	errTextNotUTF8 = errors.New("transport: text frame is not UTF-8")
	errHuge        = errors.New("transport: frame announces more than a message may have")
	errNoise       = errors.New("transport: too much besides messages")
)

// carrier is what lies below a WebSocket: it carries frames. The WebSocket library reads from it, on the goroutine of the connection, and writes to it what
// answers control frames. So this is the place that sees when nothing comes.
type carrier struct {
	net.Conn
	c  *conn
	ws *frames

	begun  time.Time // the message under way must be complete by then; zero between messages
	look   time.Time // between messages: when to look whether the peer lives
	armed  time.Time // the deadline as set
	heard  bool      // something came since the last look
	silent int       // looks in a row that found nothing
	noise  int       // bytes since the last message or look
	pings  int       // the same
	heads  heads
	err    error // why Read gave up
	closed bool  // a close frame was sent
	grown  bool  // a SIP message has come

	due time.Time // when the next message may come; up to wsBurst may come before
}

// serve reads until the connection ends.
func (k *carrier) serve(ws *websocket.Conn) {
	c := k.c
	k.ws = &frames{Conn: k.Conn, t: c.t}
	c.mu.Lock()
	c.stream = k.ws
	c.mu.Unlock()
	ws.SetReadLimit(wire.MaxMessage)
	err := c.guard(func() error {
		if err := c.opens(); err != nil {
			return err
		}
		return k.read(ws)
	})
	if code, reason := farewell(err); code != 0 {
		if !k.closed {
			_ = k.ws.close(code, reason)
		}
		c.linger()
	}
	c.end(err)
	_ = ws.CloseNow()
}

// read takes one message after the other.
func (k *carrier) read(ws *websocket.Conn) error {
	for {
		typ, r, err := ws.Reader(context.Background())
		if err != nil {
			return k.why(err)
		}
		now := time.Now()
		k.begun = now.Add(k.c.t.times.message)
		if err := k.message(typ, r); err != nil {
			return err
		}
		k.begun, k.noise, k.pings = time.Time{}, 0, 0
		k.slow(now)
	}
}

// message reads one WebSocket message to its end and handles it.
func (k *carrier) message(typ websocket.MessageType, r io.Reader) error {
	buf := k.c.t.buffer()
	defer k.c.t.release(buf)
	if _, err := buf.ReadFrom(r); err != nil {
		return k.why(err)
	}
	return k.take(typ, buf.Bytes())
}

// take handles one WebSocket message: a SIP message, or a keep-alive.
func (k *carrier) take(typ websocket.MessageType, b []byte) error {
	if typ == websocket.MessageText && !utf8.Valid(b) {
		return errTextNotUTF8 // RFC 6455, 8.1
	}
	// RFC 7118, 6: the CRLF keep-alives of RFC 5626, 3.5.1 are usable here too; 4.4.1
	crlfs := 0
	for ; bytes.HasPrefix(b, []byte("\r\n")); b = b[2:] {
		crlfs++
	}
	if pings := min(crlfs/2, maxPongs); pings > 0 {
		if err := k.c.write([]byte(strings.Repeat("\r\n", pings))); err != nil {
			return err
		}
	}
	if len(b) == 0 {
		return nil
	}
	if !k.c.t.receive(incoming{conn: k.c, remote: k.c.id.Remote}, b) {
		return errNotSIP // RFC 7118, 4.1: nothing but SIP goes over this connection
	}
	if !k.grown {
		k.grown = true
		k.c.t.conns.grown(k.c)
	}
	return nil
}

// slow holds back who sends too fast: his messages wait in his own TCP connection.
func (k *carrier) slow(now time.Time) {
	gap := k.c.t.times.gap
	if earliest := now.Add(-wsBurst * gap); k.due.Before(earliest) {
		k.due = earliest
	}
	k.due = k.due.Add(gap)
	if wait := k.due.Sub(now); wait > 0 {
		k.c.out.uncork()
		k.c.t.pause(wait)
	}
}

// Read reads frames. While it waits, what the messages before have caused to be sent here goes out, and a silent peer is pinged.
func (k *carrier) Read(b []byte) (int, error) {
	for k.err == nil {
		k.c.out.uncork()
		k.arm()
		n, err := k.Conn.Read(b)
		k.c.out.cork()
		k.noise += n
		k.heard = k.heard || n > 0
		switch {
		case k.noise > maxNoise:
			k.err = errNoise
			return 0, k.err
		case !k.heads.pass(b[:n]):
			k.err = errHuge
			return 0, k.err
		case n > 0 || !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		}
		k.err = k.late()
	}
	return 0, k.err
}

// arm sets how long the next read may take. Within a message and between messages the deadline stands still: moving a timer costs more than reading.
func (k *carrier) arm() {
	want := k.begun
	if want.IsZero() {
		if k.look.IsZero() {
			k.look = time.Now().Add(k.c.t.times.ping)
		}
		want = k.look
	}
	if !want.Equal(k.armed) {
		k.armed = want
		_ = k.Conn.SetReadDeadline(want)
	}
}

// late is called when the deadline is over.
func (k *carrier) late() error {
	if !k.begun.IsZero() {
		return errSlow
	}
	k.silent++
	if k.heard {
		k.silent = 0
	}
	k.heard, k.noise, k.pings, k.look = false, 0, 0, time.Time{}
	if k.silent == maxSilent {
		return errIdle
	}
	return k.ws.ping()
}

// pinged is called for every ping that is read, and says whether it is answered. RFC 6455, 5.5.3
func (k *carrier) pinged() bool {
	if k.pings++; k.pings > maxPings {
		k.err = errNoise
	}
	return k.err == nil
}

// Write sends what the WebSocket library answers.
func (k *carrier) Write(b []byte) (int, error) {
	k.closed = k.closed || len(b) > 0 && b[0]&0xf == opClose
	return k.Conn.Write(b)
}

// Close is called by the WebSocket library when the peer has taken leave.
func (k *carrier) Close() error {
	k.c.out.uncork()
	k.c.shut(io.EOF)
	return nil
}

// why is the reason that the library's error stands for.
func (k *carrier) why(err error) error {
	switch {
	case k.err != nil:
		return k.err
	case websocket.CloseStatus(err) != -1:
		return io.EOF
	}
	return err
}

// farewell is what the peer is told when the connection ends for that reason; 0: there is nobody to tell. RFC 6455, 7.4.1
func farewell(err error) (websocket.StatusCode, string) {
	var failed net.Error
	switch {
	case errors.Is(err, errTextNotUTF8):
		return websocket.StatusInvalidFramePayloadData, "text is not UTF-8"
	case errors.Is(err, errNotSIP):
		return websocket.StatusPolicyViolation, "not a SIP message"
	case errors.Is(err, errSlow):
		return websocket.StatusPolicyViolation, "message not complete in time"
	case errors.Is(err, errIdle):
		return websocket.StatusPolicyViolation, "no answer to pings"
	case errors.Is(err, errHuge):
		return websocket.StatusMessageTooBig, "message too large"
	case errors.Is(err, errNoise):
		return websocket.StatusPolicyViolation, "too many frames without a message"
	case errors.Is(err, errPanic):
		return websocket.StatusInternalError, ""
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, ErrClosed), errors.Is(err, ErrFull), errors.As(err, &failed):
		return 0, ""
	}
	return websocket.StatusProtocolError, "bad frame" // the library does not say so of every bad frame
}
