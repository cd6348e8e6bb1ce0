package transport

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"signalbox/internal/wire"
)

// conn is one connection: TCP, TLS or WebSocket. Its goroutine reads and, at the end, tells those who asked why it ended.
type conn struct {
	t      *Transport
	id     wire.FlowID
	by     netip.AddrPort // SentBy
	key    dialKey        // of a connection that we opened
	out    *outbox        // nil while connecting
	stream net.Conn       // out, or TLS over it, or WebSocket frames over these; set before ready

	silence atomic.Int64 // how long nothing may come, if that is shorter than usual; 0 if not

	opened bool // Metrics.Opened was called; of the connection's goroutine

	// The registry's own.
	source   *source
	passedOn bool // by a web server in front of ours
	young    [2]*list.Element

	mu      sync.Mutex
	ready   bool     // messages go to stream; until then they wait
	waiting [][]byte // while connecting or shaking hands
	size    int      // of waiting
	dead    error    // why the connection is no more
	hooks   hooks
	peer    []*x509.Certificate
}

var (
	errHandshake = errors.New("transport: TLS handshake failed")
	errSlow      = errors.New("transport: message not complete in time")
	errIdle      = errors.New("transport: idle for too long")
	errPanic     = errors.New("transport: a message caused a panic")
	errNotSIP    = errors.New("transport: peer does not speak SIP")
)

func newConn(t *Transport, id wire.FlowID, by netip.AddrPort) *conn {
	return &conn{t: t, id: id, by: by}
}

// attach gives the conn its TCP connection. If the conn was shut meanwhile it fails.
func (c *conn) attach(tc net.Conn) error {
	out, err := newOutbox(tc, c.t.times.write, c.t.running.Go)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return c.dead
	}
	c.out, c.stream = out, out
	return nil
}

func (c *conn) ID() wire.FlowID        { return c.id }
func (c *conn) SentBy() netip.AddrPort { return c.by }

// Send gives b to the kernel, or queues what it does not take.
func (c *conn) Send(b []byte) error {
	c.t.traced(false, c.id, b)
	if err := c.write(b); err != nil {
		if errors.Is(err, ErrFull) {
			c.t.dropped(c.id.Proto, QueueFull)
			return ErrFull
		}
		return ErrClosed
	}
	c.t.sent(c.id.Proto)
	return nil
}

func (c *conn) write(b []byte) error {
	c.mu.Lock()
	switch {
	case c.dead != nil:
		c.mu.Unlock()
		return c.dead
	case !c.ready:
		defer c.mu.Unlock()
		if c.size+len(b) > maxBacklog {
			return ErrFull
		}
		c.waiting = append(c.waiting, b)
		c.size += len(b)
		return nil
	}
	c.mu.Unlock()
	_, err := c.stream.Write(b)
	return err
}

// open writes what waited; from now on Send writes itself.
func (c *conn) open() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.waiting {
		if _, err := c.stream.Write(b); err != nil {
			return err
		}
	}
	c.waiting, c.size, c.ready = nil, 0, true
	return nil
}

// OnClose registers fn.
func (c *conn) OnClose(fn func(error)) (stop func()) {
	c.mu.Lock()
	if c.dead != nil {
		c.mu.Unlock()
		fn(c.dead)
		return func() {}
	}
	defer c.mu.Unlock()
	return c.hooks.add(&c.mu, fn)
}

// ExpectKeepAlive makes the connection end when nothing comes for so long.
func (c *conn) ExpectKeepAlive(within time.Duration) { c.silence.Store(int64(within)) }

// shut closes the connection, from any goroutine; its own goroutine then ends. Only the first reason counts, be it this or a failed write.
func (c *conn) shut(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		reason = c.out.shut(reason)
	}
	if c.dead == nil {
		c.dead = reason
	}
	c.waiting = nil
}

// bye tells a WebSocket's peer that the server stops; the other transports have no word for it.
func (c *conn) bye() {
	c.mu.Lock()
	f, ok := c.stream.(*frames)
	c.mu.Unlock()
	if ok {
		_ = f.close(websocket.StatusGoingAway, "server stops")
	}
}

// leave shuts, with TLS's close_notify.
func (c *conn) leave() {
	c.mu.Lock()
	tc, ok := c.stream.(*tls.Conn)
	c.mu.Unlock()
	if ok {
		_ = tc.CloseWrite()
	}
	c.shut(ErrClosed)
}

// end takes the connection out and tells the hooks. It is the last the connection's goroutine does.
func (c *conn) end(reason error) {
	c.shut(reason)
	c.t.conns.remove(c)
	c.mu.Lock()
	reason = c.dead
	fns := c.hooks.take()
	c.mu.Unlock()
	for _, fn := range fns {
		if fn != nil {
			_ = c.guard(func() error { fn(reason); return nil })
		}
	}
	if c.opened && c.t.config.Metrics.Closed != nil {
		c.t.config.Metrics.Closed(c.id.Proto)
	}
	c.t.log.LogAttrs(c.t.ctx, slog.LevelDebug, "connection closed", slog.String("proto", c.id.Proto.String()), slog.Any("peer", c.id.Remote), slog.Any("error", reason))
}

// idle tells whether nothing waits to be written.
func (c *conn) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead != nil || c.out == nil || len(c.waiting) == 0 && c.out.idle()
}

