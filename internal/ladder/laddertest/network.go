package laddertest

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

var errRefused = fmt.Errorf("laddertest: nobody listens there: %w", transport.ErrConnect)

// Network is a transport.Network in memory. What the server sends waits here with its time until the player takes it, so that the server is never
// entered again from its own call; a packet to an address where nobody is vanishes, a connection to it is refused.
type Network struct {
	receiver transport.Receiver
	local    []netip.Addr // the server's

	mu      sync.Mutex
	flows   map[wire.FlowID]*flow
	listens map[wire.Hop]bool       // where phones accept connections; Name is ""
	closed  map[netip.AddrPort]bool // UDP ports whose machine says that nobody listens
	mtus    map[netip.Addr]int      // of the paths that are narrow
	sent    []packet
	refused []*flow // dialled in vain, told so at the next step
	serial  uint64
}

// packet is one message of the server on its way to a phone.
type packet struct {
	at    time.Time
	flow  *flow
	bytes []byte
	flags []string // [new], [refused]
}

func newNetwork(local []netip.Addr) *Network {
	return &Network{local: local, flows: make(map[wire.FlowID]*flow), listens: make(map[wire.Hop]bool), closed: make(map[netip.AddrPort]bool), mtus: make(map[netip.Addr]int)}
}

// Dial implements transport.Network.
func (n *Network) Dial(hop wire.Hop) (transport.Flow, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	local, ok := n.localFor(hop.Addr.Addr(), hop.Proto)
	if !ok {
		return nil, transport.ErrNoTransport
	}
	if hop.Proto == wire.UDP {
		return n.flow(wire.FlowID{Proto: wire.UDP, Local: local, Remote: hop.Addr}), nil
	}
	for id, f := range n.flows {
		if id.Proto == hop.Proto && id.Remote == hop.Addr && f.dead == nil {
			return f, nil
		}
	}
	n.serial++
	// A connection of ours leaves from a port of its own.
	local = netip.AddrPortFrom(local.Addr(), 32768+uint16(n.serial))
	f := n.flow(wire.FlowID{Proto: hop.Proto, Local: local, Remote: hop.Addr, Serial: n.serial})
	f.fresh = true
	if !n.listens[wire.Hop{Proto: hop.Proto, Addr: hop.Addr}] {
		n.refused = append(n.refused, f)
	}
	return f, nil
}

// Find implements transport.Network.
func (n *Network) Find(id wire.FlowID) (transport.Flow, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id.Proto == wire.UDP {
		if !slices.Contains(n.local, id.Local.Addr()) {
			return nil, false
		}
		return n.flow(id), true
	}
	f, ok := n.flows[id]
	return f, ok
}

// IsLocal implements transport.Network.
func (n *Network) IsLocal(host string, port int) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && slices.Contains(n.local, addr) && (port == 0 || port == 5060 || port == 5061)
}

// open is a phone's way to the server: for UDP always the same flow, for the others a new connection.
func (n *Network) open(proto wire.Proto, remote netip.AddrPort) *flow {
	n.mu.Lock()
	defer n.mu.Unlock()
	local, _ := n.localFor(remote.Addr(), proto)
	id := wire.FlowID{Proto: proto, Local: local, Remote: remote}
	if proto != wire.UDP {
		n.serial++
		id.Serial = n.serial
	}
	return n.flow(id)
}

func (n *Network) listen(proto wire.Proto, addr netip.AddrPort) {
	n.listens[wire.Hop{Proto: proto, Addr: addr}] = true
}

// flow returns the flow with this identity; the lock is held.
func (n *Network) flow(id wire.FlowID) *flow {
	f := n.flows[id]
	if f == nil {
		port := uint16(5060)
		if id.Proto.Secure() {
			port = 5061
		}
		f = &flow{network: n, id: id, sentBy: netip.AddrPortFrom(id.Local.Addr(), port), watchers: make(map[int]func(error))}
		n.flows[id] = f
	}
	return f
}

func (n *Network) localFor(remote netip.Addr, proto wire.Proto) (netip.AddrPort, bool) {
	for _, a := range n.local {
		if a.Is4() == remote.Is4() {
			port := uint16(5060)
			if proto.Secure() {
				port = 5061
			}
			return netip.AddrPortFrom(a, port), true
		}
	}
	return netip.AddrPort{}, false
}

