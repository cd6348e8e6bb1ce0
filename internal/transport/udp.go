package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"

	"signalbox/internal/nap"
	"signalbox/internal/wire"
)

// udpListener is one UDP address we listen on: one or more sockets bound to it, among which the kernel spreads sources (SO_REUSEPORT). Datagrams of one
// source come to one socket, so their order is kept.
type udpListener struct {
	t       *Transport
	addr    netip.AddrPort // as bound: may be the unspecified address
	sockets []*udpSocket
	busy    atomic.Int32 // readers that are working on a batch
	flows   *flowTable   // of received datagrams
	dialled *flowTable   // of a wildcard listener: by remote alone
}

type udpSocket struct {
	l      *udpListener
	fd     *udpFD
	queue  *udpQueue
	lag    lag
	gather nap.Gather
}

func newUDPListener(t *Transport, conns []*net.UDPConn) (*udpListener, error) {
	l := &udpListener{
		t:       t,
		addr:    conns[0].LocalAddr().(*net.UDPAddr).AddrPort(),
		flows:   new(flowTable),
		dialled: new(flowTable),
	}
	for _, c := range conns {
		fd, err := newUDPFD(c)
		if err != nil {
			return nil, err
		}
		drop := func(why Reason) { t.dropped(wire.UDP, why) }
		l.sockets = append(l.sockets, &udpSocket{l: l, fd: fd, queue: newUDPQueue(fd.raw, drop, t.lost), gather: nap.Gather{Pace: gatherPace}})
	}
	return l, nil
}

func (l *udpListener) wildcard() bool { return l.addr.Addr().IsUnspecified() }

// start runs one reader and one (sleeping) writer per socket.
func (l *udpListener) start() {
	for _, s := range l.sockets {
		l.t.readers.Go(s.read)
		l.t.running.Go(func() { s.queue.run(l.t.done) })
	}
}

// stopReading ends the readers; what is queued can still be sent.
func (l *udpListener) stopReading() {
	for _, s := range l.sockets {
		s.fd.interrupt()
	}
}

// close sends what is queued and closes the sockets.
func (l *udpListener) close() {
	for _, s := range l.sockets {
		s.queue.flush()
		s.fd.close() // lets a waiting attendant go
	}
}

// flush empties the queues of all sockets.
func (l *udpListener) flush() {
	for _, s := range l.sockets {
		s.queue.flush()
	}
}

// read takes datagrams in batches and hands them on, until the socket is closed.
//
// It stays inside one Read of the runtime's poller: a batch that was not full has emptied the socket, and whatever comes afterwards wakes the poller
// again, so the goroutine sleeps at once instead of asking the kernel a second time. What no call of Read resets cannot be missed.
func (s *udpSocket) read() {
	var fd uintptr
	if s.fd.raw.Control(func(it uintptr) { fd = it }) != nil {
		return
	}
	batch := newRecvBatch(s.l.addr.Addr().Is6())
	for again := true; again; {
		var failed error
		err := s.fd.wait.Read(func(uintptr) bool {
			for {
				n, err := batch.recv(fd)
				s.lag.measure(fd, n)
				if err != nil || s.queue.bounced.Load() {
					s.hearErrors(fd) // to be woken for nothing means that there is one
				}
				if bounced(err) {
					continue // the datagrams behind it still wait
				}
				if err != nil {
					if wouldBlock(err) && s.rest() {
						continue
					}
					failed = err
					return !wouldBlock(err)
				}
				s.handle(batch, n)
				s.gather.Came(n)
				if n == udpBatch {
					if !s.gather.On() {
						s.gathers() // there is more, and no time for a nap; but the poller need not hear of each
					}
				} else if !s.rest() {
					return false
				}
			}
		})
		if ended(err) {
			return
		}
		if err != nil {
			failed = err // an ICMP error on a socket whose send buffer is full: the poller does not wait until it is heard
			s.hearErrors(fd)
		}
		// The kernel is short of memory: what belongs to one datagram is heard above.
		s.l.t.log.Error("udp receive failed", "address", s.l.addr, "error", failed)
		again = s.l.t.pause(defaultTimeouts.acceptPause)
	}
}

// handle works on the first n datagrams of a batch, and then sends what has queued.
func (s *udpSocket) handle(batch *recvBatch, n int) {
	s.l.busy.Add(1)
	for i := range n {
		s.take(batch.datagram(i))
	}
	s.l.busy.Add(-1)
	s.l.flush()
}

// take handles one datagram.
func (s *udpSocket) take(b []byte, from netip.AddrPort, to netip.Addr) {
	l := s.l
	if from.Port() == 0 {
		return // nobody could be answered there
	}
	local := l.addr
	if l.wildcard() && to.IsValid() {
		local = netip.AddrPortFrom(to, l.addr.Port())
	}
	switch {
	case isSTUN(b):
		if answer := answerSTUN(b, from, l.keptAlive(local, from)); answer != nil {
			_ = l.flow(local, from, from).send(answer)
		}
	case isKeepAlive(b):
		l.keptAlive(local, from) // RFC 5626, 4.4.1: CRLF is not for UDP; phones send it (or a NUL) to keep their NAT open and want no answer.
	default:
		l.t.receive(incoming{udp: l, local: local, remote: from}, b)
	}
}

// keptAlive passes on that a phone keeps its flow alive.
func (l *udpListener) keptAlive(local, from netip.AddrPort) bool {
	return l.t.config.KeptAlive == nil || l.t.config.KeptAlive(wire.FlowID{Proto: wire.UDP, Local: local, Remote: from})
}

// send is Send for what is no SIP message.
func (f *udpFlow) send(b []byte) error {
	err := f.q.push(b, f)
	if err == nil && f.l.busy.Load() == 0 {
		f.q.flush()
	}
	return err
}

// isKeepAlive tells whether a datagram holds nothing but line ends, blanks or NULs.
func isKeepAlive(b []byte) bool {
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 && c != ' ' {
			return false
		}
	}
	return true
}

// errNoRoute is what Dial says when the kernel knows no way to the hop.
var errNoRoute = errors.New("transport: no route to the hop")

// route asks the kernel which of our addresses a packet to remote would leave from. Nothing is sent.
func route(remote netip.AddrPort) (netip.Addr, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(remote))
	if err != nil {
		return netip.Addr{}, errors.Join(errNoRoute, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}
