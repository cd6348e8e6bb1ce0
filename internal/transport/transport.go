package transport

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/internal/wire"
)

// Transport is the Network of real sockets. New binds, Start serves, Close ends.
type Transport struct {
	config   Config
	log      *slog.Logger
	receiver Receiver
	times    timeouts
	seed     maphash.Seed
	tls      tlsConfigs

	listening []Listening
	udp       []*udpListener
	stream    []*streamListener
	web       []*streamListener // http and https
	embedded  embedded
	handlers  gate // of WebSockets
	buffers   sync.Pool
	conns     *registry
	rejects   rejectLimiter

	public4, public6 netip.Addr
	machine          atomic.Pointer[machine]

	begun   time.Time
	ctx     context.Context // ends with the transport: what dials gives up
	stop    context.CancelFunc
	done    <-chan struct{} // of ctx
	closed  atomic.Bool
	readers sync.WaitGroup // of UDP sockets
	running sync.WaitGroup // everything else
}

// Listening is one address we listen on; a wildcard one stands for all the machine has of its family.
type Listening struct {
	Proto wire.Proto
	Addr  netip.AddrPort
}

// New binds all addresses, so that one in use is an error that names it before anything has begun. Nothing is read before Start.
func New(c Config) (*Transport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Limits.Connections == 0 {
		c.Limits.Connections = DefaultConnections
	}
	if c.Limits.PerAddress == 0 {
		c.Limits.PerAddress = DefaultPerAddress
	}
	t := &Transport{config: c, log: c.Logger, times: defaultTimeouts, seed: maphash.MakeSeed(), conns: newRegistry(c.Limits), begun: time.Now()}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.rejects.seed = t.seed
	t.tls = newTLSConfigs(&c)
	for _, a := range c.Advertise {
		if a.Is4() {
			t.public4 = a
		} else {
			t.public6 = a
		}
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.done = t.ctx.Done()
	if err := t.bind(); err != nil {
		_ = t.Close(context.Background())
		return nil, err
	}
	return t, nil
}

// bind opens all listeners.
func (t *Transport) bind() error {
	for _, s := range t.config.UDP {
		unbind := func() {
			t.udp[len(t.udp)-1].close()
			t.udp = t.udp[:len(t.udp)-1]
		}
		if err := bindAll(s, t.bindUDP, unbind); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		proto wire.Proto
		addrs []string
		to    *[]*streamListener
	}{{wire.TCP, t.config.TCP, &t.stream}, {wire.TLS, t.config.TLS, &t.stream}, {wire.WS, t.config.WS, &t.web}, {wire.WSS, t.config.WSS, &t.web}} {
		if err := t.bindStreams(l.proto, l.addrs, l.to); err != nil {
			return err
		}
	}
	for _, l := range t.udp {
		t.listening = append(t.listening, Listening{wire.UDP, l.addr})
	}
	for _, l := range slices.Concat(t.stream, t.web) {
		t.listening = append(t.listening, Listening{l.proto, l.addr})
	}
	return nil
}

func (t *Transport) bindUDP(a netip.AddrPort) (netip.AddrPort, error) {
	conns, err := listenUDP(a)
	if err != nil {
		return a, err
	}
	l, err := newUDPListener(t, conns)
	if err != nil {
		return a, err
	}
	t.udp = append(t.udp, l)
	return l.addr, nil
}

func (t *Transport) bindStreams(proto wire.Proto, list []string, to *[]*streamListener) error {
	bind := func(a netip.AddrPort) (netip.AddrPort, error) {
		l, err := listenTCP(proto.String(), a)
		if err != nil {
			return a, err
		}
		s := &streamListener{t: t, l: l, proto: proto, addr: l.Addr().(*net.TCPAddr).AddrPort()}
		*to = append(*to, s)
		return s.addr, nil
	}
	unbind := func() {
		last := len(*to) - 1
		_ = (*to)[last].l.Close()
		*to = (*to)[:last]
	}
	for _, s := range list {
		if err := bindAll(s, bind, unbind); err != nil {
			return err
		}
	}
	return nil
}

// Addrs are the addresses we listen on, with the ports that ":0" got.
func (t *Transport) Addrs() []Listening { return t.listening }

// Start begins to read. Everything that arrives goes to r.
func (t *Transport) Start(r Receiver) {
	t.receiver = r
	for _, l := range t.udp {
		l.start()
	}
	for _, l := range t.stream {
		t.running.Go(l.accept)
	}
}

// Close ends everything: no new connections and no more datagrams, then what is queued is sent, as far as ctx allows, and all is closed. It returns when nothing runs any more.
func (t *Transport) Close(ctx context.Context) error {
	t.closed.Store(true)
	for _, l := range slices.Concat(t.stream, t.web) {
		_ = l.l.Close()
	}
	for _, l := range t.udp {
		l.stopReading()
	}
	t.readers.Wait()
	err := t.conns.close(ctx)
	for _, l := range t.udp {
		l.close()
	}
	t.stop()
	t.handlers.shut()
	t.running.Wait()
	return err
}

// Find returns the flow with that identity if it lives.
func (t *Transport) Find(id wire.FlowID) (Flow, bool) {
	if id.Proto != wire.UDP {
		if c := t.conns.find(id); c != nil {
			return c, true
		}
		return nil, false
	}
	if t.closed.Load() || id.Serial != 0 || !id.Remote.IsValid() || id.Remote.Port() == 0 {
		return nil, false
	}
	for _, l := range t.udp {
		if l.addr == id.Local || l.wildcard() && l.addr.Port() == id.Local.Port() && l.addr.Addr().Is4() == id.Local.Addr().Is4() && t.isOwn(id.Local.Addr()) {
			return l.flow(id.Local, id.Remote, id.Remote), true
		}
	}
	return nil, false
}

// Dial returns a flow to the hop.
func (t *Transport) Dial(hop wire.Hop) (Flow, error) {
	if t.closed.Load() {
		return nil, ErrClosed
	}
	hop.Addr = netip.AddrPortFrom(hop.Addr.Addr().Unmap(), hop.Addr.Port())
	if !hop.Addr.IsValid() || hop.Addr.Port() == 0 {
		return nil, fmt.Errorf("transport: cannot dial %s", hop.Addr)
	}
	switch hop.Proto {
	case wire.UDP:
		return t.dialUDP(hop)
	case wire.TCP, wire.TLS:
		return t.dialStream(hop)
	}
	return nil, ErrNoTransport
}

// dialUDP chooses the listener that the packet would leave from.
func (t *Transport) dialUDP(hop wire.Hop) (Flow, error) {
	var best *udpListener
	if len(t.udp) == 1 {
		if l := t.udp[0]; suits(l.addr.Addr(), netip.Addr{}, hop.Addr.Addr()) > 0 {
			best = l
		}
	} else {
		var rank int
		var source netip.Addr
		for _, l := range t.udp {
			// The kernel is asked only where it makes a difference.
			if !source.IsValid() && !l.wildcard() {
				source, _ = route(hop.Addr)
			}
			if r := suits(l.addr.Addr(), source, hop.Addr.Addr()); r > rank {
				best, rank = l, r
			}
		}
	}
	if best == nil {
		return nil, ErrNoTransport
	}
	f, err := best.dial(hop.Addr)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// pause waits, and says whether the transport still runs.
func (t *Transport) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !t.closed.Load()
	case <-t.done:
		return false
	}
}

func (t *Transport) traced(in bool, id wire.FlowID, b []byte) {
	if t.config.Trace != nil {
		t.config.Trace(in, id, b)
	}
}

func (t *Transport) sent(p wire.Proto) {
	if t.config.Metrics.Sent != nil {
		t.config.Metrics.Sent(p)
	}
}

func (t *Transport) dropped(p wire.Proto, why Reason) {
	if t.config.Metrics.Dropped != nil {
		t.config.Metrics.Dropped(p, why)
	}
}
