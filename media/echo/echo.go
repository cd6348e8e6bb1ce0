// Package echo answers calls with the caller's own voice (RFC 3261, 13.3 and 15.1.2): the first call of a newcomer, and the test of a microphone.
//
// Package proxy hands it the calls to echo@ that it has authenticated; the dispatcher in cmd asks Owns for what belongs to a call that is up. A
// call is its dialog (RFC 3261, 12.1.1), the timer that repeats its 200 until the ACK (RFC 3261, 13.3.1.4) and a media.Echo. What bounds it: calls at once, and the length of
// each (limits.go).
package echo

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/media"
)

// User is the user part of the service's address.
const User = "echo"

// Starter starts client transactions: the transaction layer.
type Starter interface {
	Start(o *transaction.Owner, req *wire.Request, to transport.Flow, u transaction.User) *transaction.Client
	NewOwner() *transaction.Owner
}

// Config is what New needs.
type Config struct {
	Media *media.Engine
	Layer Starter
	Side  func(transport.Flow) media.Side // what a flow tells about its media
}

// Service answers calls. It implements transaction.Handler.
type Service struct {
	Config
	mu    sync.Mutex
	calls map[dialogID]*call
}

// dialogID names a dialog: Call-ID, our tag, the caller's. RFC 3261, 12
type dialogID struct{ callID, local, remote string }

func dialogOf(req *wire.Request) dialogID { return dialogID{req.CallID, req.To.Tag, req.From.Tag} }

// call is one call that is up. Its fields belong to its owner, which is none of its transactions': they come and go.
type call struct {
	s     *Service
	id    dialogID
	owner *transaction.Owner
	media *media.Echo
	flow  transport.Flow

	local, remote string // From and To of a request of ours
	target        wire.URI
	routes        []string
	cseq          atomic.Uint32 // of the caller's latest request

	ok      []byte // the 200 that awaits its ACK
	again   *transaction.Timer
	waits   time.Duration
	waited  time.Duration
	longest *transaction.Timer
	over    bool
}

// New makes a service.
func New(c Config) *Service { return &Service{Config: c, calls: map[dialogID]*call{}} }

// Owns tells whether a request is within a call of ours.
func (s *Service) Owns(req *wire.Request) bool { return req.To.Tag != "" && s.find(req) != nil }

func (s *Service) find(req *wire.Request) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[dialogOf(req)]
}

// Len is how many calls are up.
func (s *Service) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// ServeSIP processes one request.
func (s *Service) ServeSIP(tx *transaction.Server) error {
	req := tx.Request
	if c := s.find(req); c != nil && req.To.Tag != "" {
		return c.serve(tx)
	}
	switch {
	case req.Method == "ACK":
		return nil
	case req.To.Tag != "":
		return wire.Errorf(481, "", "echo: no such call")
	}
	if required := strings.Join(wire.List(req, "Require"), ", "); required != "" {
		return wire.Errorf(420, "", "echo: Require: %s", required).With("Unsupported", required) // RFC 3261, 8.2.2.3
	}
	switch req.Method {
	case "INVITE":
		return s.invite(tx)
	case "OPTIONS":
		tx.Respond(s.capable(req, wire.NewTag()))
		return nil
	}
	return notAllowed(req)
}

const allowed = "INVITE, ACK, BYE, CANCEL, UPDATE, OPTIONS, INFO"

func notAllowed(req *wire.Request) error {
	return wire.Errorf(405, "", "echo: %s", req.Method).With("Allow", allowed)
}

// capable is the answer to OPTIONS. RFC 3261, 11.2
func (s *Service) capable(req *wire.Request, tag string) *wire.Response {
	res := wire.NewResponse(req, 200, "", tag)
	wire.Add(res, "Allow", allowed)
	wire.Add(res, "Accept", "application/sdp")
	return res
}

// invite answers a call at once. RFC 3261, 13.3.1.4
func (s *Service) invite(tx *transaction.Server) error {
	req := tx.Request
	offer, err := description(req)
	if err != nil {
		return err
	}
	contact, perr := wire.ParseAddress(strings.Clone(wire.First(req, "Contact")))
	if perr != nil || !contact.URI.IsSIP() {
		return wire.Errorf(400, "Bad Contact", "echo: Contact %q", wire.First(req, "Contact"))
	}
	if s.Len() >= maxCalls {
		return wire.Errorf(486, "", "echo: %d calls are up", maxCalls)
	}
	c := &call{
		s: s, owner: s.Layer.NewOwner(), flow: tx.Flow, target: contact.URI, remote: strings.Clone(req.From.Raw),
		id: dialogID{strings.Clone(req.CallID), wire.NewTag(), strings.Clone(req.From.Tag)},
	}
	c.cseq.Store(req.CSeq.Seq)
	c.media = s.Media.NewEcho(s.Side(tx.Flow), func(why string) { c.owner.Do(func() { c.hangup(why) }) })
	answer, err := c.media.Answer(offer)
	if err != nil {
		c.media.Close()
		return err
	}
	res := wire.NewResponse(req, 200, "", c.id.local)
	c.local = strings.Clone(res.To.Raw)
	for _, route := range wire.List(req, "Record-Route") { // RFC 3261, 12.1.1
		wire.Add(res, "Record-Route", route)
		c.routes = append(c.routes, strings.Clone(route))
	}
	c.finish(res, answer)
	s.mu.Lock()
	s.calls[c.id] = c
	s.mu.Unlock()
	c.owner.Do(func() {
		c.longest = c.owner.After(longestCall, func() { c.hangup("the echo ends after ten minutes") })
		c.awaitACK(res)
	})
	tx.Respond(res)
	return nil
}

