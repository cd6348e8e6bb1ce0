package turn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	turn "github.com/pion/turn/v5"
)

// Relay is an address that relays have. Public is what peers see; behind a one-to-one NAT it is another than Local.
type Relay struct{ Local, Public netip.Addr }

var (
	errNoFamily = errors.New("turn: no relay address of this family")
	errNoPort   = errors.New("turn: all ports of relays are in use")
	errQuota    = errors.New("turn: the user has all the relays there are for one")
	errNoTCP    = errors.New("turn: TCP is not relayed")
)

// generator makes the sockets of relays: what pion/turn asks for them.
type generator struct{ s *Server }

func (g generator) Validate() error { return nil }

// AllocatePacketConn opens a relay (RFC 8656, 7.2).
func (g generator) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	r, ok := g.s.relayOf(c.Network == "udp6")
	if !ok {
		return nil, nil, errNoFamily
	}
	var owner *account
	if c.UserID != "" { // without, a port is looked for only
		if owner, ok = g.s.accounts.take(c.UserID); !ok {
			return nil, nil, errQuota
		}
	}
	conn, port, raw, err := g.listen(c.Network, r.Local, c.RequestedPort)
	if err != nil {
		if owner != nil {
			g.s.accounts.give(owner)
		}
		return nil, nil, err
	}
	public := &net.UDPAddr{IP: r.Public.AsSlice(), Port: int(port)}
	if owner == nil {
		return conn, public, nil
	}
	opened := &relay{UDPConn: conn, raw: raw, inbox: newInbox(), out: newSender(), back: newSender(), s: g.s, Relay: r, port: port, owner: owner}
	g.s.open(opened)
	g.s.config.Metrics.allocated(c.UserID)
	return opened, public, nil
}

// listen binds a port of the range: the one that is asked for, or one that nobody can guess.
func (g generator) listen(network string, local netip.Addr, want int) (*net.UDPConn, uint16, syscall.RawConn, error) {
	first, last := g.s.config.FirstPort, g.s.config.LastPort
	for range portTries {
		port := first + uint16(rand.IntN(int(last-first)+1))
		if want != 0 {
			if want < int(first) || want > int(last) {
				return nil, 0, nil, errNoPort
			}
			port = uint16(want)
		}
		c, err := new(net.ListenConfig).ListenPacket(context.Background(), network, netip.AddrPortFrom(local, port).String())
		if err == nil {
			conn := c.(*net.UDPConn)
			raw, err := conn.SyscallConn()
			return conn, port, raw, err
		}
		if want != 0 {
			break
		}
	}
	return nil, 0, nil, errNoPort
}

// AllocateListener refuses: TCP to peers (RFC 6062) is a way into networks that nobody needs for media.
func (g generator) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCP
}

// AllocateConn refuses, as AllocateListener does.
func (g generator) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCP }

// relay is one relayed transport address. One goroutine reads it; that of its client writes to it.
type relay struct {
	*net.UDPConn
	Relay
	s      *Server
	port   uint16
	owner  *account
	raw    syscall.RawConn
	inbox  *inbox
	out    *sender // to peers, by the goroutine that reads the client
	back   *sender // to the client, by the one that reads this
	client atomic.Pointer[channelClient]
	closed atomic.Bool

	toPeers, toClient traffic
}

// open and shut keep the relays that there are; relayAt finds one by its address.
func (s *Server) open(r *relay) {
	s.relayMu.Lock()
	defer s.relayMu.Unlock()
	s.relays[relayKey{r.port, r.Public.Is6()}] = r
	s.live.add(r.port)
}

func (s *Server) shut(r *relay) {
	s.relayMu.Lock()
	defer s.relayMu.Unlock()
	delete(s.relays, relayKey{r.port, r.Public.Is6()})
	if s.relays[relayKey{r.port, !r.Public.Is6()}] == nil {
		s.live.remove(r.port)
	}
}

