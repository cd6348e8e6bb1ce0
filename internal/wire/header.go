package wire

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// fieldID says what Parse does with a header field.
type fieldID uint8

const (
	fieldOther fieldID = iota
	fieldVia
	fieldFrom
	fieldTo
	fieldCallID
	fieldCSeq
	fieldMaxForwards
	fieldContentLength
	fieldContentType
	fieldExpires
)

// identify knows a header field by its name in any case, long or compact (RFC 3261, 7.3.1 and 7.3.3).
func identify(name string) fieldID {
	switch len(name) {
	case 1:
		switch lowerByte(name[0]) {
		case 'v':
			return fieldVia
		case 'f':
			return fieldFrom
		case 't':
			return fieldTo
		case 'i':
			return fieldCallID
		case 'l':
			return fieldContentLength
		case 'c':
			return fieldContentType
		}
	case 2:
		return ifFold(name, "to", fieldTo)
	case 3:
		return ifFold(name, "via", fieldVia)
	case 4:
		if lowerByte(name[0]) == 'f' {
			return ifFold(name, "from", fieldFrom)
		}
		return ifFold(name, "cseq", fieldCSeq)
	case 7:
		if lowerByte(name[0]) == 'c' {
			return ifFold(name, "call-id", fieldCallID)
		}
		return ifFold(name, "expires", fieldExpires)
	case 12:
		if lowerByte(name[0]) == 'm' {
			return ifFold(name, "max-forwards", fieldMaxForwards)
		}
		return ifFold(name, "content-type", fieldContentType)
	case 14:
		return ifFold(name, "content-length", fieldContentLength)
	}
	return fieldOther
}

func ifFold(name, want string, f fieldID) fieldID {
	if fold(name, want) {
		return f
	}
	return fieldOther
}

// longName returns the long form of a compact name.
func longName(name string) string {
	if len(name) != 1 {
		return name
	}
	switch lowerByte(name[0]) {
	case 'a':
		return "Accept-Contact" // RFC 3841, 9.2
	case 'b':
		return "Referred-By"
	case 'c':
		return "Content-Type"
	case 'd':
		return "Request-Disposition" // RFC 3841, 9.1
	case 'e':
		return "Content-Encoding"
	case 'f':
		return "From"
	case 'i':
		return "Call-ID"
	case 'j':
		return "Reject-Contact" // RFC 3841, 9.2
	case 'k':
		return "Supported"
	case 'l':
		return "Content-Length"
	case 'm':
		return "Contact"
	case 'n':
		return "Identity-Info"
	case 'o':
		return "Event" // RFC 6665, 8.2.1
	case 'r':
		return "Refer-To" // RFC 3515, 2.1
	case 's':
		return "Subject"
	case 't':
		return "To"
	case 'u':
		return "Allow-Events" // RFC 6665, 8.2.2
	case 'v':
		return "Via"
	case 'x':
		return "Session-Expires" // RFC 4028, 4
	case 'y':
		return "Identity" // RFC 8224, 4
	}
	return name
}

// find returns the index of the first header of that name at or after from, -1 if there is none.
func find(list []sip.Header, name string, from int) int {
	name = longName(name)
	for i := from; i < len(list); i++ {
		if fold(longName(list[i].Name()), name) {
			return i
		}
	}
	return -1
}

// Get returns the value of the first header of that name (long or compact, any case; either form is found by either), "" if absent.
func Get(m Message, name string) string {
	list := m.Headers()
	if i := find(list, name, 0); i >= 0 {
		return list[i].Value()
	}
	return ""
}

// Has tells whether a header of that name is present.
func Has(m Message, name string) bool { return find(m.Headers(), name, 0) >= 0 }

