package transport

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"signalbox/internal/wire"
)

// streamListener is one address we accept connections on: TCP and TLS ones we serve ourselves, those of a web server it takes from here (Web).
type streamListener struct {
	t     *Transport
	l     *net.TCPListener
	proto wire.Proto
	addr  netip.AddrPort
}

// accept takes connections and does nothing else: a handshake is the connection's own business, so that no peer holds up another.
func (l *streamListener) accept() {
	for {
		c, err := l.next()
		if err != nil {
			return
		}
		l.t.running.Go(c.serve)
	}
}

// next returns the next connection that is let in; an error means that there will be none.
func (l *streamListener) next() (*conn, error) {
	t := l.t
	for {
		tc, err := l.l.AcceptTCP()
		if err == nil {
			if c := l.admit(tc); c != nil {
				return c, nil
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) || t.closed.Load() {
			return nil, net.ErrClosed
		}
		// Out of descriptors or memory: who has said nothing yet makes room.
		t.log.Error("accept failed", "address", l.addr, "error", err)
		if c := t.conns.evictOldest(); c != nil {
			t.dropped(l.proto, Evicted)
			c.shut(ErrLimit)
		}
		if !t.pause(t.times.acceptPause) {
			return nil, net.ErrClosed
		}
	}
}

func (l *streamListener) admit(tc *net.TCPConn) *conn {
	tune(tc)
	local := unmap(tc.LocalAddr().(*net.TCPAddr).AddrPort())
	c := newConn(l.t, wire.FlowID{Proto: l.proto, Local: local, Remote: unmap(tc.RemoteAddr().(*net.TCPAddr).AddrPort())}, l.t.sentBy(local))
	if c.attach(tc) != nil {
		_ = tc.Close()
		return nil
	}
	if !l.t.admit(c) {
		_ = tc.SetLinger(0)
		_ = tc.Close()
		return nil
	}
	return c
}

// admit enters an accepted connection, if there is room or one that has said nothing makes some.
func (t *Transport) admit(c *conn) bool {
	if c.id.Proto == wire.WS || c.id.Proto == wire.WSS {
		c.passedOn = slices.ContainsFunc(t.config.Proxies, func(p netip.Prefix) bool { return p.Contains(c.id.Remote.Addr()) })
	}
	evicted, ok := t.conns.admit(c)
	if evicted != nil {
		t.dropped(c.id.Proto, Evicted)
		evicted.shut(ErrLimit)
	}
	if !ok {
		t.dropped(c.id.Proto, Refused)
	}
	return ok
}

// tune sets what finds a peer that vanished: TCP's keep-alive when nothing is said, the user timeout when what we said is not acknowledged.
func tune(tc *net.TCPConn) {
	_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepIdle, Interval: keepInterval, Count: keepCount})
	if raw, err := tc.SyscallConn(); err == nil {
		_ = control(raw, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		})
	}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
