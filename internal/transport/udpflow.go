package transport

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"signalbox/internal/wire"
)

// udpFlow is one pair of UDP addresses. It is a value without life: made when needed, forgotten when the cache needs the place.
type udpFlow struct {
	l     *udpListener
	q     *udpQueue
	id    wire.FlowID
	reply netip.AddrPort // where Send sends to
	born  time.Time      // of a dialled flow: when the kernel was asked for the route

	mtu atomic.Uint64 // of the path, 0 if unknown; above it the routeAge in which the kernel was asked

	name       sockaddr
	nameLen    int
	control    [controlSize]byte
	controlLen int
}

func newUDPFlow(l *udpListener, local, remote, reply netip.AddrPort) *udpFlow {
	f := &udpFlow{l: l, id: wire.FlowID{Proto: wire.UDP, Local: local, Remote: remote}, reply: reply}
	f.q = l.sockets[maphash.Comparable(l.t.seed, remote)%uint64(len(l.sockets))].queue
	f.name, f.nameLen = makeSockaddr(reply)
	if l.wildcard() {
		f.controlLen = makeSource(&f.control, local.Addr())
	}
	return f
}

func (f *udpFlow) ID() wire.FlowID { return f.id }

func (f *udpFlow) Send(b []byte) error {
	t := f.l.t
	if t.closed.Load() {
		return ErrClosed
	}
	t.traced(false, f.id, b)
	if err := f.q.push(b, f); err != nil {
		return err
	}
	t.sent(wire.UDP)
	// A reader that is at work empties all queues when it is through with its batch; else nobody would.
	if f.l.busy.Load() == 0 {
		f.q.flush()
	}
	return nil
}

// OnClose: a UDP flow has no end that anybody could observe.
func (f *udpFlow) OnClose(fn func(error)) (stop func()) {
	if f.l.t.closed.Load() {
		fn(ErrClosed)
	}
	return func() {}
}

func (f *udpFlow) SentBy() netip.AddrPort { return f.l.t.sentBy(f.id.Local) }

// fill makes the arguments of one sendmsg. The kernel only reads them, so that one flow may be sent to from several queues at once.
func (f *udpFlow) fill(h *unix.Msghdr, iov *unix.Iovec, b []byte) {
	iov.Base = nil
	if len(b) > 0 {
		iov.Base = &b[0]
	}
	iov.SetLen(len(b))
	h.Name, h.Namelen = &f.name[0], uint32(f.nameLen)
	h.Iov = iov
	h.SetIovlen(1)
	h.Control = nil
	if f.controlLen > 0 {
		h.Control = &f.control[0]
	}
	h.SetControllen(f.controlLen)
}

// flowTable is a direct-mapped cache of flows: a collision costs an allocation, nothing else. It never grows.
type flowTable [flowCache]atomic.Pointer[udpFlow]

// flow returns the flow local-remote whose Send goes to reply.
func (l *udpListener) flow(local, remote, reply netip.AddrPort) *udpFlow {
	slot := &l.flows[(maphash.Comparable(l.t.seed, remote)^uint64(reply.Port()))%flowCache]
	if f := slot.Load(); f != nil && f.id.Remote == remote && f.reply == reply && f.id.Local == local {
		return f
	}
	f := newUDPFlow(l, local, remote, reply)
	slot.Store(f)
	return f
}

// dial returns the flow to remote from the address the kernel routes by.
func (l *udpListener) dial(remote netip.AddrPort) (*udpFlow, error) {
	if !l.wildcard() {
		return l.flow(l.addr, remote, remote), nil
	}
	now := time.Now()
	slot := &l.dialled[maphash.Comparable(l.t.seed, remote)%flowCache]
	if f := slot.Load(); f != nil && f.id.Remote == remote && now.Sub(f.born) < routeAge {
		return f, nil
	}
	local, err := route(remote)
	if err != nil {
		return nil, err
	}
	f := newUDPFlow(l, netip.AddrPortFrom(local, l.addr.Port()), remote, remote)
	f.born = now
	slot.Store(f)
	return f, nil
}
