package wire

import (
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

// Request is sipgo's request with its values parsed by our own grammar. Headers of the embedded sip.Request
// are raw (sip.NewHeader), in wire order, under the names they came with; values are never re-written.
// A received Request is immutable: Clone it first.
type Request struct {
	sip.Request
	Head
	URI         URI // Request-URI; this is what Append writes, not sip.Request.Recipient
	MaxForwards int // -1 when absent
}

// Response is sipgo's response with its values parsed by our own grammar.
type Response struct {
	sip.Response
	Head
}

// Message is a *Request or a *Response.
type Message interface {
	Headers() []sip.Header
	AppendHeader(sip.Header)
	Body() []byte
	head() *Head
}

func (h *Head) head() *Head { return h }

// TODO(wire): the functions below are the contract other rooms build on.

// Parse reads one whole datagram. On error the message holds what was readable (or is nil) so that the caller can answer
// with the error's code.
func Parse(b []byte) (Message, *Error) { panic("wire.Parse") }

// Append writes the message; Content-Length is always written with the body's true length.
func Append(dst []byte, m Message) []byte { panic("wire.Append") }

// NewResponse builds a response per RFC 3261, 8.2.6.2: all Via, From, To, Call-ID, CSeq copied; toTag is added to To when To
// has no tag and toTag is not empty (never to a 100). Reason "" means the standard phrase.
func NewResponse(req *Request, code int, reason, toTag string) *Response { panic("wire.NewResponse") }

// Clone has its own header list; header values and body are shared, they are immutable.
func (r *Request) Clone() *Request { panic("wire.Clone") }

// Clone has its own header list; header values and body are shared, they are immutable.
func (r *Response) Clone() *Response { panic("wire.Clone") }

// Get returns the value of the first header of that name (long form, any case; compact forms are found too), "" if absent.
func Get(m Message, name string) string { panic("wire.Get") }

// Has tells whether a header of that name is present.
func Has(m Message, name string) bool { panic("wire.Has") }

// List returns the values of a header that may be a comma-separated list or repeated (Via, Route, Contact, Require ...), in order.
// Commas in quotes and angle brackets do not split.
func List(m Message, name string) []string { panic("wire.List") }

// Set replaces all headers of that name by one (in the place of the first), or appends.
func Set(m Message, name, value string) { panic("wire.Set") }

// Add appends a header.
func Add(m Message, name, value string) { m.AppendHeader(sip.NewHeader(name, value)) }

// Push puts a header before the first of the same name (a new topmost Via, Record-Route, Route), or at the top if there is none.
func Push(m Message, name, value string) { panic("wire.Push") }

// Pop removes the first value of a list header (the topmost Via or Route) and returns it. The header's other values stay as they were.
func Pop(m Message, name string) (string, bool) { panic("wire.Pop") }

// Del removes all headers of that name.
func Del(m Message, name string) { panic("wire.Del") }