// guard makes a panic an error: it costs this connection, never the process.
func (c *conn) guard(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errPanic
			c.t.log.Error("panic on a connection", "peer", c.id.Remote, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	return fn()
}

// serve is the goroutine of an accepted connection.
func (c *conn) serve() {
	c.end(c.guard(func() error {
		accepted := time.Now()
		if c.id.Proto == wire.TLS {
			if err := c.handshake(tls.Server(c.out, c.t.tls.server), accepted.Add(c.t.times.handshake)); err != nil {
				return err
			}
		}
		return c.run(accepted.Add(c.t.times.firstMessage))
	}))
}

// run reads until the connection ends.
func (c *conn) run(first time.Time) error {
	if err := c.opens(); err != nil {
		return err
	}
	return c.read(first)
}

// opens opens, and counts it.
func (c *conn) opens() error {
	if err := c.open(); err != nil {
		return err
	}
	c.opened = true
	if c.t.config.Metrics.Opened != nil {
		c.t.config.Metrics.Opened(c.id.Proto)
	}
	return nil
}

// handshake runs TLS on top of the TCP connection. What is sent meanwhile waits.
func (c *conn) handshake(tc *tls.Conn, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(c.t.ctx, deadline)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	c.mu.Lock()
	c.stream, c.peer = tc, tc.ConnectionState().PeerCertificates
	c.mu.Unlock()
	return nil
}

// read cuts what arrives into messages until the connection ends. first is when the first message must be complete; zero for none.
func (c *conn) read(first time.Time) error {
	in := reader{c: c, first: first}
	buf := make([]byte, readBuffer)
	for {
		if err := in.setDeadline(); err != nil {
			return err
		}
		n, err := c.stream.Read(buf)
		if n > 0 {
			if err := in.take(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return in.late()
		case errors.Is(err, io.EOF):
			return io.EOF
		default:
			return err
		}
	}
}

// reader is the state of reading one connection.
type reader struct {
	c        *conn
	framer   wire.Framer
	first    time.Time // the first message must be complete by then; zero once it is
	begun    time.Time // the message under way must be complete by then; zero between messages
	deadline time.Time // as set on the connection
}

// take handles received bytes: keep-alives, then messages, in order. What they cause to be sent here goes out together at the end.
func (r *reader) take(b []byte) error {
	c := r.c
	c.out.cork()
	defer c.out.uncork()
	partial := r.framer.Buffered() > 0
	if err := r.framer.Write(b); err != nil {
		return err
	}
	for {
		msg, pings, ok, err := r.framer.Next()
		if pings > 0 {
			// RFC 5626, 4.4.1: a double CRLF is answered with one CRLF; 3.5.1
			if err := c.write([]byte(strings.Repeat("\r\n", min(pings, maxPongs)))); err != nil {
				return err
			}
		}
		if err != nil {
			return r.broken(msg, err)
		}
		if !ok {
			break
		}
		partial = false
		if !c.t.receive(incoming{conn: c, remote: c.id.Remote}, msg) {
			return errPanic
		}
		if !r.first.IsZero() {
			r.first = time.Time{}
			c.t.conns.grown(c)
		}
	}
	switch {
	case r.framer.Buffered() == 0:
		r.begun = time.Time{}
	case !partial:
		r.begun = time.Now().Add(c.t.times.message)
	}
	return nil
}

// setDeadline sets how long the next read may take. A deadline far away is moved only now and then: a timer costs more than the read.
func (r *reader) setDeadline() error {
	want := r.first
	if want.IsZero() || !r.begun.IsZero() && r.begun.Before(want) {
		want = r.begun
	}
	if want.IsZero() {
		now := time.Now()
		idle := r.c.t.times.idle
		if promised := time.Duration(r.c.silence.Load()); promised > 0 {
			idle = min(idle, promised)
		}
		if left := r.deadline.Sub(now); left > idle-idle/16 && left <= idle {
			return nil
		}
		want = now.Add(idle)
	}
	if want.Equal(r.deadline) {
		return nil
	}
	r.deadline = want
	return r.c.out.SetReadDeadline(want)
}

func (r *reader) late() error {
	if r.first.IsZero() && r.begun.IsZero() {
		return errIdle
	}
	return errSlow
}

// broken answers a stream that cannot be framed any more, and gives the peer time to read the answer (RFC 3261, 18.3).
func (r *reader) broken(head []byte, e *wire.Error) error {
	c := r.c
	msg, _ := wire.Parse(head)
	in := incoming{conn: c, remote: c.id.Remote}
	if !c.t.reject(&in, msg, e) {
		return errNotSIP
	}
	c.linger()
	return e
}

// linger lets the peer read our last words: closing with bytes unread would reset the connection, and the words with it.
func (c *conn) linger() {
	c.out.uncork()
	if tc, ok := c.stream.(*tls.Conn); ok {
		_ = tc.CloseWrite()
	}
	if !c.out.idle() || c.out.CloseWrite() != nil {
		return
	}
	_ = c.out.SetReadDeadline(time.Now().Add(c.t.times.linger))
	_, _ = io.CopyN(io.Discard, c.out.Conn, maxDiscard)
}

// hooks are the functions registered with OnClose. Places are used again, so that a connection that carries many transactions keeps a list as long as
// there are at a time.
type hooks struct {
	fns  []func(error)
	free []int
}

func (h *hooks) add(mu *sync.Mutex, fn func(error)) (stop func()) {
	at := len(h.fns)
	if n := len(h.free); n > 0 {
		at, h.free = h.free[n-1], h.free[:n-1]
		h.fns[at] = fn
	} else {
		h.fns = append(h.fns, fn)
	}
	stopped := false
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if !stopped && h.fns != nil {
			h.fns[at] = nil
			h.free = append(h.free, at)
		}
		stopped = true
	}
}

// take empties the list for good.
func (h *hooks) take() []func(error) {
	fns := h.fns
	h.fns, h.free = nil, nil
	return fns
}
