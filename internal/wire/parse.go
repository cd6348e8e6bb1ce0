package wire

import (
	"bytes"
	"errors"
	"strings"

	"github.com/emiago/sipgo/sip"
)

const version = "SIP/2.0"

var (
	errEmpty       = errors.New("empty message")
	errTooLong     = errors.New("message longer than 64 KiB")
	errNoEnd       = errors.New("no empty line ends the header")
	errLineEnd     = errors.New("CR or LF alone, or NUL, in the header")
	errRequestLine = errors.New("not a Request-Line")
	errURIHeaders  = errors.New("headers in the Request-URI")
	errStatusLine  = errors.New("not a Status-Line")
	errVersion     = errors.New("not SIP/2.0")
	errFieldName   = errors.New("not a header field")
	errManyFields  = errors.New("too many header fields")
	errValueLong   = errors.New("header value too long")
	errDuplicate   = errors.New("stands twice")
	errMissing     = errors.New("is missing")
	errMethods     = errors.New("method differs from the request's")
	errLength      = errors.New("not a length")
	errShort       = errors.New("Content-Length is larger than the body")
)

// Parse reads one whole datagram, WebSocket message or framed message (RFC 3261, 7 and 18.3). On error the message holds what was readable of
// it (or is nil), so that the caller can answer with the error's code; the caller drops a response or an ACK in error. b may be reused.
func Parse(b []byte) (Message, *Error) {
	p := parser{length: -1}
	head, body := p.split(b)
	line, fields := cutLine(p.text(head))
	m := p.startLine(line)
	if m == nil {
		return nil, p.err
	}
	var some [64]sip.Header
	list := p.fields(m, fields, some[:0])
	p.check(m)
	if body = p.body(body); len(body) > 0 {
		setBody(m, append([]byte(nil), body...))
	}
	switch m := m.(type) { // called on the types themselves: through the interface "some" would move to the heap
	case *Request:
		m.PrependHeader(list...)
	case *Response:
		m.PrependHeader(list...)
	}
	return m, p.err
}

// parser holds what one call of Parse needs to remember.
type parser struct {
	err    *Error // the first one
	lines  int    // before the empty line
	folded bool   // some of them continue the one before
	dirty  bool   // some may hold CR, LF or NUL
	ended  bool   // the empty line was there
	seen   uint16 // which fields were there, a bit for each fieldID
	length int    // Content-Length, -1 when absent
}

func (p *parser) fail(code int, reason string, err error) {
	if p.err == nil {
		p.err = &Error{Code: code, Reason: reason, Err: err}
	}
}

// split finds the empty line that ends the head, line by line. CRLFs before the start line are skipped (RFC 3261, 7.5).
func (p *parser) split(b []byte) (head, body []byte) {
	for len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		b = b[2:]
	}
	if len(b) == 0 {
		p.fail(400, "", errEmpty)
		return nil, nil
	}
	if len(b) > MaxMessage {
		p.fail(513, "", errTooLong)
		b = b[:MaxMessage]
	}
	for pos := 0; ; p.lines++ {
		n := bytes.IndexByte(b[pos:], '\n')
		if n < 0 {
			if p.dirty { // typed by hand, most often: the empty line is there, but ends in LF alone
				p.fail(400, "Bad Line End", errLineEnd)
			}
			p.fail(400, "Incomplete Header", errNoEnd)
			return b[:pos], nil
		}
		if n == 1 && b[pos] == '\r' {
			p.ended = true
			return b[:pos], b[pos+2:]
		}
		if n == 0 || b[pos+n-1] != '\r' {
			p.dirty = true
		}
		if isSpace(b[pos]) {
			p.folded = true
		}
		pos += n + 1
	}
}

// text makes the head a string, the only copy of it, and unfolds it (RFC 3261, 7.3.1). It checks what lets two readers see different
// lines: CR and LF come in pairs only, and NUL not at all but escaped in a quoted-string.
func (p *parser) text(head []byte) string {
	if bytes.Count(head, []byte{'\r'}) != p.lines {
		p.dirty = true
	}
	if p.dirty {
		p.fail(400, "Bad Line End", errLineEnd)
	}
	s := string(head)
	if p.folded {
		s = unfold(s)
	}
	if strings.IndexByte(s, 0) >= 0 {
		p.dirty = true
		if !quotedNULs(s) {
			p.fail(400, "Bad Character", errLineEnd)
		}
	}
	return s
}

