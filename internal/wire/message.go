package wire

import (
	"errors"
	"strconv"

	"github.com/emiago/sipgo/sip"
)

// Head is what every transaction needs of a message, parsed once by Parse (RFC 3261, 8.1.1).
// Its fields hide sipgo's lazily parsing accessors of the same names on purpose (ADR 1).
type Head struct {
	Via      Via     // topmost Via value
	From, To Address // RFC 3261, 20.20 and 20.39
	CallID   string
	CSeq     CSeq
}

// CSeq is a sequence number and method (RFC 3261, 20.16).
type CSeq struct {
	Seq    uint32
	Method string
}

// Request is sipgo's request with its values parsed by our own grammar. Headers of the embedded sip.Request are raw (see NewHeader), in wire
// order, under the names they came with; values are never re-written. A received Request is immutable: Clone it first. Change headers with Set,
// Add, Push, Pop and Del only: they keep Head true.
type Request struct {
	sip.Request
	Head
	URI         URI // Request-URI; this is what Append writes, not sip.Request.Recipient
	MaxForwards int // -1 when absent
}

// Response is sipgo's response with its values parsed by our own grammar. What is said of a Request holds here too.
type Response struct {
	sip.Response
	Head
}

// Message is a *Request or a *Response.
type Message interface {
	Headers() []sip.Header
	AppendHeader(sip.Header)
	PrependHeader(...sip.Header)
	RemoveHeader(name string) bool
	Body() []byte
	SetBody([]byte)
	head() *Head
	read(f fieldID, value string) error
}

func (h *Head) head() *Head { return h }

// NewRequest starts a request of our own, without headers: Add them (RFC 3261, 8.1.1).
func NewRequest(method string, uri URI) *Request {
	r := &Request{MaxForwards: -1}
	r.SipVersion = version
	r.Method = sip.RequestMethod(method)
	r.SetURI(uri)
	return r
}

// SetURI replaces the Request-URI.
func (r *Request) SetURI(u URI) {
	r.URI = u
	r.setRecipient()
}

// setRecipient fills sipgo's form of the Request-URI, as far as it costs nothing.
func (r *Request) setRecipient() {
	u, to := &r.URI, &r.Recipient
	to.Scheme, to.User, to.Host, to.Port = u.Scheme, u.User, u.Host, u.Port
}

// SetMaxForwards replaces Max-Forwards, or adds it (RFC 3261, 16.6 step 3).
func (r *Request) SetMaxForwards(n int) { Set(r, "Max-Forwards", strconv.Itoa(n)) }

// Clone has its own header list, with room for what a proxy adds; header values and body are shared, they are immutable.
func (r *Request) Clone() *Request {
	c := *r
	c.PrependHeader(spares[:]...) // always copies the list
	dropSpares(&c)
	return &c
}

// Clone has its own header list; header values and body are shared, they are immutable.
func (r *Response) Clone() *Response {
	c := *r
	c.PrependHeader() // always copies the list
	return &c
}

// CloneHeaders returns a copy of the header list.
func (r *Request) CloneHeaders() []sip.Header { return append([]sip.Header(nil), r.Headers()...) }

// CloneHeaders returns a copy of the header list.
func (r *Response) CloneHeaders() []sip.Header { return append([]sip.Header(nil), r.Headers()...) }

// String is the message as Append writes it.
func (r *Request) String() string { return string(Append(nil, r)) }

// String is the message as Append writes it.
func (r *Response) String() string { return string(Append(nil, r)) }

var (
	errCallID      = errors.New("not a Call-ID")
	errCSeq        = errors.New("not a CSeq")
	errMaxForwards = errors.New("Max-Forwards is not 0 to 255")
)

// read parses the value of one header field into Head. What cannot be read is absent.
func (h *Head) read(f fieldID, value string) (err error) {
	switch f {
	case fieldVia:
		h.Via = Via{}
		first, _ := cutListValue(value)
		if err = h.Via.parse(first); err != nil {
			h.Via = Via{}
		}
	case fieldFrom:
		err = h.From.parseParty(value)
	case fieldTo:
		err = h.To.parseParty(value)
	case fieldCallID:
		h.CallID = value
		if !all(value, isWord) {
			h.CallID, err = "", errCallID
		}
	case fieldCSeq:
		h.CSeq, err = parseCSeq(value)
	}
	return err
}

// read parses the value of one header field into Head or MaxForwards.
func (r *Request) read(f fieldID, value string) error {
	if f != fieldMaxForwards {
		return r.Head.read(f, value)
	}
	n, ok := smallNumber(value, 255) // RFC 3261, 20.22
	if !ok {
		r.MaxForwards = -1
		return errMaxForwards
	}
	r.MaxForwards = n
	return nil
}

// parseParty reads From or To: only Contact may be "*" (RFC 3261, 20.10).
func (a *Address) parseParty(value string) error {
	*a = Address{}
	err := a.parse(value)
	if err == nil && a.URI.Scheme == "" {
		err = errURI
	}
	if err != nil {
		*a = Address{}
	}
	return err
}

// parseCSeq: the number must be less than 2**31 (RFC 3261, 8.1.1.5).
func parseCSeq(value string) (CSeq, error) {
	i := span(value, isDigit)
	n, ok := smallNumber(value[:i], 1<<31-1)
	method := skipSpace(value[i:])
	if !ok || len(method) == len(value)-i || len(method) > MaxMethod || !all(method, isToken) {
		return CSeq{}, errCSeq
	}
	return CSeq{Seq: uint32(n), Method: method}, nil
}
