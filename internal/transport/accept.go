package transport

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"signalbox/internal/wire"
)

// streamListener is one TCP or TLS address we listen on.
type streamListener struct {
	t     *Transport
	l     *net.TCPListener
	proto wire.Proto
	addr  netip.AddrPort
}

// accept takes connections and does nothing else: a handshake is the connection's own business, so that no peer holds up another.
func (l *streamListener) accept() {
	t := l.t
	for {
		tc, err := l.l.AcceptTCP()
		if err == nil {
			l.admit(tc)
			continue
		}
		if errors.Is(err, net.ErrClosed) || t.closed.Load() {
			return
		}
		// Out of descriptors or memory: who has said nothing yet makes room.
		t.log.Error("accept failed", "address", l.addr, "error", err)
		if c := t.conns.evictOldest(); c != nil {
			t.dropped(l.proto, Evicted)
			c.shut(ErrLimit)
		}
		if !t.pause(t.times.acceptPause) {
			return
		}
	}
}

func (l *streamListener) admit(tc *net.TCPConn) {
	t := l.t
	tune(tc)
	local := unmap(tc.LocalAddr().(*net.TCPAddr).AddrPort())
	c := newConn(t, wire.FlowID{Proto: l.proto, Local: local, Remote: unmap(tc.RemoteAddr().(*net.TCPAddr).AddrPort())}, t.sentBy(local))
	if err := c.attach(tc); err != nil {
		_ = tc.Close()
		return
	}
	evicted, ok := t.conns.admit(c)
	if evicted != nil {
		t.dropped(l.proto, Evicted)
		evicted.shut(ErrLimit)
	}
	if !ok {
		t.dropped(l.proto, Refused)
		_ = tc.SetLinger(0)
		_ = tc.Close()
		return
	}
	t.running.Go(c.serve)
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
