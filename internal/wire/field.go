package wire

import (
	"io"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// field is one raw header field. sip.Header has unexported methods, so it borrows them from the one type of sipgo that is a plain string,
// whose value it holds. All fields of a received message then stand in one block of memory, where sip.NewHeader takes one each (ADR 1).
type field struct {
	sip.CallIDHeader // the value, of whatever header
	name             string
}

// Name is the name as it came.
func (f *field) Name() string { return f.name }

func (f *field) String() string { return f.name + ": " + string(f.CallIDHeader) }

// StringWrite writes "Name: value".
func (f *field) StringWrite(w io.StringWriter) {
	for _, s := range [...]string{f.name, ": ", string(f.CallIDHeader)} {
		if _, err := w.WriteString(s); err != nil {
			return
		}
	}
}

// NewHeader makes a raw header field. CR, LF and NUL in the value become spaces: whatever a room puts into a header, it cannot start another.
func NewHeader(name, value string) sip.Header {
	return &field{name: name, CallIDHeader: sip.CallIDHeader(oneLine(value))}
}

func oneLine(s string) string {
	if strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, s)
}

// spares are put before a message's headers and taken away again: the list then has room to grow, and sipgo offers no other way to ask for it.
var spares = func() (s [room]sip.Header) {
	for i := range s {
		s[i] = &field{}
	}
	return s
}()

// dropSpares takes the spares away again, all of which stand in front.
func dropSpares(m Message) {
	for range spares {
		m.RemoveHeader("")
	}
}
