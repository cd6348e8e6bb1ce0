package wire

import (
	"errors"
	"strings"
)

var (
	errAddress   = errors.New("not an address")
	errDisplay   = errors.New("bad display name")
	errTwice     = errors.New("parameter stands twice")
	errEmptyTag  = errors.New("empty tag")
	errNoBracket = errors.New("a URI with headers must stand in angle brackets")
)

// Address is a name-addr or addr-spec with header parameters: From, To, Contact, Route, Record-Route, Path (RFC 3261, 20.10).
type Address struct {
	Raw     string
	Display string // still quoted as on the wire
	URI     URI
	Params  string // header parameters, raw with the leading ';'
	Tag     string // the tag parameter, "" when absent
}

// ParseAddress reads one value (no comma list). "*" is accepted as a URI with Raw "*" and no scheme, for Contact.
func ParseAddress(s string) (Address, error) {
	var a Address
	if err := a.parse(s); err != nil {
		return Address{}, err
	}
	return a, nil
}

func (a *Address) parse(s string) error {
	s = trim(s)
	a.Raw = s
	if s == "*" {
		a.URI.Raw = s
		return nil
	}
	uri, params, err := a.split(s)
	if err != nil {
		return err
	}
	if err := a.URI.parse(uri); err != nil {
		return err
	}
	a.Params = params
	return a.readParams()
}

// split finds the URI and the header parameters and sets Display.
func (a *Address) split(s string) (uri, params string, err error) {
	rest := s
	if s != "" && s[0] == '"' {
		n := quoted(s)
		if n < 0 {
			return "", "", errDisplay
		}
		a.Display, rest = s[:n], skipSpace(s[n:])
		if rest == "" || rest[0] != '<' {
			return "", "", errAddress
		}
	} else if lt := strings.IndexByte(s, '<'); lt < 0 {
		return splitBare(s)
	} else {
		// Tokens, with white space between them; RFC 4475, 3.1.1.6: none is needed before the bracket.
		a.Display, rest = trim(s[:lt]), s[lt:]
		for i := range len(a.Display) {
			if c := a.Display[i]; classes[c]&isText == 0 && !isSpace(c) {
				return "", "", errDisplay
			}
		}
	}
	gt := strings.IndexByte(rest, '>')
	if gt < 0 {
		return "", "", errAddress
	}
	return rest[1:gt], skipSpace(rest[gt+1:]), nil
}

// splitBare: without angle brackets parameters belong to the header, and the URI must not hold a comma, semicolon or question mark
// (RFC 3261, 20.10).
func splitBare(s string) (uri, params string, err error) {
	uri = s
	if i := strings.IndexByte(s, ';'); i >= 0 {
		uri, params = trim(s[:i]), s[i:]
	}
	if strings.IndexByte(uri, '?') >= 0 || strings.IndexByte(uri, ',') >= 0 {
		return "", "", errNoBracket
	}
	return uri, params, nil
}

// readParams checks the header parameters and finds the tag. Two tags would be two dialogs, to two readers.
func (a *Address) readParams() error {
	for rest, n := a.Params, 0; rest != ""; n++ {
		name, value, tail, good := CutParam(rest)
		if !good || n == MaxParams {
			return errParams
		}
		if len(name) == 3 && fold(name, "tag") {
			if a.Tag != "" {
				return errTwice
			}
			if a.Tag = value; value == "" {
				return errEmptyTag
			}
		}
		rest = tail
	}
	return nil
}

// Param returns a header parameter (name in lower case); quoted values come unquoted.
func (a Address) Param(name string) (value string, ok bool) { return Param(a.Params, name) }
