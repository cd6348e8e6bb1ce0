package media

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/media/udp"
)

// Guest is another ICE agent's place on the port of the browsers, so that there is one port to let through a firewall: package messages has one for
// each page. Its methods are those of a UDPMux of pion/ice, for one agent.
type Guest struct {
	e     *Engine
	local netip.Addr

	mu    sync.Mutex
	ufrag string
	conns [2]*guestConn // IPv4, IPv6
}

// guests are those that have a place. Only packets that are no bridge's are looked up there.
type guests struct {
	n       atomic.Int32 // so that without guests nobody takes the lock
	mu      sync.RWMutex
	byUfrag map[string]*Guest
	byAddr  map[netip.AddrPort]*guestConn
}

// NewGuest makes a place for a page whose requests reach us at local.
func (e *Engine) NewGuest(local netip.Addr) *Guest { return &Guest{e: e, local: local} }

// GetListenAddresses are those that the page is told.
func (g *Guest) GetListenAddresses() (list []net.Addr) {
	for _, a := range g.e.reachable(g.local) {
		list = append(list, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, g.e.WebRTC())))
	}
	return list
}

// GetConn is where the agent reads and writes, one for each address family.
func (g *Guest) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	a, ok := addr.(*net.UDPAddr)
	if !ok {
		return nil, net.InvalidAddrError("media: no UDP address")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ufrag != "" && g.ufrag != ufrag {
		return nil, net.InvalidAddrError("media: one agent only")
	}
	i := family(a.AddrPort().Addr())
	if g.conns[i] == nil {
		g.conns[i] = &guestConn{g: g, local: a, packets: make(chan guestPacket, guestQueue), done: make(chan struct{})}
	}
	if g.ufrag == "" {
		g.ufrag = ufrag
		g.e.guests.add(g)
	}
	return g.conns[i], nil
}

// RemoveConnByUfrag is called by the agent at its end.
func (g *Guest) RemoveConnByUfrag(string) { _ = g.Close() }

// Close gives the place back. It may be called twice.
func (g *Guest) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	g.e.guests.remove(g)
	return nil
}

func (g *Guest) conn(from netip.Addr) *guestConn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conns[family(from)]
}

func family(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 0
	}
	return 1
}

func (t *guests) add(g *Guest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byUfrag == nil {
		t.byUfrag, t.byAddr = map[string]*Guest{}, map[netip.AddrPort]*guestConn{}
	}
	t.byUfrag[g.ufrag] = g
	t.n.Add(1)
}

func (t *guests) remove(g *Guest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byUfrag[g.ufrag] != g {
		return
	}
	delete(t.byUfrag, g.ufrag)
	t.n.Add(-1)
	for _, c := range g.conns {
		if c == nil {
			continue
		}
		for _, a := range c.places {
			if t.byAddr[a] == c {
				delete(t.byAddr, a)
			}
		}
	}
}

// check passes on a connectivity check whose user name is no bridge's.
func (t *guests) check(p []byte, ufrag []byte, from netip.AddrPort) {
	if t.n.Load() == 0 {
		return
	}
	t.mu.RLock()
	g := t.byUfrag[string(ufrag)]
	t.mu.RUnlock()
	if g == nil {
		return
	}
	if c := g.conn(from.Addr()); c != nil {
		c.push(p, from)
	}
}

// receive passes on a packet from an address that is no bridge's.
func (t *guests) receive(p []byte, from netip.AddrPort) {
	if t.n.Load() == 0 {
		return
	}
	t.mu.RLock()
	c := t.byAddr[from]
	t.mu.RUnlock()
	if c != nil {
		c.push(p, from)
	}
}

// learn notes that an address is the guest's: the agent answers nobody who has not shown its password. RFC 8445, 7.3
func (t *guests) learn(c *guestConn, to netip.AddrPort) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.byAddr[to] == c:
		return true
	case t.byUfrag[c.g.ufrag] != c.g, len(c.places) >= maxPlaces:
		return false
	}
	t.byAddr[to] = c
	c.places = append(c.places, to)
	return true
}

// guestConn is the net.PacketConn of an agent.
type guestConn struct {
	g       *Guest
	local   *net.UDPAddr
	packets chan guestPacket
	last    atomic.Pointer[udp.Addr]
	places  []netip.AddrPort // under the lock of guests
	done    chan struct{}
	once    sync.Once
}

type guestPacket struct {
	b    []byte
	from netip.AddrPort
}

// push never waits: what the agent does not read in time is lost, as in the network.
func (c *guestConn) push(p []byte, from netip.AddrPort) {
	if len(c.packets) == cap(c.packets) {
		return
	}
	select {
	case c.packets <- guestPacket{append([]byte(nil), p...), from}:
	default:
	}
}

func (c *guestConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.packets:
		return copy(b, p.b), net.UDPAddrFromAddrPort(p.from), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

func (c *guestConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	a, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("media: no UDP address")
	}
	name := netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	to, socket := c.last.Load(), c.g.e.shared[0]
	if to == nil || to.Name() != name {
		if !c.g.e.guests.learn(c, name) {
			return 0, net.ErrClosed
		}
		to = socket.Addr(name)
		c.last.Store(to)
	}
	socket.Send(b, to)
	return len(b), nil
}

// Close ends reading.
func (c *guestConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

func (c *guestConn) LocalAddr() net.Addr { return c.local }

// SetReadDeadline is how the agent interrupts its reader, for good: it sets no other deadlines.
func (c *guestConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		return c.Close()
	}
	return nil
}

func (c *guestConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *guestConn) SetWriteDeadline(time.Time) error { return nil } // writing never waits
