package transaction

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

var (
	ErrTimeout   = errors.New("transaction: no final response in time") // Timer B or F: the user treats it as 408 (RFC 3261, 8.1.3.1)
	ErrTransport = errors.New("transaction: transport failed")          // treated as 503 (RFC 3261, 8.1.3.1)

	ErrUnreachable     = fmt.Errorf("%w: nobody there", ErrTransport) // an ICMP error said so
	errNotAcknowledged = errors.New("transaction: no ACK in time")    // Timer H
)

// Handler serves requests: once per request, retransmissions never reach it. It runs as the transaction's owner and must not block: what has to wait returns nil
// and answers later. A returned error becomes the final response if none was sent: a *wire.Error as it says, any other error 500.
// An ACK to a 2xx comes too, once each time it arrives, with a Server on which Respond does nothing. CANCEL never comes: the layer answers it (200, or 481) and tells the INVITE.
type Handler interface {
	ServeSIP(tx *Server) error
}

// Config is what New needs.
type Config struct {
	Handler Handler
	// Finished is called once per server transaction that got its final response (for ACK to 2xx not), CANCEL included; nil is silent.
	Finished func(tx *Server, code int, took time.Duration)
	// Fallback returns the flow for a response whose connection is gone: a new connection to where the request's top Via says (RFC 3261, 18.2.2).
	// nil: such a response is lost.
	Fallback func(top *wire.Via) (transport.Flow, error)
	// Lag is how long the messages that are being read have waited to be; nil: not known. It is asked for every new request.
	Lag func() time.Duration
	// Knows tells whether a request with a To tag is within a dialog that it proves to be a member of, or that is with us. It is asked only when new work is refused, and must
	// not block; nil believes every To tag.
	Knows  func(req *wire.Request) bool
	Limits Limits
	Logger *slog.Logger // nil is slog.Default()
}

// Limits bound the layer.
type Limits struct {
	// Transactions is how many server and client transactions may be alive, completed ones included; 0 is DefaultTransactions. Beyond it new requests get 503 with
	// Retry-After, statelessly; an eighth is kept for CANCEL and requests within dialogs.
	Transactions int
}

// Layer matches messages to transactions (RFC 3261, 17.1.3 and 17.2.3) in sharded tables. It implements transport.Receiver.
type Layer struct {
	config  Config
	log     *slog.Logger
	wheel   *wheel
	servers table[server]
	clients table[client]
	merged  table[server] // RFC 3261, 8.2.2.2
	scratch sync.Pool     // of *[]byte: messages are written there and kept in their exact size

	overload overload
	failures failureLog

	active, aliveServers, aliveClients atomic.Int64
	refused, stray                     atomic.Uint64
}

// Validate tells what New could not work with.
func (c Config) Validate() error {
	switch {
	case c.Handler == nil:
		return errors.New("transaction: no handler")
	case c.Limits.Transactions < 0 || c.Limits.Transactions > 0 && c.Limits.Transactions < reservedShare:
		return fmt.Errorf("transaction: a limit of %d transactions leaves no room", c.Limits.Transactions)
	}
	return nil
}

// New starts a layer: its timing wheel runs until Close.
func New(c Config) *Layer {
	if c.Limits.Transactions <= 0 {
		c.Limits.Transactions = DefaultTransactions
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	l := &Layer{config: c, log: c.Logger, wheel: newWheel()}
	l.scratch.New = func() any { return new([]byte) }
	l.servers.init()
	l.clients.init()
	l.merged.init()
	return l
}

// Close stops the wheel: no timer fires any more.
func (l *Layer) Close() { l.wheel.close() }

// Active counts server transactions that have no final response yet: a drain waits for 0.
func (l *Layer) Active() int { return int(l.active.Load()) }

// Counts is the state of the layer, for metrics.
type Counts struct {
	Active  int    // server transactions without a final response
	Servers int    // server transactions alive, completed ones included
	Clients int    // client transactions alive, completed ones included
	Refused uint64 // requests refused so far: by Limits.Transactions, or because we lag behind
	Stray   uint64 // responses dropped so far because no client transaction waits for them
}

func (l *Layer) Counts() Counts {
	return Counts{
		Active: l.Active(), Servers: int(l.aliveServers.Load()), Clients: int(l.aliveClients.Load()),
		Refused: l.refused.Load(), Stray: l.stray.Load(),
	}
}

// ReceiveRequest gives a request to its server transaction, which it makes if there is none (RFC 6026, 8.10).
func (l *Layer) ReceiveRequest(f transport.Flow, req *wire.Request) {
	method := string(req.Method)
	if method == "ACK" {
		l.receiveACK(f, req)
		return
	}
	k := requestKey(req)
	hash, shard := l.servers.lock(k)
	if m := shard.find(hash, k, method); m != nil {
		shard.mu.Unlock()
		m.owner.offer(event{to: m, msg: req})
		return
	}
	var invite *server
	if method == "CANCEL" {
		invite = shard.other(hash, k, method)
	}
	if !l.admits(req, invite != nil) {
		shard.mu.Unlock()
		l.refuse(f, req)
		return
	}
	m := l.newServer(f, req)
	m.slot.fill(hash, k, method, m)
	if method == "CANCEL" {
		m.cancels(invite)
	}
	shard.add(&m.slot)
	shard.mu.Unlock()
	m.owner.post(event{to: m, msg: req})
}

// receiveACK gives an ACK to the INVITE it belongs to, or up (RFC 3261, 17.2.1; RFC 6026, 7.1).
func (l *Layer) receiveACK(f transport.Flow, ack *wire.Request) {
	if m := l.findINVITE(ack); m != nil {
		m.owner.offer(event{to: m, msg: &acknowledged{ack, f}})
		return
	}
	if l.toRefusal(ack) {
		return
	}
	l.passACK(f, ack)
}

// ReceiveResponse gives a response to its client transaction. What matches none is dropped (RFC 6026, 7.3 and 8.9).
func (l *Layer) ReceiveResponse(f transport.Flow, res *wire.Response) {
	m := l.clients.find(responseKey(res.Via.Branch), res.CSeq.Method)
	if m == nil || !m.from(f) {
		l.stray.Add(1)
		return
	}
	m.owner.offer(event{to: m, msg: res})
}

// ReceiveUnreachable ends a client transaction whose request did not arrive (RFC 3261, 17.1.4 and 18.4). Who has answered before was there: then it is the timers' to tell.
func (l *Layer) ReceiveUnreachable(to netip.AddrPort, method, branch string) {
	m := l.clients.find(responseKey(branch), method)
	if m == nil || m.reliable || m.flow.ID().Remote != to {
		return
	}
	m.owner.offer(event{to: m, msg: ErrUnreachable})
}

// encode writes a message once, in its exact size: these bytes are what is sent, kept and re-sent.
func (l *Layer) encode(msg wire.Message) []byte {
	return l.exact(func(dst []byte) []byte { return wire.Append(dst, msg) })
}

// exact returns what write appends, without room to spare.
func (l *Layer) exact(write func(dst []byte) []byte) []byte {
	buf := l.scratch.Get().(*[]byte)
	*buf = write((*buf)[:0])
	b := append(make([]byte, 0, len(*buf)), *buf...)
	l.scratch.Put(buf)
	return b
}