// finish adds what a 2xx to an INVITE or UPDATE has.
func (c *call) finish(res *wire.Response, answer []byte) {
	wire.Add(res, "Contact", "<"+contactURI(c.flow)+">")
	wire.Add(res, "Allow", allowed)
	wire.Add(res, "Content-Type", "application/sdp")
	res.SetBody(answer)
}

// contactURI is where the caller's further requests come to. RFC 3261, 12.1.1
func contactURI(f transport.Flow) string {
	uri := "sip:" + User + "@" + f.SentBy().String()
	switch p := f.ID().Proto; p {
	case wire.UDP:
		return uri
	case wire.WSS:
		return uri + ";transport=ws"
	default:
		return uri + ";transport=" + strings.ToLower(p.String())
	}
}

// description is the offer in a request.
func description(req *wire.Request) ([]byte, error) {
	kind, _, _ := strings.Cut(wire.Get(req, "Content-Type"), ";")
	switch {
	case len(req.Body()) == 0:
		return nil, wire.Errorf(488, "Offer Needed", "echo: no session description")
	case !strings.EqualFold(strings.TrimSpace(kind), "application/sdp"):
		return nil, wire.Errorf(415, "", "echo: Content-Type %q", kind).With("Accept", "application/sdp")
	}
	return req.Body(), nil
}

// serve is a request within the call. RFC 3261, 12.2.2
func (c *call) serve(tx *transaction.Server) error {
	req := tx.Request
	if req.Method == "ACK" {
		c.owner.Do(c.acknowledged)
		return nil
	}
	if seen := c.cseq.Load(); req.CSeq.Seq < seen {
		return wire.Errorf(500, "Out Of Order", "echo: CSeq %d after %d", req.CSeq.Seq, seen)
	}
	c.cseq.Store(req.CSeq.Seq)
	switch req.Method {
	case "BYE":
		tx.Reply(200, "")
		c.owner.Do(c.end)
	case "INVITE", "UPDATE":
		return c.change(tx)
	case "OPTIONS":
		tx.Respond(c.s.capable(req, ""))
	case "INFO":
		tx.Reply(200, "") // keys, mostly: there is nothing to be done about them
	default:
		return notAllowed(req)
	}
	return nil
}

// change is a new offer: hold, resume, another address. RFC 3261, 14.2; RFC 3311, 5.2
func (c *call) change(tx *transaction.Server) error {
	req := tx.Request
	var answer []byte
	if req.Method == "INVITE" || len(req.Body()) > 0 {
		offer, err := description(req)
		if err != nil {
			return err
		}
		if answer, err = c.media.Answer(offer); err != nil {
			return err
		}
	}
	res := wire.NewResponse(req, 200, "", "")
	if answer != nil {
		c.finish(res, answer)
	} else {
		wire.Add(res, "Contact", "<"+contactURI(c.flow)+">")
	}
	contact, err := wire.ParseAddress(strings.Clone(wire.First(req, "Contact")))
	flow := tx.Flow
	c.owner.Do(func() {
		c.flow = flow
		if err == nil && contact.URI.IsSIP() {
			c.target = contact.URI
		}
		if req.Method == "INVITE" {
			c.awaitACK(res)
		}
	})
	tx.Respond(res)
	return nil
}

// awaitACK repeats the 200 until its ACK comes, over any transport. RFC 3261, 13.3.1.4
func (c *call) awaitACK(res *wire.Response) {
	c.acknowledged()
	if c.over {
		return
	}
	c.ok, c.waits, c.waited = wire.Append(nil, res), transaction.T1, 0
	c.again = c.owner.After(c.waits, c.repeat)
}

func (c *call) repeat() {
	c.waited += c.waits
	if c.waited >= 64*transaction.T1 {
		c.hangup("no ACK")
		return
	}
	_ = c.flow.Send(c.ok)
	c.waits = min(2*c.waits, transaction.T2)
	c.again = c.owner.After(c.waits, c.repeat)
}

func (c *call) acknowledged() {
	c.again.Stop()
	c.again, c.ok = nil, nil
}

// end gives the call back.
func (c *call) end() {
	if c.over {
		return
	}
	c.over = true
	c.acknowledged()
	c.longest.Stop()
	c.media.Close()
	c.s.mu.Lock()
	delete(c.s.calls, c.id)
	c.s.mu.Unlock()
}

// hangup ends the call from our side. RFC 3261, 15.1.1
func (c *call) hangup(why string) {
	if c.over {
		return
	}
	c.end()
	bye := wire.NewRequest("BYE", c.target)
	wire.Add(bye, "Max-Forwards", "70")
	for _, route := range c.routes {
		wire.Add(bye, "Route", route)
	}
	wire.Add(bye, "From", c.local)
	wire.Add(bye, "To", c.remote)
	wire.Add(bye, "Call-ID", c.id.callID)
	wire.Add(bye, "CSeq", strconv.Itoa(1)+" BYE")
	wire.Add(bye, "Reason", `SIP;cause=408;text="`+why+`"`)
	via := "SIP/2.0/" + c.flow.ID().Proto.String() + " " + c.flow.SentBy().String() + ";branch=" + wire.NewBranch()
	wire.Push(bye, "Via", via)
	c.s.Layer.Start(nil, bye, c.flow, farewell{})
}

// Close ends all calls.
func (s *Service) Close() {
	s.mu.Lock()
	var all []*call
	for _, c := range s.calls {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.owner.Do(func() { c.hangup("the server stops") })
	}
}

// farewell does not care what becomes of a BYE.
type farewell struct{}

func (farewell) ServeResponse(*transaction.Client, *wire.Response) {}
func (farewell) ServeFailure(*transaction.Client, error)           {}
