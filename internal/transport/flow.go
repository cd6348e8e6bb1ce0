package transport

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"signalbox/internal/wire"
)

var (
	ErrClosed      = errors.New("transport: flow is closed")
	ErrFull        = errors.New("transport: send queue is full")
	ErrNoTransport = errors.New("transport: no listener for this hop")
	ErrLimit       = errors.New("transport: too many connections")
	ErrConnect     = errors.New("transport: the connection could not be opened") // what OnClose says of one that never was
)

// Flow is one connection or one pair of UDP addresses. Safe for concurrent use.
type Flow interface {
	ID() wire.FlowID
	// Send queues one message and never blocks. b must not be changed afterwards: flow and caller share it, so that a retransmission needs no copy.
	// On the flow that a UDP request came with, it goes where responses to this request go (RFC 3261, 18.2.2; RFC 3581, 4).
	Send(b []byte) error
	// OnClose registers fn to be called once, with the reason, when the flow dies (at once, if it is dead already). UDP flows never die before their
	// listener. stop forgets fn. fn runs on the flow's goroutine and must not block.
	OnClose(fn func(error)) (stop func())
	// SentBy is our host:port as a peer on this flow reaches us: the sent-by of our Via and the hostport of our Record-Route.
	SentBy() netip.AddrPort
}

// Receiver takes what arrives. Calls for one flow come in the order of arrival, one at a time, on the goroutine that reads the flow: an
// implementation must not block. Requests carry received and rport in their top Via already (RFC 3261, 18.2.1; RFC 3581, 4); responses whose
// top Via is not ours are dropped before (18.1.2); unparsable requests have been answered.
type Receiver interface {
	ReceiveRequest(f Flow, req *wire.Request)
	ReceiveResponse(f Flow, res *wire.Response)
	// ReceiveUnreachable says that a request of ours over UDP did not arrive (RFC 3261, 18.4): its method and the branch of its top Via.
	ReceiveUnreachable(to netip.AddrPort, method, branch string)
}

// Network is what the rooms above need: real sockets (Transport), or memory (internal/ladder) in tests.
type Network interface {
	// Dial returns a flow to the hop: an existing connection that we opened to the same address and name, or a new one that is still being opened (messages
	// queue; failure shows through OnClose). For UDP: from the listener that suits the hop. Never blocks. An error means there is no such transport.
	Dial(hop wire.Hop) (Flow, error)
	// Find returns the flow with that identity if it lives. A UDP flow lives while we listen on its local address.
	Find(id wire.FlowID) (Flow, bool)
	// IsLocal tells whether host:port (port 0: any of our ports) is a listener of ours: the machine's addresses and the advertised ones.
	IsLocal(host string, port int) bool
}

// ExpectKeepAlive closes a connection on which nothing has come for so long, from the next message on: its phone has promised keep-alives (RFC 5626, 5.4). Called by
// whoever handles a message of the flow. Other flows have no end.
func ExpectKeepAlive(f Flow, within time.Duration) {
	if k, ok := f.(interface{ ExpectKeepAlive(within time.Duration) }); ok {
		k.ExpectKeepAlive(within)
	}
}

// ClientCertificates returns the certificates that a client has shown on a flow it opened, leaf first; nil for any other flow.
func ClientCertificates(f Flow) []*x509.Certificate {
	if c, ok := f.(*conn); ok && c.key != (dialKey{}) {
		return nil // a server that we connected to
	}
	return PeerCertificates(f)
}

// PeerCertificates returns the certificates the peer of a TLS flow has shown, leaf first; nil for any other flow and before the handshake is over.
func PeerCertificates(f Flow) []*x509.Certificate {
	if c, ok := f.(*conn); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.peer
	}
	return nil
}
