package messages

import (
	"net/netip"
	"sync"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// flow is the way between the server and a page, as the rooms of SIP know it. It implements transport.Flow.
type flow struct {
	id    wire.FlowID
	inbox chan []byte // what the session is to read

	mu      sync.Mutex
	closed  bool
	onClose map[int]func(error)
	next    int
}

func newFlow(id wire.FlowID) *flow {
	return &flow{id: id, inbox: make(chan []byte, inbox), onClose: map[int]func(error){}}
}

// ID is that of a WebSocket from the page: it is reached by this flow only, and registers like one (RFC 7118, 5).
func (f *flow) ID() wire.FlowID { return f.id }

// SentBy is where the page's HTTP request has reached us.
func (f *flow) SentBy() netip.AddrPort { return f.id.Local }

// Send queues a message for the session.
func (f *flow) Send(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return transport.ErrClosed
	}
	select {
	case f.inbox <- b:
		return nil
	default:
		return transport.ErrFull
	}
}

// OnClose is that of transport.Flow.
func (f *flow) OnClose(fn func(error)) (stop func()) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		fn(transport.ErrClosed)
		return func() {}
	}
	defer f.mu.Unlock()
	n := f.next
	f.next++
	f.onClose[n] = fn
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.onClose, n)
	}
}

func (f *flow) close() {
	f.mu.Lock()
	f.closed = true
	list := f.onClose
	f.onClose = map[int]func(error){}
	f.mu.Unlock()
	for _, fn := range list {
		fn(transport.ErrClosed)
	}
}
