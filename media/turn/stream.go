package turn

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// stream is a connection of a client.
type stream struct {
	net.Conn          // TCP or TLS
	raw      net.Conn // TCP
	records  *records // between the two; nil without TLS
	s        *Server
	from     netip.AddrPort
	w        *worker
	in       *bufio.Reader
	begun    bool
	has      atomic.Pointer[allocation]
	closed   atomic.Bool
	out      outbox
}

// outbox is what is still to be sent. Who brings packets never waits: a goroutine writes as long as there is something.
type outbox struct {
	mu      sync.Mutex
	pending []byte
	spare   []byte
	writing bool
}

func newStream(s *Server, c net.Conn, from netip.AddrPort) *stream {
	return &stream{Conn: c, raw: c, s: s, from: from, w: s.spread(), in: bufio.NewReaderSize(c, maxFrame)}
}

// spread gives a client that comes over a stream its worker.
func (s *Server) spread() *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.workers) == 0 {
		return nil
	}
	s.nextWorker++
	return s.workers[s.nextWorker%len(s.workers)]
}

// shake makes the TLS handshake.
func (c *stream) shake(config *tls.Config) error {
	_ = c.raw.SetDeadline(time.Now().Add(handshakeTime))
	r := &records{Conn: c.raw}
	t := tls.Server(r, config)
	if err := t.Handshake(); err != nil {
		return err
	}
	c.Conn, c.records = t, r
	c.in.Reset(t)
	return c.raw.SetDeadline(time.Time{})
}

func (c *stream) remote() netip.AddrPort    { return c.from }
func (c *stream) allocation() *allocation   { return c.has.Load() }
func (c *stream) assign(a *allocation) bool { return c.has.CompareAndSwap(nil, a) }
func (c *stream) release(a *allocation)     { c.has.CompareAndSwap(a, nil) }
func (c *stream) worker() *worker           { return c.w }

// patience is how long the client may be silent now.
func (c *stream) patience() time.Duration {
	switch {
	case !c.begun:
		return frameTime
	case c.allocation() != nil:
		return idleTime
	}
	return lonelyTime
}

// next gives the next frame that the gate lets through. It is good until the next call.
func (c *stream) next() (kind, []byte, error) {
	for {
		n, err := c.frame()
		if err != nil {
			return isBad, nil, err
		}
		frame, err := c.in.Peek(n)
		if err != nil {
			return isBad, nil, err
		}
		c.begun = true
		_, _ = c.in.Discard(n)
		// Who sends nonsense on a stream has lost its frames: nothing that follows can be trusted.
		if classify(frame) == isBad {
			c.s.config.Metrics.refused(BadFrame)
			return isBad, nil, errFrame
		}
		if k := c.s.gate.admit(frame, c.from.Addr()); k != isBad {
			return k, frame, nil
		}
	}
}

// frame waits for a frame to begin, and then not long for all of it, and returns its length. However slowly it comes, its bytes have one deadline together.
func (c *stream) frame() (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.patience())); err != nil {
		return 0, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return 0, err
	}
	timed := !c.begun // the first frame is timed from the beginning
	if !timed && c.in.Buffered() < channelHeader {
		timed = true
		if err := c.SetReadDeadline(time.Now().Add(frameTime)); err != nil {
			return 0, err
		}
	}
	head, err := c.in.Peek(channelHeader)
	if err != nil {
		return 0, err
	}
	n, err := frameLen(head)
	if err != nil {
		c.s.config.Metrics.refused(BadFrame)
		return 0, err
	}
	if !timed && c.in.Buffered() < n {
		if err := c.SetReadDeadline(time.Now().Add(frameTime)); err != nil {
			return 0, err
		}
	}
	if head[0]>>6 != 0 {
		return n, nil
	}
	// Other protocols begin alike, TLS among them: who speaks those is told at once.
	head, err = c.in.Peek(cookieEnd)
	if err == nil && binary.BigEndian.Uint32(head[cookieEnd-4:]) != magicCookie {
		c.s.config.Metrics.refused(BadFrame)
		err = errFrame
	}
	return n, err
}

// send queues a frame, padded as streams want it (RFC 8656, 12.5); what has no room is lost, as a datagram would be.
func (c *stream) send(frame []byte) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.closed.Load() || len(c.out.pending)+len(frame)+3 > outboxSize {
		return
	}
	c.out.pending = append(c.out.pending, frame...)
	c.out.pending = append(c.out.pending, "\x00\x00\x00"[:-len(frame)&3]...)
	if !c.out.writing {
		c.out.writing = true
		c.s.writers.Go(c.write)
	}
}

// write sends what is queued, until there is nothing; a client that does not take it is gone.
func (c *stream) write() {
	defer c.s.caught(c.from)
	for {
		c.out.mu.Lock()
		b := c.out.pending
		c.out.pending, c.out.spare = c.out.spare[:0], nil
		if c.out.writing = len(b) > 0 && !c.closed.Load(); !c.out.writing {
			c.out.mu.Unlock()
			return
		}
		c.out.mu.Unlock()
		_ = c.SetWriteDeadline(time.Now().Add(writeTime))
		if err := c.deliver(b); err != nil {
			c.close()
		}
		c.out.mu.Lock()
		c.out.spare = b
		c.out.mu.Unlock()
	}
}

// deliver writes frames, over TLS each as a record of its own: there are clients that take what one read of TLS gives for one message (coturn's
// turnutils_uclient 4.6.1 loses the others), and a whole record must arrive before any of it can be used.
func (c *stream) deliver(frames []byte) error {
	if c.records == nil {
		_, err := c.Write(frames)
		return err
	}
	c.records.gather()
	for len(frames) > 0 {
		n := paddedLen(frames)
		if _, err := c.Write(frames[:n]); err != nil {
			return err
		}
		frames = frames[n:]
	}
	return c.records.flush()
}

// close hangs up; who reads the connection does the rest.
func (c *stream) close() {
	if !c.closed.Swap(true) {
		c.s.connections.leave(c)
		_ = c.raw.Close()
	}
}

// connections are all of a server.
type connections struct {
	mu     sync.Mutex
	closed bool
	total  int
	per    map[netip.Addr]int
	held   map[*stream]struct{}
}

// enter makes room for one more from an address.
func (cs *connections) enter(a netip.Addr) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed || cs.total >= maxConnections || cs.per[a] >= maxPerAddress {
		return false
	}
	cs.total++
	cs.per[a]++
	return true
}

// hold keeps an entered connection, so that it can be closed; false if the server is closing.
func (cs *connections) hold(c *stream) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.held[c] = struct{}{}
	return !cs.closed
}

func (cs *connections) leave(c *stream) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.held, c)
	cs.total--
	if cs.per[c.from.Addr()]--; cs.per[c.from.Addr()] == 0 {
		delete(cs.per, c.from.Addr())
	}
}

func (cs *connections) closeAll() {
	cs.mu.Lock()
	cs.closed = true
	var all []*stream
	for c := range cs.held {
		all = append(all, c)
	}
	cs.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}
