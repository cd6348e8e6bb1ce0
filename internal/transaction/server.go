package transaction

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// Server is a server transaction as its user sees it. Its methods are called as its owner only. The layer lets go of it at the final response.
type Server struct {
	Request *wire.Request
	Flow    transport.Flow

	machine  *server
	started  time.Time
	onCancel func(cancel *wire.Request)
	cancel   *wire.Request // came before OnCancel
}

// server is the machine behind a Server: INVITE (RFC 3261, 17.2.1 with RFC 6026, 7.1) or not (RFC 3261, 17.2.2). It stays small when it is completed.
type server struct {
	slot   slot[server]
	merged *slot[server] // RFC 3261, 8.2.2.2; nil unless asked

	layer  *Layer
	owner  *Owner  // its own, or, for a CANCEL, that of the transaction to be cancelled
	handle *Server // until the final response
	target *server // for a CANCEL: what it cancels
	flow   transport.Flow

	last      []byte // the response to send again
	tag       string // To tag of our responses
	onFailure func(error)
	timer     Timer
	interval  tick // Timer G
	deadline  tick // Timer F's counterpart, H, J or L

	state     state
	invite    bool
	reliable  bool
	tagOurs   bool  // tag was made here, not by a UAS behind us
	rescued   bool  // after a panic
	stateless bool  // the final response is a challenge that ends it
	trusted   bool  // the sender was authenticated
	allowance int32 // bytes that may still be sent to a sender that was not
	own       Owner
}

// state is that of any of the four machines.
type state uint8

const (
	initial     state = iota
	trying            // server and client, not INVITE
	calling           // client, INVITE
	proceeding        // all
	accepted          // INVITE, 2xx
	completed         // all
	confirmed         // server, INVITE
	terminated        // all
	passingOnly       // an ACK to a 2xx, which makes no transaction
)

func (s state) String() string {
	return [...]string{"initial", "trying", "calling", "proceeding", "accepted", "completed", "confirmed", "terminated", "ack"}[s]
}

func (l *Layer) newServer(f transport.Flow, req *wire.Request) *server {
	m := &server{layer: l, flow: f, invite: req.Method == "INVITE", reliable: f.ID().Proto.Reliable()}
	m.handle = &Server{Request: req, Flow: f, machine: m}
	if l.config.Finished != nil {
		m.handle.started = time.Now()
	}
	m.own = Owner{layer: l, server: m}
	m.owner = &m.own
	m.timer = Timer{owner: m.owner, to: m}
	m.grant(req)
	l.aliveServers.Add(1)
	l.active.Add(1)
	return m
}

// Owner runs everything that happens to this transaction.
func (tx *Server) Owner() *Owner { return tx.machine.owner }

// Respond sends a response. The caller built it (wire.NewResponse, or a forwarded one with our Via popped) and does not change it any more. Provisional, then one final; for INVITE further
// 2xx pass in state Accepted (RFC 6026, 7.1). What the machine forbids is dropped and logged: so is a provisional other than 100 to a non-INVITE, a 100 before its time, and
// a 408 to a non-INVITE, which ends the transaction in silence (RFC 4320, 4.1 and 4.2).
func (tx *Server) Respond(res *wire.Response) {
	m := tx.machine
	if m.invite {
		m.respondINVITE(tx, res)
	} else {
		m.respondOther(tx, res)
	}
}

// Reply builds and sends a response of our own, with a To tag of ours. reason "" means the standard phrase.
func (tx *Server) Reply(code int, reason string) {
	m := tx.machine
	if m.state > proceeding {
		m.forbid(code)
		return
	}
	wire.LendResponse(tx.Request, code, reason, m.ourTag(tx.Request), tx.Respond)
}

// Fail answers with what err says (see Handler).
func (tx *Server) Fail(err error) {
	m := tx.machine
	var e *wire.Error
	if errors.As(err, &e) {
		m.debug("transaction: request refused", "code", e.Code, "err", err)
	} else {
		e = &wire.Error{Code: 500, Err: err}
		m.layer.failed(m.slot.method, err)
	}
	if m.state > proceeding {
		m.forbid(e.Code)
		return
	}
	var tag string
	if m.stateless = m.firstChallenge(tx.Request, e.Code); m.stateless {
		tag = m.layer.refusalTag(tx.Request)
	} else {
		tag = m.ourTag(tx.Request)
	}
	wire.LendResponse(tx.Request, e.Code, e.Reason, tag, func(res *wire.Response) {
		for _, h := range e.Headers {
			res.AppendHeader(h)
		}
		tx.Respond(res)
	})
}

// OnFailure sets what is told, once, as the owner, that a response could not be delivered (RFC 3261, 17.2.4) or that no ACK came (Timer H). The layer keeps fn, and what it
// refers to, until the transaction ends.
func (tx *Server) OnFailure(fn func(err error)) { tx.machine.onFailure = fn }

// Trust tells that the sender has proved who it is, so that responses go to nobody whose address was forged. Until then what is refused at once is not retransmitted of
// our own accord.
func (tx *Server) Trust() { tx.machine.trusted = true }

