package wire

import "strings"

// Param returns a parameter from a raw ";a=b;c" string: the shared helper behind Address.Param and Via.Param. name is in lower case; names
// compare without case. A quoted value comes unquoted.
func Param(params, name string) (value string, ok bool) {
	for params != "" {
		n, v, rest, good := CutParam(params)
		if !good {
			return "", false
		}
		if fold(n, name) {
			return Unquote(v), true
		}
		params = rest
	}
	return "", false
}

// CutParam cuts the first parameter off a raw ";a=b;c" string (generic-param of RFC 3261, 25.1). A quoted value keeps its quotes. A value may be empty, as
// phones send "rport="; a parameter may not: ";;" is not good.
func CutParam(s string) (name, value, rest string, good bool) {
	if s == "" || s[0] != ';' {
		return "", "", "", false
	}
	s = skipSpace(s[1:])
	n := span(s, isToken)
	if n == 0 {
		return "", "", "", false
	}
	name, s = s[:n], skipSpace(s[n:])
	if s == "" || s[0] != '=' {
		return name, "", s, s == "" || s[0] == ';'
	}
	s = skipSpace(s[1:])
	if s != "" && s[0] == '"' {
		n = quoted(s)
	} else {
		n = span(s, isValue)
	}
	if n < 0 {
		return "", "", "", false
	}
	value, s = s[:n], skipSpace(s[n:])
	return name, value, s, s == "" || s[0] == ';'
}

// SplitParam splits ";a=b;c", whose grammar is checked, into ";a=b" and ";c": a semicolon in a quoted string does not split.
func SplitParam(s string) (param, rest string) {
	inside := false
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			inside = !inside
		case s[i] == '\\' && inside:
			i++
		case s[i] == ';' && !inside:
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// quoted returns the length of the quoted-string at the start of s (s[0] is the quote), -1 if it does not end.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// Unquote returns what a quoted-string means; anything else as it is.
func Unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}
