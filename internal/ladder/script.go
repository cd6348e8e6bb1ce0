package ladder

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Script is a parsed ladder file.
type Script struct {
	Path       string
	Head       []string // everything before the first entry, as it stands: comments, directives, blank lines
	Directives []Directive
	Entries    []Entry
}

// Directive is one line of the preamble, split at blanks: "phone bob2 192.0.2.7 user=bob".
type Directive struct {
	Line  int
	Words []string
}

// Kind says what an entry is.
type Kind int

const (
	Message Kind = iota
	Close        // a phone closes its connection
	End          // silence until here
)

// Entry is one message or event.
type Entry struct {
	Line     int
	Before   []string // comments and blank lines above it
	At       time.Duration
	Kind     Kind
	From, To string
	Start    string   // "INVITE sip:bob@example.org", "200 OK (BYE)"
	Flags    []string // "lost", "call=2"
	Fields   []Field
	Body     []string
}

// Field is an indented header line.
type Field struct {
	Name, Value string
	Absent      bool
}

// Flag returns the value of NAME=VALUE, or "" and true for a bare NAME.
func (e *Entry) Flag(name string) (string, bool) {
	for _, f := range e.Flags {
		if key, value, _ := strings.Cut(f, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// Parse reads a ladder file; the error names path and line.
func Parse(path string, text []byte) (*Script, error) {
	s := &Script{Path: path}
	var before []string
	for i, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		trimmed := strings.TrimSpace(line)
		at, rest, timed := cutTime(trimmed)
		var err error
		switch {
		case timed:
			e := Entry{Line: i + 1, Before: before, At: at}
			before = nil
			err = e.parse(rest)
			s.Entries = append(s.Entries, e)
		case trimmed == "" || trimmed[0] == '#':
			if len(s.Entries) == 0 {
				s.Head = append(s.Head, line)
			} else {
				before = append(before, line)
			}
		case len(s.Entries) == 0:
			s.Head = append(s.Head, line)
			s.Directives = append(s.Directives, Directive{Line: i + 1, Words: strings.Fields(line)})
		case line[0] == ' ' || line[0] == '\t':
			err = s.Entries[len(s.Entries)-1].parseIndented(trimmed)
		default:
			err = fmt.Errorf("neither an entry (it needs a time) nor an indented header: %q", trimmed)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	if n := len(s.Entries); n == 0 || s.Entries[n-1].Kind != End {
		return nil, fmt.Errorf("%s: the last entry must be \"TIME end\"", path)
	}
	if !slices.IsSortedFunc(s.Entries, func(a, b Entry) int { return int(a.At - b.At) }) {
		return nil, fmt.Errorf("%s: times must not go backwards", path)
	}
	return s, nil
}

// cutTime reads "12.500s" at the start of a line.
func cutTime(line string) (at time.Duration, rest string, ok bool) {
	word, rest, _ := strings.Cut(line, " ")
	seconds, isTime := strings.CutSuffix(word, "s")
	if !isTime {
		return 0, "", false
	}
	f, err := strconv.ParseFloat(seconds, 64)
	if err != nil || f < 0 {
		return 0, "", false
	}
	return time.Duration(f*1e6+0.5) * time.Microsecond, strings.TrimSpace(rest), true
}

func (e *Entry) parse(rest string) error {
	if rest == "end" {
		e.Kind = End
		return nil
	}
	if name, ok := strings.CutSuffix(rest, " closes"); ok {
		e.Kind, e.From = Close, name
		return nil
	}
	words := strings.Fields(rest)
	if len(words) < 4 || words[1] != "->" {
		return fmt.Errorf("want FROM -> TO MESSAGE, NAME closes, or end: %q", rest)
	}
	e.From, e.To = words[0], words[2]
	words = words[3:]
	// Flags stand in brackets at the end; an IPv6 reference is never preceded by a blank.
	for i, w := range words {
		if w[0] != '[' {
			continue
		}
		last := words[len(words)-1]
		if last[len(last)-1] != ']' {
			return fmt.Errorf("flags must end in ]: %q", rest)
		}
		e.Flags = strings.Fields(strings.Trim(strings.Join(words[i:], " "), "[]"))
		words = words[:i]
		break
	}
	e.Start = strings.Join(words, " ")
	return nil
}

func (e *Entry) parseIndented(line string) error {
	if body, ok := strings.CutPrefix(line, "|"); ok {
		e.Body = append(e.Body, strings.TrimPrefix(body, " "))
		return nil
	}
	if name, ok := strings.CutPrefix(line, "-"); ok {
		e.Fields = append(e.Fields, Field{Name: strings.TrimSpace(name), Absent: true})
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || strings.Contains(name, " ") {
		return fmt.Errorf("want Name: value, -Name or | body: %q", line)
	}
	e.Fields = append(e.Fields, Field{Name: name, Value: strings.TrimSpace(value)})
	return nil
}

// Format writes the script; Parse and Format agree.
func (s *Script) Format() []byte {
	width := 0
	for _, e := range s.Entries {
		width = max(width, len(e.From)+len(arrow)+len(e.To))
	}
	var b []byte
	for _, line := range s.Head {
		b = append(append(b, line...), '\n')
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		for _, line := range e.Before {
			b = append(append(b, line...), '\n')
		}
		b = e.append(b, width)
	}
	return b
}

const (
	arrow  = " -> "
	indent = "              " // of headers and bodies: under the names
)

func (e *Entry) append(b []byte, width int) []byte {
	b = appendTime(b, e.At)
	switch e.Kind {
	case End:
		return append(b, "end\n"...)
	case Close:
		return append(append(b, e.From...), " closes\n"...)
	}
	b = appendPair(b, e.From, e.To, width)
	b = append(b, e.Start...)
	if len(e.Flags) > 0 {
		b = fmt.Appendf(b, " [%s]", strings.Join(e.Flags, " "))
	}
	b = append(b, '\n')
	for _, f := range e.Fields {
		if f.Absent {
			b = fmt.Appendf(b, "%s-%s\n", indent, f.Name)
		} else {
			b = fmt.Appendf(b, "%s%s: %s\n", indent, f.Name, f.Value)
		}
	}
	for _, line := range e.Body {
		b = append(b, strings.TrimRight(indent+"| "+line, " ")...)
		b = append(b, '\n')
	}
	return b
}

// String is the entry as it stands in the file, without what stands above it.
func (e *Entry) String() string {
	return string(bytes.TrimRight(e.append(nil, len(e.From)+len(arrow)+len(e.To)), "\n"))
}
