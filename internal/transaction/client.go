package transaction

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// User receives what a client transaction hears, as the owner. Provisional responses (100 too), then one final; for INVITE further 2xx (RFC 6026, 7.2).
// After ServeFailure (ErrTimeout, ErrTransport) nothing more comes.
type User interface {
	ServeResponse(c *Client, res *wire.Response)
	ServeFailure(c *Client, err error)
}

// Client is a client transaction as its user sees it. Its methods are called as its owner only.
type Client struct {
	Request *wire.Request
	Flow    transport.Flow

	machine *client
}

// client is the machine behind a Client: INVITE (RFC 3261, 17.1.1 with RFC 6026, 7.2) or not (RFC 3261, 17.1.2).
type client struct {
	slot slot[client]

	layer  *Layer
	owner  *Owner
	handle *Client // as long as the user hears more; nil for our CANCEL
	user   User
	flow   transport.Flow
	stop   func() // OnClose of a reliable flow, while a final response is awaited

	last     []byte // what to send again: the request, then the ACK
	timer    Timer
	interval tick // Timer A or E
	deadline tick // Timer B, F, D, K, M, or 64*T1 after a CANCEL

	reason     string // of the CANCEL
	state      state
	invite     bool
	reliable   bool
	cancelling bool
}

// Start sends req, whose top Via (with a unique branch) the caller pushed, and runs the INVITE or non-INVITE client machine. The ACK to a 3xx-6xx is sent by the machine. req is
// not changed any more. It is called as o; nil means an owner of its own, then the user may hear of it before Start returns.
func (l *Layer) Start(o *Owner, req *wire.Request, to transport.Flow, u User) *Client {
	own := o == nil
	if own {
		o = l.NewOwner()
	}
	c := &Client{Request: req, Flow: to}
	m := l.newClient(o, string(req.Method), req.Via.Branch, to)
	m.handle, m.user, c.machine = c, u, m
	if b := l.encode(req); own {
		o.Do(func() { m.begin(b) })
	} else {
		m.begin(b)
	}
	return c
}

// startClient runs a transaction for a request of the layer's own.
func (l *Layer) startClient(o *Owner, method, branch string, b []byte, to transport.Flow) {
	l.newClient(o, method, branch, to).begin(b)
}

func (l *Layer) newClient(o *Owner, method, branch string, to transport.Flow) *client {
	m := &client{layer: l, owner: o, flow: to, invite: method == "INVITE", reliable: to.ID().Proto.Reliable()}
	m.timer = Timer{owner: o, to: m}
	k := responseKey(branch)
	hash, shard := l.clients.lock(k)
	m.slot.fill(hash, k, method, m)
	shard.add(&m.slot)
	shard.mu.Unlock()
	l.aliveClients.Add(1)
	return m
}

// begin enters Calling or Trying: the request is sent, Timer B or F is started, and A or E on unreliable transports (RFC 3261, 17.1.1.2 and 17.1.2.2). What goes
// wrong is an event of its own, the user has not got its Client yet.
func (m *client) begin(request []byte) {
	m.state = trying
	if m.invite {
		m.state = calling
	}
	wheel := m.layer.wheel
	m.deadline = wheel.in(timerB)
	if m.reliable {
		m.stop = m.flow.OnClose(func(err error) { m.owner.post(event{to: m, msg: err}) })
		m.timer.start(m.deadline)
	} else {
		m.last, m.interval = request, ticks(T1)
		m.timer.start(wheel.in(T1))
	}
	if err := m.flow.Send(request); m.broken(err) {
		m.owner.post(event{to: m, msg: err})
	}
}

// broken tells a failure of the transport from a datagram that is merely lost.
func (m *client) broken(err error) bool {
	return err != nil && (m.reliable || !errors.Is(err, transport.ErrFull))
}

// from tells whether a response on that flow may be for this transaction. RFC 3261, 17.1.3 compares the branch, which nobody guesses; the response to what went over a
// connection comes on that connection besides, or on another one from the same host (RFC 3261, 18.1.1), and to a datagram as one, from wherever the peer sends.
func (m *client) from(f transport.Flow) bool {
	id, ours := f.ID(), m.flow.ID()
	return id == ours || id.Proto == ours.Proto && (!m.reliable || id.Remote.Addr() == ours.Remote.Addr())
}

// receive is a response, or the end of the flow.
func (m *client) receive(ev event) {
	switch msg := ev.msg.(type) {
	case *wire.Response:
		if m.invite {
			m.hearINVITE(msg)
		} else {
			m.hearOther(msg)
		}
	default: // an error, or nil from a flow that closed without one
		err, _ := msg.(error)
		if err == ErrUnreachable && m.state != calling && m.state != trying {
			return
		}
		m.debug("transaction: flow failed", "err", err)
		if err != ErrUnreachable {
			err = ErrTransport
		}
		m.fail(err)
	}
}

func (m *client) expire() {
	if m.invite {
		m.expireINVITE()
	} else {
		m.expireOther()
	}
}

// resend is Timer A or E: the same bytes, the next time as much later as next says.
func (m *client) resend(next func(tick) tick) {
	if err := m.flow.Send(m.last); m.broken(err) {
		m.debug("transaction: flow failed", "err", err)
		m.fail(ErrTransport)
		return
	}
	m.interval = next(m.interval)
	m.timer.start(min(m.timer.due+m.interval, m.deadline))
}

// settle is for a final response: the flow's end does not matter any more, nor does the request.
func (m *client) settle() {
	if m.stop != nil {
		m.stop()
		m.stop = nil
	}
	m.last, m.reason = nil, ""
}

// rest keeps the transaction for d.
func (m *client) rest(s state, d time.Duration) {
	m.state = s
	m.deadline = m.layer.wheel.leisurely(d)
	m.timer.start(m.deadline)
}

// pass gives a response to the user.
func (m *client) pass(res *wire.Response) {
	if m.user != nil {
		m.user.ServeResponse(m.handle, res)
	}
}

// conclude enters Completed for d, or on reliable transports, where that is zero, ends the transaction; then the user hears its last response.
func (m *client) conclude(d time.Duration, res *wire.Response) {
	u, c := m.user, m.handle
	m.user, m.handle = nil, nil
	if m.reliable {
		m.terminate()
	} else {
		m.rest(completed, d)
	}
	if u != nil {
		u.ServeResponse(c, res)
	}
}

// fail ends a transaction that has no final response yet, and tells the user (RFC 3261, 17.1.4). After a final response the end is all: the user has got what it waits for.
func (m *client) fail(err error) {
	u, c := m.user, m.handle
	waiting := m.state < accepted
	m.terminate()
	if waiting && u != nil {
		u.ServeFailure(c, err)
	}
}

// terminate destroys the transaction.
func (m *client) terminate() {
	if m.state == terminated {
		return
	}
	m.settle()
	m.timer.Stop()
	m.state, m.user, m.handle = terminated, nil, nil
	m.layer.clients.remove(&m.slot)
	m.layer.aliveClients.Add(-1)
}

func (m *client) debug(msg string, args ...any) {
	if log := m.layer.log; log.Enabled(context.Background(), slog.LevelDebug) {
		log.Debug(msg, append(args, "method", m.slot.method)...)
	}
}
