package turn

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// streams is a listener for TCP or TLS that is good to its owner: nobody waits for anybody, and there are not more connections than it can bear.
type streams struct {
	net.Listener
	s    *Server
	tls  *tls.Config // nil is TCP
	done chan struct{}
	wait sync.WaitGroup
}

func (s *Server) listenStreams(address string, c *tls.Config) (netip.AddrPort, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	st := &streams{Listener: l, s: s, tls: c, done: make(chan struct{})}
	st.wait.Go(st.accept)
	s.listeners = append(s.listeners, st)
	return l.Addr().(*net.TCPAddr).AddrPort(), nil
}

// acceptPause is for an accept that failed for want of something: descriptors, above all.
const acceptPause = 50 * time.Millisecond

// accept takes connections.
func (st *streams) accept() {
	for {
		c, err := st.Accept()
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
		st.s.guard(func() { st.admit(c) })
	}
}

// admit serves a connection if there is room.
func (st *streams) admit(c net.Conn) {
	from := plain(c.RemoteAddr().(*net.TCPAddr).AddrPort())
	if !st.s.connections.enter(from.Addr()) {
		st.s.config.Metrics.refused(TooManyConnections)
		_ = c.Close()
		return
	}
	st.wait.Go(func() { st.serve(newStream(st.s, c, from)) })
}

// plain has one form for each address.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// serve reads a connection to its end. Its allocation ends with it (RFC 8656, 3.1).
func (st *streams) serve(c *stream) {
	defer st.s.caught(c.from)
	defer func() {
		if a := c.allocation(); a != nil {
			a.end()
		}
	}()
	defer c.close()
	if !st.s.connections.hold(c) || st.tls != nil && c.shake(st.tls) != nil {
		return
	}
	for {
		k, frame, err := c.next()
		if err != nil {
			return
		}
		st.s.handle(k, frame, c)
	}
}

func (st *streams) close() {
	close(st.done)
	_ = st.Close()
	st.s.connections.closeAll()
	st.wait.Wait()
}
