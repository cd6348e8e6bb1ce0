// Package transaction holds the four machines of RFC 3261, 17 with RFC 6026 ...
package transaction

import (
	"errors"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

var (
	ErrTimeout   = errors.New("transaction: no final response in time") // Timer B or F: the user treats it as 408 (RFC 3261, 8.1.3.1)
	ErrTransport = errors.New("transaction: transport failed")          // treated as 503
)

// Owner runs the events of one call one after the other: messages, timers and what other goroutines post. It is a queue without a goroutine: whoever posts to
// an idle owner runs the queue until it is empty. Nothing it runs may block. A panic costs the transaction it happened in: 500, logged (stack at error level).
type Owner struct{}

// Do runs fn as the owner: at once if the owner is idle, else after what is queued. It never blocks and may be called from anywhere.
func (o *Owner) Do(fn func()) {}

// After runs fn as the owner after d, from the layer's timing wheel. Stop is cheap; after Stop (called as the owner) fn does not run.
func (o *Owner) After(d time.Duration, fn func()) *Timer { return nil }

type Timer struct{}

func (t *Timer) Stop() {}

// Handler serves requests: once per request, retransmissions never reach it. It runs as the transaction's owner and must not block: what has to wait returns nil
// and answers later. A returned error becomes the final response if none was sent: a *wire.Error as it says, any other error 500.
// An ACK to a 2xx comes too, with a Server on which Respond does nothing. CANCEL never comes: the layer answers it (200, or 481) and tells the INVITE.
type Handler interface {
	ServeSIP(tx *Server) error
}

// Server is a server transaction. Its methods are called as its owner only.
type Server struct {
	Request *wire.Request
	Flow    transport.Flow
}

func (tx *Server) Owner() *Owner { return nil }

// Respond sends a response. The caller built it (wire.NewResponse, or a forwarded one with our Via popped). Provisional, then one final; for INVITE further 2xx
// pass in state Accepted (RFC 6026, 7.1). What the machine forbids is dropped and logged.
func (tx *Server) Respond(res *wire.Response) {}

// Reply builds and sends a response of our own, with a To tag of ours.
func (tx *Server) Reply(code int, reason string) {}

// Fail answers with what err says (see Handler).
func (tx *Server) Fail(err error) {}

// OnCancel sets what a matching CANCEL does (RFC 3261, 9.2, 16.10); the layer has answered the CANCEL with 200 by then. Not called after a final response.
func (tx *Server) OnCancel(fn func(cancel *wire.Request)) {}

// OnEnd sets what runs when the transaction ends without a final response having been sent by us or was abandoned (transport gone, limit).
func (tx *Server) Responded() bool { return false } // a final response was sent

// Merged tells whether another server transaction with the same From tag, Call-ID and CSeq but another branch is alive: a UAS answers 482 (RFC 3261, 8.2.2.2).
// Only rooms that are a UAS for the request ask; the first call registers this transaction.
func (tx *Server) Merged() bool { return false }

// User receives what a client transaction hears, as the owner. Provisional responses (100 too), then one final; for INVITE further 2xx (RFC 6026, 7.2).
// After ServeFailure (ErrTimeout, ErrTransport) nothing more comes.
type User interface {
	ServeResponse(c *Client, res *wire.Response)
	ServeFailure(c *Client, err error)
}

// Client is a client transaction. Its methods are called as its owner only.
type Client struct {
	Request *wire.Request
	Flow    transport.Flow
}

// Start sends req, whose top Via (with a unique branch) the caller pushed, and runs the INVITE or non-INVITE client machine. The ACK to a 3xx-6xx is sent by the machine.
func (l *Layer) Start(o *Owner, req *wire.Request, to transport.Flow, u User) *Client { return nil }

// Cancel sends a CANCEL for this INVITE (RFC 3261, 9.1): at once if a provisional response came, else when one comes; never after a final one. Reason header (RFC 3326) is
// copied when not empty. If no final response follows within 64*T1 the user gets ErrTimeout.
func (c *Client) Cancel(reason string) {}

// Layer matches messages to transactions (17.1.3, 17.2.3) in sharded tables. It implements transport.Receiver.
type Layer struct{}

// Config is what New needs.
type Config struct {
	Handler Handler
	// Finished is called once per server transaction that got its final response (and ACK to 2xx not); nil is silent.
	Finished func(tx *Server, code int, took time.Duration)
	Limits   Limits
}

type Limits struct {
	Transactions int // all server and client transactions alive; beyond it new requests get 503 with Retry-After, statelessly
}

func New(c Config) *Layer { return nil }

// Idle is closed... Active counts server transactions that have no final response yet: drain waits for 0.
func (l *Layer) Active() int { return 0 }

// Close stops the wheel.
func (l *Layer) Close() {}