// unfold replaces each fold, with the white space around it, by one space.
func unfold(s string) string {
	out := make([]byte, 0, len(s))
	for {
		i := strings.Index(s, "\r\n")
		if i < 0 {
			return string(append(out, s...))
		}
		out = append(out, s[:i]...)
		s = s[i+2:]
		if s == "" || !isSpace(s[0]) {
			out = append(out, "\r\n"...)
			continue
		}
		for len(out) > 0 && isSpace(out[len(out)-1]) {
			out = out[:len(out)-1]
		}
		out = append(out, ' ')
		s = skipSpace(s)
	}
}

// quotedNULs tells whether every NUL is a quoted-pair in a quoted-string, the one place it is legal (RFC 3261, 25.1 quoted-pair).
func quotedNULs(s string) bool {
	inside := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			inside = !inside
		case '\\':
			if inside {
				i++
			}
		case '\n':
			inside = false
		case 0:
			return false
		}
	}
	return true
}

// cutLine cuts a line off the front, without its end.
func cutLine(s string) (line, rest string) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return s, ""
	}
	line, rest = s[:i], s[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// startLine makes the message that the start line announces, nil if it cannot be told what it is.
func (p *parser) startLine(line string) Message {
	if len(line) >= 4 && fold(line[:4], "SIP/") {
		return p.statusLine(line)
	}
	return p.requestLine(line)
}

// requestLine: Method SP Request-URI SP SIP-Version, with exactly these spaces (RFC 3261, 7.1).
func (p *parser) requestLine(line string) Message {
	n := span(line, isToken)
	if n == 0 || n > MaxMethod || n == len(line) || line[n] != ' ' {
		p.fail(400, "Bad Request Line", errRequestLine)
		return nil
	}
	r := &Request{MaxForwards: -1}
	r.SipVersion = version
	r.Method = sip.RequestMethod(line[:n])
	last := strings.LastIndexByte(line, ' ')
	if last == n {
		p.fail(400, "Bad Request Line", errRequestLine)
		return r
	}
	if v := line[last+1:]; v != version && !fold(v, version) {
		if len(v) > 4 && fold(v[:4], "SIP/") {
			p.fail(505, "", errVersion)
		}
		p.fail(400, "Bad Request Line", errRequestLine)
	}
	uri := line[n+1 : last]
	if len(uri) > MaxURI {
		p.fail(414, "", errURILong)
		return r
	}
	err := r.URI.parse(uri)
	if err == nil && r.URI.Headers != "" {
		err = errURIHeaders // RFC 3261, 19.1.1: none in a Request-URI
	}
	if err != nil {
		p.fail(400, "Bad Request-URI", err)
		r.URI = URI{}
		return r
	}
	r.setRecipient()
	return r
}

// statusLine: SIP-Version SP Status-Code SP Reason-Phrase (RFC 3261, 7.2); the reason and its space may be missing.
func (p *parser) statusLine(line string) Message {
	r := &Response{}
	r.SipVersion = version
	v, rest, _ := strings.Cut(line, " ")
	if v != version && !fold(v, version) {
		p.fail(505, "", errVersion)
	}
	code, reason, _ := strings.Cut(rest, " ")
	n, ok := smallNumber(code, 699)
	if !ok || len(code) != 3 || n < 100 {
		p.fail(400, "Bad Status Line", errStatusLine)
	}
	r.StatusCode, r.Reason = n, reason
	return r
}

// fields reads the header fields: it appends them to list, and what Head holds to the message's Head.
func (p *parser) fields(m Message, s string, list []sip.Header) []sip.Header {
	n := p.lines - 1
	if n > MaxHeaders {
		p.fail(400, "Too Many Headers", errManyFields)
		n = MaxHeaders
	}
	block := make([]field, max(n, 0))
	for len(list) < n && s != "" {
		var line string
		line, s = cutLine(s)
		name, value, ok := cutField(line)
		if !ok {
			p.fail(400, "Bad Header", errFieldName)
			continue
		}
		if len(value) > MaxHeaderValue {
			p.fail(400, "Header Too Long", errValueLong)
			continue
		}
		if p.dirty && (strings.IndexByte(value, '\r') >= 0 || !quotedNULs(value)) {
			continue // it must not get into an answer
		}
		f := &block[len(list)]
		f.name, f.CallIDHeader = name, sip.CallIDHeader(value)
		list = append(list, f)
		if id := identify(name); id != fieldOther {
			p.field(m, id, name, value)
		}
	}
	return list
}

// cutField splits a header field at its colon. White space before the colon is legal (HCOLON in RFC 3261, 25.1), anything else that is
// not a token is not.
func cutField(line string) (name, value string, ok bool) {
	n := span(line, isToken)
	if n == 0 {
		return "", "", false
	}
	rest := line[n:]
	if rest != "" && rest[0] != ':' {
		rest = skipSpace(rest)
	}
	if rest == "" || rest[0] != ':' {
		return "", "", false
	}
	return line[:n], trim(rest[1:]), true
}

// field takes note of a field that Head holds or that may stand only once. Of two the first stays: RFC 3261, 7.3.1 allows several of a
// name only where the value is a list.
func (p *parser) field(m Message, id fieldID, name, value string) {
	bit := uint16(1) << id
	if p.seen&bit != 0 {
		if id != fieldVia {
			p.fail(400, "Duplicate "+longName(name), errDuplicate)
		}
		return
	}
	p.seen |= bit
	if id == fieldContentLength {
		n, bad := contentLength(value)
		if bad != nil {
			p.fail(bad.Code, bad.Reason, bad.Err)
		}
		p.length = n
		return
	}
	if err := m.read(id, value); err != nil {
		p.fail(400, "Bad "+longName(name), err)
	}
}

// contentLength reads a Content-Length (RFC 3261, 20.14). The value never wraps and is never negative.
func contentLength(value string) (n int, bad *Error) {
	n, ok := smallNumber(value, MaxMessage)
	switch {
	case ok:
		return n, nil
	case all(value, isDigit) && len(value) <= 10:
		return 0, &Error{Code: 513, Err: errTooLong}
	default:
		return 0, &Error{Code: 400, Reason: "Bad Content-Length", Err: errLength}
	}
}

// required fields of every message (RFC 3261, 8.1.1). Max-Forwards is required too but many phones of today and all of RFC 2543
// leave it out.
var required = [...]struct {
	id   fieldID
	name string
}{{fieldVia, "Via"}, {fieldFrom, "From"}, {fieldTo, "To"}, {fieldCallID, "Call-ID"}, {fieldCSeq, "CSeq"}}

// check sees whether the message is whole (RFC 3261, 8.1.1 and 16.3 step 1).
func (p *parser) check(m Message) {
	for i := range required {
		if p.seen&(1<<required[i].id) == 0 {
			p.fail(400, "Missing "+required[i].name, errMissing)
		}
	}
	if r, ok := m.(*Request); ok && r.CSeq.Method != string(r.Method) && p.err == nil {
		p.fail(400, "CSeq Method Mismatch", errMethods)
	}
}

// body takes as much as Content-Length says; in a datagram the rest is discarded, and without Content-Length all of it is the body
// (RFC 3261, 18.3). A message in error has none.
func (p *parser) body(rest []byte) []byte {
	if p.length > len(rest) && p.ended {
		p.fail(400, "Content-Length Too Large", errShort)
	}
	if p.err != nil {
		return nil
	}
	if p.length >= 0 {
		rest = rest[:p.length]
	}
	return rest
}

// setBody sets the body of a message that has no headers yet. sipgo then makes a Content-Length, which goes again: the message keeps its own.
func setBody(m Message, body []byte) {
	m.SetBody(body)
	m.RemoveHeader("Content-Length")
}
