package turn

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// streams is a listener for TCP or TLS that is good to its owner: nobody waits for anybody, and there are not more connections than it can bear.
type streams struct {
	net.Listener
	s     *Server
	tls   *tls.Config // nil is TCP
	ready chan net.Conn
	done  chan struct{}
	once  sync.Once
	wait  sync.WaitGroup
}

func newStreams(s *Server, l net.Listener, c *tls.Config) *streams {
	st := &streams{Listener: l, s: s, tls: c, ready: make(chan net.Conn), done: make(chan struct{})}
	st.wait.Go(st.accept)
	return st
}

// acceptPause is for an accept that failed for want of something: descriptors, above all.
const acceptPause = 50 * time.Millisecond

// accept takes connections; each becomes ready by itself.
func (st *streams) accept() {
	for {
		c, err := st.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			select {
			case <-st.done:
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		if !st.s.connections.enter(from.Addr()) {
			st.s.config.Metrics.refused(TooManyConnections)
			_ = c.Close()
			continue
		}
		st.wait.Go(func() { st.shake(c, from) })
	}
}

// shake makes the TLS handshake and hands the connection on.
func (st *streams) shake(c net.Conn, from netip.AddrPort) {
	conn := newStream(st.s, c, path{c.LocalAddr().(*net.TCPAddr).AddrPort(), from})
	// On the way out the connection is closed by whoever holds it; before that it is here.
	if !st.s.connections.hold(conn) {
		conn.Close()
		return
	}
	if st.tls != nil {
		_ = c.SetDeadline(time.Now().Add(handshakeTime))
		t := tls.Server(c, st.tls)
		if err := t.Handshake(); err != nil {
			conn.Close()
			return
		}
		_ = c.SetDeadline(time.Time{})
		conn.Conn = t
		conn.in.Reset(t)
	}
	select {
	case st.ready <- conn:
	case <-st.done:
		conn.Close()
	}
}

// Accept gives pion/turn the next connection that is ready.
func (st *streams) Accept() (net.Conn, error) {
	select {
	case c := <-st.ready:
		return c, nil
	case <-st.done:
		return nil, net.ErrClosed
	}
}

func (st *streams) Close() error {
	err := net.ErrClosed
	st.once.Do(func() {
		close(st.done)
		err = st.Listener.Close()
		st.s.connections.closeAll()
		st.wait.Wait()
	})
	return err
}

// path is the two ends of a connection.
type path struct{ local, remote netip.AddrPort }

// stream is a connection of a client. What is read from it is one frame each time.
type stream struct {
	net.Conn           // TCP or TLS
	raw       net.Conn // TCP
	s         *Server
	path      path
	in        *bufio.Reader
	begun     bool
	allocated atomic.Bool
	closed    atomic.Bool
}

func newStream(s *Server, c net.Conn, p path) *stream {
	return &stream{Conn: c, raw: c, s: s, path: p, in: bufio.NewReaderSize(c, maxFrame)}
}

// patience is how long the client may be silent now.
func (c *stream) patience() time.Duration {
	switch {
	case !c.begun:
		return frameTime
	case c.allocated.Load():
		return idleTime
	}
	return lonelyTime
}

// Read gives the next frame that the gate lets through. b has room for it.
func (c *stream) Read(b []byte) (int, error) {
	for {
		n, err := c.frame()
		if err != nil {
			return 0, err
		}
		frame, err := c.in.Peek(n)
		if err != nil {
			return 0, err
		}
		c.begun = true
		n = copy(b, frame)
		_, _ = c.in.Discard(len(frame))
		// Who sends nonsense on a stream has lost its frames: nothing that follows can be trusted.
		if classify(b[:n]) == bad {
			c.s.config.Metrics.refused(BadFrame)
			return 0, errFrame
		}
		ok, answer := c.s.gate.admit(b[:n], c.path.remote.Addr())
		if answer != nil {
			if _, err := c.Write(answer); err != nil {
				return 0, err
			}
		}
		if ok {
			return n, nil
		}
	}
}

// frame waits for a frame to begin, and then not long for all of it, and returns its length.
func (c *stream) frame() (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.patience())); err != nil {
		return 0, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return 0, err
	}
	if c.in.Buffered() < channelHeader {
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
	if c.in.Buffered() < n {
		err = c.SetReadDeadline(time.Now().Add(frameTime))
	}
	return n, err
}

// Write sends a frame; a client that does not take it is gone.
func (c *stream) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(writeTime))
	n, err := c.Conn.Write(b)
	if err != nil {
		c.Close()
	}
	return n, err
}

func (c *stream) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.s.connections.leave(c)
	return c.raw.Close()
}

// connections are all of a server.
type connections struct {
	mu     sync.Mutex
	closed bool
	total  int
	per    map[netip.Addr]int
	held   map[path]*stream
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

// hold keeps an entered connection, so that it can be found and closed; false if the server is closing.
func (cs *connections) hold(c *stream) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.held[c.path] = c
	return !cs.closed
}

func (cs *connections) leave(c *stream) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.held[c.path] == c {
		delete(cs.held, c.path)
	}
	cs.total--
	if cs.per[c.path.remote.Addr()]--; cs.per[c.path.remote.Addr()] == 0 {
		delete(cs.per, c.path.remote.Addr())
	}
}

// allocated notes whether the client at an address has an allocation; UDP clients are not known here.
func (cs *connections) allocated(from, to net.Addr, has bool) {
	remote, ok := from.(*net.TCPAddr)
	local, ok2 := to.(*net.TCPAddr)
	if !ok || !ok2 {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.held[path{local.AddrPort(), remote.AddrPort()}]; c != nil {
		c.allocated.Store(has)
	}
}

func (cs *connections) closeAll() {
	cs.mu.Lock()
	cs.closed = true
	var all []*stream
	for _, c := range cs.held {
		all = append(all, c)
	}
	cs.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}