// Responded tells whether the transaction has, or will have, no further use for a response: a final one was sent, or it is over.
func (tx *Server) Responded() bool { return tx.machine.state > proceeding }

// receive is every event from the network: the request, its retransmissions, ACKs.
func (m *server) receive(ev event) {
	if ack, ok := ev.msg.(*acknowledged); ok {
		m.acknowledge(ack)
		return
	}
	switch m.state {
	case initial:
		m.begin()
	case passingOnly:
		m.serveACK()
	case trying, confirmed, accepted, terminated:
		// RFC 3261, 17.2.2: discarded in Trying. RFC 6026, 7.1: absorbed in Accepted.
	case proceeding, completed:
		if again, ok := ev.msg.(*wire.Request); ok {
			m.grant(again)
		}
		if m.last != nil {
			m.send(m.last)
		}
	}
}

// begin passes the request to its user.
func (m *server) begin() {
	m.state = trying
	if m.invite {
		m.state = proceeding
	}
	if m.slot.method == "CANCEL" {
		m.serveCANCEL()
		return
	}
	tx := m.handle
	if err := m.layer.config.Handler.ServeSIP(tx); err != nil && !tx.Responded() {
		tx.Fail(err)
	}
	if tx.Responded() {
		return
	}
	if m.invite {
		m.sendTrying()
	} else {
		m.await()
	}
}

// expire is the machine's one timer.
func (m *server) expire() {
	if m.invite {
		m.expireINVITE()
	} else {
		m.expireOther()
	}
}

// abort answers what a panic left open.
func (m *server) abort() {
	if m.handle != nil && m.state != passingOnly {
		m.handle.Reply(500, "")
	}
}

// provisional sends a 1xx and keeps it for retransmissions.
func (m *server) provisional(res *wire.Response) {
	m.state = proceeding
	if res.To.Tag != "" && !m.tagOurs && res.To.Tag != m.tag {
		m.tag = strings.Clone(res.To.Tag)
	}
	m.last = m.layer.encode(res)
	m.send(m.last)
}

// final sends a final response and lets go of the request: what follows needs the key and, to send again, the response.
func (m *server) final(tx *Server, res *wire.Response) {
	b := m.layer.encode(res)
	m.send(b)
	m.last = b
	if m.invite && res.To.Tag != m.tag {
		m.tag = strings.Clone(res.To.Tag)
	}
	m.release(tx)
}

func (m *server) release(tx *Server) {
	m.timer.Stop()
	m.layer.active.Add(-1)
	m.handle, m.target, tx.onCancel, tx.cancel = nil, nil, nil, nil
}

// report tells that the request has its answer, last of all: whatever the listener does, the machine is in its next state.
func (m *server) report(tx *Server, code int) {
	if finished := m.layer.config.Finished; finished != nil {
		finished(tx, code, time.Since(tx.started))
	}
}

// terminate destroys the transaction (RFC 3261, 17.2.1 and 17.2.2).
func (m *server) terminate() {
	if m.state == terminated {
		return
	}
	m.timer.Stop()
	if m.handle != nil {
		m.layer.active.Add(-1)
	}
	m.state, m.handle, m.target, m.last, m.onFailure = terminated, nil, nil, nil, nil
	m.layer.servers.remove(&m.slot)
	if m.merged != nil {
		m.layer.merged.remove(m.merged)
	}
	m.layer.aliveServers.Add(-1)
}

// send hands bytes to the flow the request came on, or, if that connection is gone, to the one RFC 3261, 18.2.2 falls back on. An error changes no
// state, the user is told (RFC 6026, 8.8).
func (m *server) send(b []byte) {
	m.allowance -= int32(len(b))
	err := m.flow.Send(b)
	if err == nil || !m.reliable && errors.Is(err, transport.ErrFull) {
		return // a datagram that found no room is a datagram lost
	}
	if m.reliable && m.handle != nil && m.layer.config.Fallback != nil {
		if f, dialErr := m.layer.config.Fallback(&m.handle.Request.Via); dialErr != nil {
			err = dialErr
		} else if err = f.Send(b); err == nil {
			m.flow = f
			return
		}
	}
	m.debug("transaction: response not sent", "err", err)
	m.inform(ErrTransport)
}

// inform tells the user of a failure, after the running event.
func (m *server) inform(err error) {
	if fn := m.onFailure; fn != nil {
		m.onFailure = nil
		m.owner.Do(func() { fn(err) })
	}
}

// ourTag is the tag of responses of our own. A request within a dialog has one already.
func (m *server) ourTag(req *wire.Request) string {
	if req.To.Tag == "" && !m.tagOurs {
		m.tag, m.tagOurs = wire.NewTag(), true
	}
	return m.tag
}

// forbid notes a response that the state does not allow.
func (m *server) forbid(code int) {
	m.debug("transaction: response dropped", "code", code, "state", m.state.String())
}

func (m *server) debug(msg string, args ...any) {
	if log := m.layer.log; log.Enabled(context.Background(), slog.LevelDebug) {
		log.Debug(msg, append(args, "method", m.slot.method)...)
	}
}
