package turn

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"

	"signalbox/media/udp"
)

// Relay is an address that relays have. Public is what peers see; behind a one-to-one NAT it is another than Local.
type Relay struct{ Local, Public netip.Addr }

var (
	errNoFamily = errors.New("turn: no relay address of this family")
	errNoPort   = errors.New("turn: all ports of relays are in use")
	errQuota    = errors.New("turn: the user has all the relays there are for one")
)

// relay is one relayed transport address. The worker of its client reads it.
type relay struct {
	Relay
	a      *allocation
	port   uint16
	socket *udp.Socket
	until  atomic.Int64 // time-to-expiry, as a time of the run
	closed atomic.Bool

	toPeers, toClient traffic
	counted           bool // in Server.ended, whose lock is its
}

// traffic is what passed one way.
type traffic struct{ packets, bytes, dropped atomic.Uint64 }

// adopt makes a socket a relay of the allocation.
func (a *allocation) adopt(from *reserved, until time.Duration) {
	r := &relay{Relay: from.at, a: a, port: from.socket.Port(), socket: from.socket}
	r.until.Store(int64(until))
	a.relays[familyOf(r.Public)-1] = r
	a.s.live.add(r.port)
	a.s.config.Metrics.allocated(a.user.user)
	if err := a.c.worker().poller.AddReporting(r.socket, r.receive, r.lost); err != nil {
		a.s.config.Logger.Warn("turn: a relay cannot be read", "error", err)
	}
}

func (r *relay) alive() bool { return !r.closed.Load() }

// left is how long it lives without being refreshed.
func (r *relay) left() time.Duration {
	return max(0, time.Duration(r.until.Load())-r.a.s.clock.now())
}

// destination is where datagrams to a peer go: of this machine only relays and the bridge are reached, from within, for not every NAT lets its own public address be
// used from inside. nil is nowhere.
func (r *relay) destination(peer netip.AddrPort) *udp.Addr {
	addr := peer.Addr()
	if addr == r.Public || addr == r.Local {
		addr = r.Local
	}
	if peer.Port() == 0 {
		return nil
	}
	return r.socket.Addr(netip.AddrPortFrom(addr, peer.Port()))
}

// send sends to a peer, whole if it may not be fragmented. What may not be sent is lost, as datagrams are (RFC 8656, 11.2; RFC 8656, 12.6).
func (r *relay) send(b []byte, peer netip.AddrPort, to *udp.Addr, whole bool, now time.Duration) {
	if addr := peer.Addr(); (addr == r.Public || addr == r.Local) && !r.a.s.peers.port(addr, peer.Port()) || !r.a.user.toPeers.pass(now, len(b)) {
		r.toPeers.dropped.Add(1)
		return
	}
	send := r.socket.Send
	if whole {
		send = r.socket.SendWhole
	}
	if !send(b, to) { // too large for the way, or a full buffer
		r.toPeers.dropped.Add(1)
		return
	}
	r.toPeers.packets.Add(1)
	r.toPeers.bytes.Add(uint64(len(b)))
}

// receive takes what a peer has sent.
func (r *relay) receive(b []byte, peer netip.AddrPort) {
	now := r.a.s.clock.now()
	peer = r.known(peer)
	if r.until.Load() <= int64(now) || !r.a.user.toClient.pass(now, len(b)) || !r.a.fromPeer(b, peer, now) {
		r.toClient.dropped.Add(1)
		return
	}
	r.toClient.packets.Add(1)
	r.toClient.bytes.Add(uint64(len(b)))
}

// lost tells the client that what it has sent did not arrive (RFC 8656, 11.5).
func (r *relay) lost(u udp.Undelivered) {
	relevant := u.Type == 3 || u.Type == 11
	if u.To.Addr().Is6() {
		relevant = 1 <= u.Type && u.Type <= 3
	}
	peer := r.known(u.To)
	now := r.a.s.clock.now()
	if !relevant || r.until.Load() <= int64(now) || !r.a.permitted(peer.Addr(), now) {
		return
	}
	icmp := binary.BigEndian.AppendUint32([]byte{0, 0, u.Type, u.Code}, u.MTU) // RFC 8656, 18.13
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication), address{stun.AttrXORPeerAddress, peer}, plainValue{attrICMP, icmp})
	if err == nil {
		r.a.c.send(m.Raw)
	}
}

// known is the address that a peer is known to its friends by.
func (r *relay) known(peer netip.AddrPort) netip.AddrPort {
	if peer.Addr() == r.Local {
		return netip.AddrPortFrom(r.Public, peer.Port())
	}
	return peer
}

// close ends the relay; it may be called twice.
func (r *relay) close() {
	if r.closed.Swap(true) {
		return
	}
	s := r.a.s
	s.live.remove(r.port)
	r.a.c.worker().poller.Remove(r.socket)
	s.accounts.give(r.a.user)
	t := r.traffic()
	s.mu.Lock()
	s.ended.add(t)
	r.counted = true
	s.mu.Unlock()
	s.config.Metrics.freed(r.a.user.user, t)
}

func (r *relay) traffic() Traffic {
	return Traffic{
		ToPeers: r.toPeers.packets.Load(), ToPeersBytes: r.toPeers.bytes.Load(), ToPeersDropped: r.toPeers.dropped.Load(),
		ToClient: r.toClient.packets.Load(), ToClientBytes: r.toClient.bytes.Load(), ToClientDropped: r.toClient.dropped.Load(),
	}
}

// bind opens a socket on a port of the range that nobody can guess (RFC 8656, 7.2), an even one if that is wanted.
func (s *Server) bind(at *Relay, even bool) (*udp.Socket, error) {
	for range portTries {
		port := s.anyPort(even)
		if c, err := udp.Bind(netip.AddrPortFrom(at.Local, port)); err == nil {
			return c, nil
		}
	}
	return nil, errNoPort
}

// bindPair opens an even port and the next one.
func (s *Server) bindPair(at *Relay) (even, odd *udp.Socket, err error) {
	for range portTries {
		if even, err = s.bind(at, true); err != nil {
			return nil, nil, err
		}
		if next := even.Port() + 1; next <= s.config.LastPort {
			if odd, err = udp.Bind(netip.AddrPortFrom(at.Local, next)); err == nil {
				return even, odd, nil
			}
		}
		even.Close()
	}
	return nil, nil, errNoPort
}

func (s *Server) anyPort(even bool) uint16 {
	port := s.config.FirstPort + uint16(rand.IntN(int(s.config.LastPort-s.config.FirstPort)+1))
	if even && port%2 == 1 {
		if port--; port < s.config.FirstPort {
			port += 2
		}
	}
	return port
}
