package wire

import (
	"sync"

	"github.com/emiago/sipgo/sip"
)

// NewResponse builds a response per RFC 3261, 8.2.6: all Via, From, To, Call-ID, CSeq copied, and Timestamp into a 100; toTag is added to To
// when To has no tag and toTag is not empty (never to a 100). Reason "" means the standard phrase. req may be what Parse could
// read of a request in error.
func NewResponse(req *Request, code int, reason, toTag string) *Response {
	r := new(Response)
	r.answer(req, code, reason, toTag)
	return r
}

// lent are responses that nobody has at present.
var lent = sync.Pool{New: func() any { return new(Response) }}

// LendResponse is NewResponse for a response that is sent at once: it is taken back when use returns, which must not keep it.
func LendResponse(req *Request, code int, reason, toTag string, use func(*Response)) {
	r := lent.Get().(*Response)
	r.answer(req, code, reason, toTag)
	use(r)
	*r = Response{}
	lent.Put(r)
}

// answer makes the zero Response one to a request.
func (r *Response) answer(req *Request, code int, reason, toTag string) {
	if reason == "" {
		reason = Phrase(code)
	}
	r.Head = req.Head
	r.SipVersion = version
	r.StatusCode, r.Reason = code, oneLine(reason)
	var some [32]sip.Header
	list := append(some[:0], spares[:]...)
	for _, h := range req.Headers() {
		switch name := h.Name(); identify(name) {
		case fieldVia, fieldFrom, fieldCallID, fieldCSeq:
			list = append(list, h)
		case fieldTo:
			list = append(list, r.tagged(h, toTag))
		case fieldOther:
			if code == 100 && fold(name, "Timestamp") { // RFC 3261, 8.2.6.1
				list = append(list, h)
			}
		}
	}
	r.PrependHeader(list...)
	dropSpares(r)
}

// tagged returns the To header of a response: with our tag unless it has one (RFC 3261, 8.2.6.2).
func (r *Response) tagged(to sip.Header, tag string) sip.Header {
	if r.StatusCode == 100 || tag == "" || r.To.Tag != "" || r.To.Raw == "" {
		return to
	}
	value := r.To.Raw + ";tag=" + tag
	n := len(value) - len(tag)
	r.To.Params = value[len(r.To.Raw)-len(r.To.Params):]
	r.To.Raw, r.To.Tag = value, value[n:]
	return &field{name: to.Name(), CallIDHeader: sip.CallIDHeader(value)}
}
