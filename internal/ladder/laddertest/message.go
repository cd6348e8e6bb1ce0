package laddertest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// message is a phone's own view of a SIP message. It shares no code with the server's codec on purpose: a mistake there must not be hidden by
// the same mistake here.
type message struct {
	start  string
	fields []field
	body   []byte
}

type field struct{ name, value string }

func readMessage(b []byte) *message {
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	m := &message{start: lines[0], body: body}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		m.fields = append(m.fields, field{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return m
}

func (m *message) bytes() []byte {
	b := append([]byte(m.start), "\r\n"...)
	for _, f := range m.fields {
		b = fmt.Appendf(b, "%s: %s\r\n", f.name, f.value)
	}
	b = append(b, "\r\n"...)
	return append(b, m.body...)
}

func (m *message) isResponse() bool { return strings.HasPrefix(m.start, "SIP/") }

// code is the status code; 0 for a request.
func (m *message) code() int {
	if !m.isResponse() {
		return 0
	}
	code, _ := strconv.Atoi(nth(m.start, 1))
	return code
}

// method is the request's, or that of the request which a response answers.
func (m *message) method() string {
	if m.isResponse() {
		return nth(m.get("CSeq"), 1)
	}
	return nth(m.start, 0)
}

func (m *message) uri() string { return nth(m.start, 1) }

func nth(s string, n int) string {
	if words := strings.Fields(s); n < len(words) {
		return words[n]
	}
	return ""
}

func (m *message) get(name string) string {
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// lines are the values of all header fields of that name, as they stand.
func (m *message) lines(name string) (values []string) {
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// list is lines with comma-separated values taken apart.
func (m *message) list(name string) (values []string) {
	for _, line := range m.lines(name) {
		values = append(values, splitList(line)...)
	}
	return values
}

// splitList splits at commas outside quotes and angle brackets.
func splitList(s string) (values []string) {
	quoted, angle, from := false, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			values = append(values, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	return append(values, strings.TrimSpace(s[from:]))
}

func (m *message) add(name, value string) { m.fields = append(m.fields, field{name, value}) }

func (m *message) addAll(name string, values []string) {
	for _, v := range values {
		m.add(name, v)
	}
}

func (m *message) del(name string) {
	kept := m.fields[:0]
	for _, f := range m.fields {
		if !strings.EqualFold(f.name, name) {
			kept = append(kept, f)
		}
	}
	m.fields = kept
}

// setAll replaces the header fields of that name, in the place of the first.
func (m *message) setAll(name string, values []string) {
	var fields []field
	done := false
	for _, f := range m.fields {
		if !strings.EqualFold(f.name, name) {
			fields = append(fields, f)
			continue
		}
		if !done {
			for _, v := range values {
				fields = append(fields, field{f.name, v})
			}
			done = true
		}
	}
	m.fields = fields
	if !done {
		m.addAll(name, values)
	}
}

func (m *message) set(name, value string) { m.setAll(name, []string{value}) }

func (m *message) clone() *message {
	return &message{start: m.start, fields: append([]field(nil), m.fields...), body: m.body}
}

// addrURI is the URI in a name-addr or addr-spec.
func addrURI(value string) string {
	if _, rest, ok := strings.Cut(value, "<"); ok {
		uri, _, _ := strings.Cut(rest, ">")
		return uri
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}

// addrTag is the tag parameter behind it.
func addrTag(value string) string {
	if _, after, ok := strings.Cut(value, ">"); ok {
		value = after
	}
	_, tag, _ := strings.Cut(value, ";tag=")
	tag, _, _ = strings.Cut(tag, ";")
	return tag
}

// isLoose tells whether a Route value names a loose router (RFC 3261, 19.1.1).
func isLoose(route string) bool {
	uri := addrURI(route) + ";"
	return strings.Contains(uri, ";lr;") || strings.Contains(uri, ";lr=")
}