// take returns what the server sent since the last call and tells it which of its connections were refused.
func (n *Network) take() []packet {
	n.mu.Lock()
	sent, refused := n.sent, n.refused
	n.sent, n.refused = nil, nil
	for i := range sent {
		p := &sent[i]
		switch {
		case slices.Contains(refused, p.flow), p.flow.id.Proto == wire.UDP && n.closed[p.flow.id.Remote]:
			p.flags = []string{"refused"}
		case p.flow.fresh:
			p.flow.fresh = false
			p.flags = []string{"new"}
		}
	}
	n.mu.Unlock()
	for _, f := range refused {
		f.close(errRefused)
	}
	for _, p := range sent {
		if p.flow.id.Proto == wire.UDP && slices.Contains(p.flags, "refused") {
			m := readMessage(p.bytes)
			_, branch, _ := strings.Cut(m.get("Via"), ";branch=")
			n.receiver.ReceiveUnreachable(p.flow.id.Remote, nth(m.start, 0), branch)
		}
	}
	return sent
}

// hangUp closes all connections with that phone, and its UDP port.
func (n *Network) hangUp(phone string, port netip.AddrPort, is func(wire.Hop) bool) {
	n.mu.Lock()
	var theirs []*flow
	for id, f := range n.flows {
		if id.Proto != wire.UDP && is(wire.Hop{Proto: id.Proto, Addr: id.Remote}) {
			theirs = append(theirs, f)
		}
	}
	if port.IsValid() {
		n.closed[port] = true
	}
	n.mu.Unlock()
	slices.SortFunc(theirs, func(a, b *flow) int { return cmp.Compare(a.id.Serial, b.id.Serial) })
	for _, f := range theirs {
		f.close(errors.New("closed by " + phone))
	}
}

// refusing tells whether a connection is about to be refused.
func (n *Network) refusing() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.refused) > 0
}

// deliver hands a phone's bytes to the server, as transport does: parsed, answered if they cannot be, with received and rport.
func (n *Network) deliver(f *flow, b []byte) {
	delete(n.closed, f.id.Remote)
	m, err := wire.Parse(b)
	if err != nil {
		if req, ok := m.(*wire.Request); ok && req != nil && req.Method != "ACK" {
			_ = f.Send(wire.Append(nil, wire.NewResponse(req, err.Code, err.Reason, "unparsable")))
		}
		return
	}
	switch m := m.(type) {
	case *wire.Request:
		n.receiver.ReceiveRequest(f, stampVia(m, f.id.Remote))
	case *wire.Response:
		// RFC 3261, 18.1.2: a response whose top Via is not ours is dropped.
		if n.IsLocal(m.Via.Host, m.Via.Port) {
			n.receiver.ReceiveResponse(f, m)
		}
	}
}

// stampVia does RFC 3261, 18.2.1 and RFC 3581, 4.
func stampVia(req *wire.Request, source netip.AddrPort) *wire.Request {
	via := req.Via // Pop reads the next one into its place
	host, err := netip.ParseAddr(via.Host)
	if err == nil && host == source.Addr() && !via.HasRPort {
		return req
	}
	value, _ := wire.Pop(req, "Via")
	if via.HasRPort {
		value = strings.Replace(value, ";rport", ";rport="+strconv.Itoa(int(source.Port())), 1)
	}
	value += ";received=" + source.Addr().String()
	wire.Push(req, "Via", value)
	if via, err = wire.ParseVia(value); err == nil {
		req.Via = via
	}
	return req
}

// flow is one pair of UDP addresses or one connection.
type flow struct {
	network  *Network
	id       wire.FlowID
	sentBy   netip.AddrPort
	dead     error // guarded by network.mu, like what follows
	fresh    bool  // the server has opened it and sent nothing yet
	watchers map[int]func(error)
	watched  int
}

func (f *flow) ID() wire.FlowID        { return f.id }
func (f *flow) SentBy() netip.AddrPort { return f.sentBy }
func (f *flow) MTU() int               { return f.network.mtus[f.id.Remote.Addr()] }

func (f *flow) Send(b []byte) error {
	f.network.mu.Lock()
	defer f.network.mu.Unlock()
	if f.dead != nil {
		return transport.ErrClosed
	}
	f.network.sent = append(f.network.sent, packet{at: time.Now(), flow: f, bytes: b})
	return nil
}

func (f *flow) OnClose(fn func(error)) (stop func()) {
	f.network.mu.Lock()
	if err := f.dead; err != nil {
		f.network.mu.Unlock()
		fn(err)
		return func() {}
	}
	defer f.network.mu.Unlock()
	f.watched++
	key := f.watched
	f.watchers[key] = fn
	return func() {
		f.network.mu.Lock()
		defer f.network.mu.Unlock()
		delete(f.watchers, key)
	}
}

// close ends a connection and tells who watches it, in the order in which they came.
func (f *flow) close(reason error) {
	f.network.mu.Lock()
	f.dead = reason
	delete(f.network.flows, f.id)
	var fns []func(error)
	for key := 1; key <= f.watched; key++ {
		if fn, ok := f.watchers[key]; ok {
			fns = append(fns, fn)
		}
	}
	f.watchers = nil
	f.network.mu.Unlock()
	for _, fn := range fns {
		fn(reason)
	}
}
