package turn

import (
	"net"
	"net/netip"
	"strconv"
	"sync"

	"signalbox/media/udp"
)

// worker reads sockets in one goroutine: its share of each UDP address of clients, and the relays of those clients.
type worker struct{ poller *udp.Poller }

// datagrams is a UDP address of clients. The kernel spreads them over its sockets, of which each worker has one.
type datagrams struct {
	s       *Server
	mu      sync.RWMutex
	clients map[netip.AddrPort]*allocation
}

// door is one of the sockets.
type door struct {
	*datagrams
	socket *udp.Socket
	w      *worker
}

// listenUDP opens an address for each worker and has it read.
func (s *Server) listenUDP(text string) error {
	at, err := parseListen(text)
	if err != nil {
		return err
	}
	sockets, err := udp.BindShared(at, len(s.workers))
	if err != nil {
		return err
	}
	d := &datagrams{s: s, clients: map[netip.AddrPort]*allocation{}}
	for i, socket := range sockets {
		one := &door{datagrams: d, socket: socket, w: s.workers[i]}
		if err = one.w.poller.AddBusy(socket, one.receive); err != nil {
			for _, rest := range sockets[i:] {
				rest.Close()
			}
			return err
		}
		s.doors = append(s.doors, one)
	}
	if !at.Addr().IsValid() {
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	s.udp = append(s.udp, netip.AddrPortFrom(at.Addr(), sockets[0].Port()))
	return nil
}

// parseListen reads "IP:PORT" or ":PORT".
func parseListen(text string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" {
		return netip.AddrPortFrom(netip.Addr{}, uint16(n)), nil
	}
	a, err := netip.ParseAddr(host)
	return netip.AddrPortFrom(a, uint16(n)), err
}

// receive takes a datagram of a client.
func (d *door) receive(b []byte, from netip.AddrPort) {
	if from.Port() == 0 || len(b) < channelHeader {
		return
	}
	if b[0]>>6 == 1 && classify(b) == isChannelData { // almost everything
		if a := d.find(from); a != nil {
			a.fromChannel(b)
		}
		return
	}
	if k := d.s.gate.admit(b, from.Addr()); k != isBad {
		d.s.handle(k, b, &datagramClient{door: d, from: from, to: d.socket.Addr(from)})
	}
}

func (d *datagrams) find(from netip.AddrPort) *allocation {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.clients[from]
}

// datagramClient is one that is reached over UDP.
type datagramClient struct {
	*door
	from netip.AddrPort
	to   *udp.Addr
}

func (c *datagramClient) send(frame []byte)       { c.socket.Send(frame, c.to) }
func (c *datagramClient) remote() netip.AddrPort  { return c.from }
func (c *datagramClient) allocation() *allocation { return c.find(c.from) }
func (c *datagramClient) worker() *worker         { return c.w }

func (c *datagramClient) assign(a *allocation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[c.from] != nil {
		return false
	}
	c.clients[c.from] = a
	return true
}

func (c *datagramClient) release(a *allocation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[c.from] == a {
		delete(c.clients, c.from)
	}
}