// List returns the values of a header that may be a comma-separated list or repeated (Via, Route, Contact, Require ...), in order
// (RFC 3261, 7.3.1). Commas in quotes and angle brackets do not split. Empty elements are left out.
func List(m Message, name string) []string {
	list := m.Headers()
	n := 0
	for i := find(list, name, 0); i >= 0; i = find(list, name, i+1) {
		n += strings.Count(list[i].Value(), ",") + 1
	}
	if n == 0 {
		return nil
	}
	values := make([]string, 0, n)
	for i := find(list, name, 0); i >= 0; i = find(list, name, i+1) {
		for rest := list[i].Value(); rest != ""; {
			var v string
			if v, rest = cutListValue(rest); v != "" {
				values = append(values, v)
			}
		}
	}
	return values
}

// First returns the first value of a list header without building the list, "" if there is none.
func First(m Message, name string) string {
	list := m.Headers()
	for i := find(list, name, 0); i >= 0; i = find(list, name, i+1) {
		if v, _ := firstValue(list[i].Value()); v != "" {
			return v
		}
	}
	return ""
}

// firstValue cuts the first value that is not empty off a list.
func firstValue(s string) (value, rest string) {
	for value, rest = cutListValue(s); value == "" && rest != ""; {
		value, rest = cutListValue(rest)
	}
	return value, rest
}

// cutListValue cuts the first element off a comma-separated list. What does not end, a quote or a bracket, reaches to the end.
func cutListValue(s string) (value, rest string) {
	if strings.IndexByte(s, ',') < 0 {
		return trim(s), ""
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ',':
			return trim(s[:i]), skipSpace(s[i+1:])
		case '"':
			n := quoted(s[i:])
			if n < 0 {
				return trim(s), ""
			}
			i += n - 1
		case '<':
			n := strings.IndexByte(s[i:], '>')
			if n < 0 {
				return trim(s), ""
			}
			i += n
		}
	}
	return trim(s), ""
}

// Set replaces all headers of that name by one (in the place of the first, under its spelling), or appends.
func Set(m Message, name, value string) {
	list := m.Headers()
	i := find(list, name, 0)
	if i < 0 {
		Add(m, name, value)
		return
	}
	list[i] = NewHeader(list[i].Name(), value)
	for j := find(list, name, i+1); j >= 0; j = find(m.Headers(), name, i+1) {
		removeAt(m, j)
	}
	refresh(m, name)
}

// Add appends a header.
func Add(m Message, name, value string) {
	m.AppendHeader(NewHeader(name, value))
	refresh(m, name)
}

// Push puts a header before the first of the same name (a new topmost Via, Record-Route, Route), or at the top if there is none.
func Push(m Message, name, value string) {
	i := max(find(m.Headers(), name, 0), 0)
	h := NewHeader(name, value)
	m.AppendHeader(h)
	list := m.Headers()
	copy(list[i+1:], list[i:])
	list[i] = h
	refresh(m, name)
}

// Pop removes the first value of a list header (the topmost Via or Route) and returns it. The header's other values stay as they were.
func Pop(m Message, name string) (string, bool) {
	for {
		list := m.Headers()
		i := find(list, name, 0)
		if i < 0 {
			return "", false
		}
		value, rest := firstValue(list[i].Value())
		if rest == "" {
			removeAt(m, i)
		} else {
			list[i] = NewHeader(list[i].Name(), rest)
		}
		if value != "" {
			refresh(m, name)
			return value, true
		}
	}
}

// Del removes all headers of that name.
func Del(m Message, name string) {
	for i := find(m.Headers(), name, 0); i >= 0; i = find(m.Headers(), name, i) {
		removeAt(m, i)
	}
	refresh(m, name)
}

// removeAt takes one header out of the list. sipgo can remove a header by name only, and then the first: so the one to go is marked.
func removeAt(m Message, i int) {
	m.Headers()[i] = spares[0]
	m.RemoveHeader(spares[0].Name())
}

// refresh parses again what Head knows of a header that was changed. Our own rooms write what they have checked: what cannot be read is
// absent.
func refresh(m Message, name string) {
	f := identify(name)
	if f == fieldOther {
		return
	}
	_ = m.read(f, Get(m, name))
}
