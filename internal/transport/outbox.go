package transport

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outbox is a TCP connection whose Write never blocks: what the kernel does not take at once waits here, bounded, while a goroutine writes it. TLS
// runs on top of it, so that its writes do not block either.
type outbox struct {
	net.Conn
	raw     syscall.RawConn // nil: a connection without a descriptor; the goroutine does all writing
	timeout time.Duration   // for the peer to read a backlog
	spawn   func(func())    // runs the goroutine
	mu      sync.Mutex
	corked  bool   // the reader is processing messages: gather what they cause
	pending []byte // not yet given to the kernel
	flight  int    // bytes that the goroutine is writing; it lives while this is not 0
	err     error

	// Arguments and results of try, under mu.
	arg   []byte
	n     int
	errno error
	try   func(fd uintptr) bool
}

func newOutbox(c net.Conn, timeout time.Duration, spawn func(func())) (*outbox, error) {
	o := &outbox{Conn: c, timeout: timeout, spawn: spawn}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return o, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	o.raw = raw
	o.try = func(fd uintptr) bool {
		for {
			o.n, o.errno = unix.Write(int(fd), o.arg)
			if o.errno != unix.EINTR {
				return true // never waits
			}
		}
	}
	return o, nil
}

// Write takes all of b or fails for ever.
func (o *outbox) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	total := len(b)
	if o.flight == 0 && len(o.pending) == 0 && !o.corked {
		n, err := o.writeNow(b)
		if err != nil {
			return 0, o.failed(err)
		}
		b = b[n:]
	}
	if len(b) > 0 {
		if len(o.pending)+o.flight+len(b) > maxBacklog {
			return 0, o.failed(ErrFull)
		}
		o.pending = append(o.pending, b...)
		if !o.corked || len(o.pending) > maxCorked {
			if err := o.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

// cork makes writes wait for uncork.
func (o *outbox) cork() {
	o.mu.Lock()
	o.corked = true
	o.mu.Unlock()
}

func (o *outbox) uncork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corked = false
	if o.err == nil && len(o.pending) > 0 {
		_ = o.flush() // the connection's goroutine hears of it
	}
}

// flush gives the kernel what is pending, or has a goroutine do it.
func (o *outbox) flush() error {
	if o.flight > 0 {
		return nil // the goroutine takes it along
	}
	n, err := o.writeNow(o.pending)
	if err != nil {
		return o.failed(err)
	}
	if n < len(o.pending) {
		rest := o.pending[n:]
		o.pending = nil
		o.flight = len(rest)
		o.spawn(func() { o.drain(rest) })
		return nil
	}
	o.pending = o.pending[:0]
	if cap(o.pending) > maxCorked {
		o.pending = nil // a burst's buffer is not kept
	}
	return nil
}

// writeNow writes what the kernel takes without waiting.
func (o *outbox) writeNow(b []byte) (int, error) {
	if o.raw == nil {
		return 0, nil
	}
	o.arg = b
	err := o.raw.Write(o.try)
	o.arg = nil
	switch {
	case err != nil:
		return 0, err // closed
	case o.errno == unix.EAGAIN:
		return 0, nil
	case o.errno != nil:
		return 0, o.errno
	}
	return o.n, nil
}

// drain writes b and what comes after it, waiting for the peer to read.
func (o *outbox) drain(b []byte) {
	for {
		_ = o.SetWriteDeadline(time.Now().Add(o.timeout))
		_, err := o.Conn.Write(b)
		o.mu.Lock()
		o.flight = 0
		if err != nil {
			_ = o.failed(err)
			o.mu.Unlock()
			return
		}
		if len(o.pending) == 0 || o.err != nil {
			_ = o.SetWriteDeadline(time.Time{})
			o.mu.Unlock()
			return
		}
		b, o.pending = o.pending, nil
		o.flight = len(b)
		o.mu.Unlock()
	}
}

// failed remembers why nothing more can be written, and closes: whoever reads then hears of it.
func (o *outbox) failed(err error) error {
	if o.err == nil {
		o.err = err
		o.pending = nil
		_ = o.Conn.Close()
	}
	return o.err
}

// shut closes the connection for the reason, and returns the reason it was closed for first. No goroutine is started after it.
func (o *outbox) shut(reason error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed(reason)
}

// idle tells whether everything was given to the kernel.
func (o *outbox) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil || o.flight == 0 && len(o.pending) == 0
}

// CloseWrite ends our direction of the connection: the peer reads what was written, then the end.
func (o *outbox) CloseWrite() error {
	if c, ok := o.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