func (s *Server) relayAt(a net.Addr) *relay {
	at, ok := a.(*net.UDPAddr)
	if !ok {
		return nil
	}
	s.relayMu.Lock()
	defer s.relayMu.Unlock()
	return s.relays[relayKey{uint16(at.Port), at.IP.To4() == nil}]
}

// relayKey: each family has its own ports.
type relayKey struct {
	port uint16
	ipv6 bool
}

// traffic is what passed one way.
type traffic struct{ packets, bytes, dropped atomic.Uint64 }

// WriteTo sends to a peer that the client has a permission for. What may not be sent is lost, as datagrams are (RFC 8656, 11.2).
func (r *relay) WriteTo(b []byte, to net.Addr) (int, error) {
	r.send(b, to.(*net.UDPAddr).AddrPort())
	return len(b), nil
}

func (r *relay) send(b []byte, peer netip.AddrPort) {
	addr := peer.Addr().Unmap()
	if addr == r.Public || addr == r.Local {
		// Of this machine only relays and the bridge are reached, and from within: not every NAT lets its own public address be used from inside.
		if !r.s.peers.port(addr, peer.Port()) {
			r.toPeers.dropped.Add(1)
			return
		}
		addr = r.Local
	}
	if peer.Port() == 0 || !r.owner.toPeers.pass(r.s.clock.now(), len(b)) {
		r.toPeers.dropped.Add(1)
		return
	}
	r.toPeers.packets.Add(1)
	r.toPeers.bytes.Add(uint64(len(b)))
	if addr.Is6() != r.Local.Is6() || !r.out.send(r.raw, r.Local.Is6(), b, netip.AddrPortFrom(addr, peer.Port())) {
		r.toPeers.dropped.Add(1) // an ICMP error, or a full buffer
	}
}

// ReadFrom brings what a peer without a channel has sent. What comes from one that has is delivered on the way, within one wait of the poller.
func (r *relay) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	n, from, done := r.sort(b)
	if done {
		return n, from, nil
	}
	var failed error
	err = r.raw.Read(func(fd uintptr) bool {
		for {
			ok, err := r.inbox.fill(fd)
			if err != nil {
				failed = fmt.Errorf("%w: %w", errReceive, err)
				return true
			}
			if !ok {
				return false
			}
			emptied := r.inbox.emptied()
			if n, from, done = r.sort(b); done {
				return true
			}
			if emptied {
				return false
			}
		}
	})
	return n, from, errors.Join(err, failed)
}

// sort delivers what was read to the client's channels, until there is something that has none: that is for the protocol.
func (r *relay) sort(b []byte) (n int, from net.Addr, done bool) {
	for {
		frame, n, peer, ok := r.inbox.pop()
		if !ok {
			return 0, nil, false
		}
		if n > maxFrame || !r.owner.toClient.pass(r.s.clock.now(), n) {
			r.toClient.dropped.Add(1)
			continue
		}
		r.toClient.packets.Add(1)
		r.toClient.bytes.Add(uint64(n))
		if peer.Addr() == r.Local {
			peer = netip.AddrPortFrom(r.Public, peer.Port()) // the peer is known to its friends by that
		}
		if c := r.client.Load(); c != nil && c.deliver(frame, n, peer) {
			continue
		}
		return copy(b, frame[channelHeader:channelHeader+n]), net.UDPAddrFromAddrPort(peer), true
	}
}

// Close ends the relay; it may be called twice.
func (r *relay) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	r.s.shut(r)
	err := r.UDPConn.Close()
	r.s.accounts.give(r.owner)
	r.s.config.Metrics.freed(r.owner.user, Traffic{
		ToPeers: r.toPeers.packets.Load(), ToPeersBytes: r.toPeers.bytes.Load(), ToPeersDropped: r.toPeers.dropped.Load(),
		ToClient: r.toClient.packets.Load(), ToClientBytes: r.toClient.bytes.Load(), ToClientDropped: r.toClient.dropped.Load(),
	})
	return err
}
