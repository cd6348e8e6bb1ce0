package wire

import "strings"

// class is a set of bytes of the grammar (RFC 3261, 25.1). Escapes ("%" HEXDIG HEXDIG) are not in the sets: see escaped.
type class uint16

const (
	isDigit    class = 1 << iota
	isHex            // HEXDIG
	isToken          // token
	isWord           // word, and what phones put into a Call-ID beyond it: every visible character
	isValue          // value of a header parameter: token, host, and what phones put there unquoted
	isUser           // unreserved, user-unreserved, and "#", which phones dial
	isPass           // password
	isParam          // paramchar
	isHName          // hname and hvalue
	isHost           // host name, and "_", which is in use
	isScheme         // scheme
	isOpaque         // the rest of an absoluteURI
	isText           // unquoted display name: token, and UTF-8 as phones send it
	isUserText       // UserText
)

var classes = buildClasses()

func buildClasses() (t [256]class) {
	const (
		digit      = "0123456789"
		alnum      = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + digit
		unreserved = alnum + "-_.!~*'()"
		token      = alnum + "-.!%*_+`'~"
	)
	add := func(c class, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= c
		}
	}
	add(isDigit, digit)
	add(isHex, digit+"abcdefABCDEF")
	add(isToken, token)
	add(isText, token)
	add(isUser, unreserved+"&=+$,;?/#")
	add(isPass, unreserved+"&=+$,")
	add(isParam, unreserved+"[]/:&+$")
	add(isHName, unreserved+"[]/?:+$")
	add(isHost, alnum+"-._")
	add(isScheme, alnum+"+-.")
	add(isOpaque, unreserved+";/?:@&=+$,#[]")
	add(isUserText, userText)
	for c := 0x21; c < 0x7f; c++ {
		t[c] |= isWord
		if !strings.ContainsRune(`",;<>\`, rune(c)) {
			t[c] |= isValue
		}
	}
	for c := 0x80; c < 0x100; c++ {
		t[c] |= isValue | isText
	}
	return t
}

// span returns how many bytes at the start of s are in the class.
func span(s string, c class) int {
	i := 0
	for i < len(s) && classes[s[i]]&c != 0 {
		i++
	}
	return i
}

// all tells whether s is not empty and wholly in the class.
func all(s string, c class) bool { return s != "" && span(s, c) == len(s) }

// escaped tells whether s consists of the class and of escapes.
func escaped(s string, c class) bool {
	for i := 0; i < len(s); i++ {
		if classes[s[i]]&c != 0 {
			continue
		}
		if s[i] != '%' || i+2 >= len(s) || classes[s[i+1]]&classes[s[i+2]]&isHex == 0 {
			return false
		}
		i += 2
	}
	return true
}

// unescape resolves escapes, once (RFC 3261, 19.1.2: never twice).
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for s != "" {
		c, _, n := unit(s)
		out = append(out, c)
		s = s[n:]
	}
	return string(out)
}

// unit reads one character of s, which may be an escape, and its length.
func unit(s string) (c byte, wasEscaped bool, n int) {
	if s[0] == '%' && len(s) >= 3 && classes[s[1]]&classes[s[2]]&isHex != 0 {
		return unhex(s[1])<<4 | unhex(s[2]), true, 3
	}
	return s[0], false, 1
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// lower returns s in lower case; it allocates only if that is a change.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// upper returns s in upper case; it allocates only if that is a change.
func upper(s string) string {
	for i := range len(s) {
		if c := s[i]; 'a' <= c && c <= 'z' {
			return strings.ToUpper(s)
		}
	}
	return s
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// fold compares without case, ASCII only: names in SIP have no other letters.
func fold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// skipSpace cuts white space off the front. Folds are gone by then.
func skipSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

// trim cuts white space off both ends.
func trim(s string) string {
	s = skipSpace(s)
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
