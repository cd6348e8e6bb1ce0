package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"

	"signalbox/internal/wire"
)

// dialStream returns the connection to the hop, or begins to open one.
func (t *Transport) dialStream(hop wire.Hop) (Flow, error) {
	key := dialKey{proto: hop.Proto, addr: hop.Addr}
	if hop.Proto == wire.TLS {
		key.name = hop.Name
	}
	if c := t.conns.dialledTo(key); c != nil {
		return c, nil
	}
	// Our sent-by must be an address we listen on: the peer opens a connection to it when this one breaks (RFC 3261, 18.1.1).
	source, err := route(hop.Addr)
	if err != nil {
		return nil, err
	}
	var best *streamListener
	rank := 0
	for _, l := range t.stream {
		if r := suits(l.addr.Addr(), source, hop.Addr.Addr()); l.proto == hop.Proto && r > rank {
			best, rank = l, r
		}
	}
	if best == nil {
		return nil, ErrNoTransport
	}
	var d net.Dialer
	if !best.addr.Addr().IsUnspecified() {
		source = best.addr.Addr()
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	c, isNew, err := t.conns.dial(key, func() *conn {
		id := wire.FlowID{Proto: hop.Proto, Local: netip.AddrPortFrom(source, 0), Remote: hop.Addr}
		return newConn(t, id, t.sentBy(netip.AddrPortFrom(source, best.addr.Port())))
	})
	if err != nil {
		return nil, err
	}
	if isNew {
		t.running.Go(func() { c.end(c.guard(func() error { return c.connect(key, &d) })) })
	}
	return c, nil
}

// connect is the goroutine of a connection that we open. Its Local has port 0: nobody sends there, and its identity must stand before the kernel
// has chosen a port.
func (c *conn) connect(key dialKey, d *net.Dialer) error {
	deadline := time.Now().Add(c.t.times.connect)
	ctx, cancel := context.WithDeadline(c.t.ctx, deadline)
	defer cancel()
	nc, err := d.DialContext(ctx, "tcp", key.addr.String())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnect, err)
	}
	tune(nc.(*net.TCPConn))
	if err := c.attach(nc); err != nil {
		_ = nc.Close()
		return err
	}
	if key.proto == wire.TLS {
		config := c.t.tls.client(key.name, key.addr.Addr())
		if err := c.handshake(tls.Client(c.out, config), deadline); err != nil {
			return fmt.Errorf("%w: %w", ErrConnect, err)
		}
	}
	return c.run(time.Time{})
}
