package turn

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// channels are those of the clients of one UDP address, on which almost everything is sent: what comes on a channel, or from a peer that has one, is passed on
// here and never reaches pion/turn, which tells of each binding as it is made and as it ends (RFC 8656, 12.6 and 12.7).
type channels struct {
	mu      sync.RWMutex
	clients map[netip.AddrPort]*channelClient
}

// channelClient is a client with at least one channel.
type channelClient struct {
	addr     netip.AddrPort
	relay    *relay
	socket   atomic.Pointer[datagrams] // that it was heard on last, of those that share the address
	bindings atomic.Pointer[[]binding] // changed by being replaced
}

type binding struct {
	number uint16
	peer   netip.AddrPort
}

// bound notes a channel.
func (s *Server) bound(from, to, relayed, peer net.Addr, number uint16) {
	cs, at, ok := s.channelsAt(from, to)
	if !ok {
		return
	}
	r := s.relayAt(relayed)
	peerAddr, ok := peer.(*net.UDPAddr)
	if r == nil || !ok {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.clients[at]
	if c == nil || c.relay != r {
		c = &channelClient{addr: at, relay: r}
		c.bindings.Store(&[]binding{})
		cs.clients[at] = c
		r.client.Store(c)
	}
	list := append(slices.Clone(*c.bindings.Load()), binding{number, plain(peerAddr.AddrPort())})
	c.bindings.Store(&list)
}

// unbound forgets it.
func (s *Server) unbound(from, to net.Addr, number uint16) {
	cs, at, ok := s.channelsAt(from, to)
	if !ok {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.clients[at]
	if c == nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(*c.bindings.Load()), func(b binding) bool { return b.number == number })
	c.bindings.Store(&list)
	if len(list) == 0 {
		delete(cs.clients, at)
		c.relay.client.CompareAndSwap(c, nil)
	}
}

// channelsAt finds the channels of a UDP address that a client has sent to.
func (s *Server) channelsAt(from, to net.Addr) (cs *channels, at netip.AddrPort, ok bool) {
	client, ok1 := from.(*net.UDPAddr)
	here, ok2 := to.(*net.UDPAddr)
	if !ok1 || !ok2 {
		return nil, at, false
	}
	cs, ok = s.channels[here.AddrPort()]
	return cs, plain(client.AddrPort()), ok
}

// plain has one form for each address.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// forward passes on ChannelData to the peer of its channel. False leaves it to the protocol.
func (cs *channels) forward(b []byte, from netip.AddrPort, socket *datagrams) bool {
	if len(b) < channelHeader || b[0]>>6 != 1 {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > len(b)-channelHeader || n > maxFrame {
		return false
	}
	cs.mu.RLock()
	c := cs.clients[from]
	cs.mu.RUnlock()
	if c == nil {
		return false
	}
	number := binary.BigEndian.Uint16(b)
	for _, one := range *c.bindings.Load() {
		if one.number == number {
			if c.socket.Load() != socket {
				c.socket.Store(socket)
			}
			c.relay.send(b[channelHeader:channelHeader+n], one.peer)
			return true
		}
	}
	return false
}

// deliver sends to the client what came from a peer, if that has a channel. b has room for the header before the n bytes.
func (c *channelClient) deliver(b []byte, n int, peer netip.AddrPort) bool {
	socket := c.socket.Load()
	if socket == nil {
		return false // the client has not used a channel yet
	}
	for _, one := range *c.bindings.Load() {
		if one.peer == peer {
			binary.BigEndian.PutUint16(b, one.number)
			binary.BigEndian.PutUint16(b[2:], uint16(n))
			_ = c.relay.back.send(socket.raw, socket.ipv6, b[:channelHeader+n], c.addr)
			return true
		}
	}
	return false
}
