package ladder

import (
	"bytes"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a traced message: a trace is for reading, and an attacker chooses what is in it.
const (
	maxTraceLines = 200  // header and body lines; a real INVITE has about 60
	maxTraceLine  = 1000 // bytes of one line; a Record-Route with a token has about 200
)

// AppendTrace prints one message as a ladder entry with all its headers and its body. Control characters and bytes that are not UTF-8 are
// escaped, so that a message cannot forge a line of the log; credentials are replaced by *.
func AppendTrace(dst []byte, at time.Duration, from, to string, msg []byte) []byte {
	start, rest := cutLine(msg)
	dst = appendTime(dst, at)
	dst = appendPair(dst, from, to, 0)
	dst = appendStart(dst, start, rest)
	dst = append(dst, '\n')
	body := false
	for n := 0; len(rest) > 0; n++ {
		if n == maxTraceLines {
			return append(dst, indent+"| ...\n"...)
		}
		var line []byte
		line, rest = cutLine(rest)
		if !body && len(line) == 0 {
			body = true
			continue
		}
		dst = append(dst, indent...)
		if body {
			dst = append(dst, "| "...)
		}
		dst = appendEscaped(dst, maskCredentials(line))
		dst = append(dst, '\n')
	}
	return dst
}

// appendTime writes "  0.500s  ".
func appendTime(dst []byte, at time.Duration) []byte {
	ms := (at + time.Millisecond/2) / time.Millisecond
	if ms < 100_000 {
		dst = append(dst, ' ')
	}
	if ms < 10_000 {
		dst = append(dst, ' ')
	}
	dst = appendInt(dst, int64(ms/1000), 1)
	dst = append(dst, '.')
	dst = appendInt(dst, int64(ms%1000), 3)
	return append(dst, "s  "...)
}

func appendInt(dst []byte, n int64, width int) []byte {
	var digits [20]byte
	i := len(digits)
	for n > 0 || len(digits)-i < width {
		i--
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, digits[i:]...)
}

func appendPair(dst []byte, from, to string, width int) []byte {
	end := len(dst) + width
	dst = append(dst, from...)
	dst = append(dst, arrow...)
	dst = append(dst, to...)
	for len(dst) < end {
		dst = append(dst, ' ')
	}
	return append(dst, "  "...)
}

// appendStart writes the start line in its short form: no version, and the method of a response unless it is INVITE.
func appendStart(dst, start, headers []byte) []byte {
	if status, ok := bytes.CutPrefix(start, []byte("SIP/2.0 ")); ok {
		dst = appendEscaped(dst, status)
		if method := cseqMethod(headers); len(method) > 0 && string(method) != "INVITE" {
			dst = append(dst, " ("...)
			dst = appendEscaped(dst, method)
			dst = append(dst, ')')
		}
		return dst
	}
	return appendEscaped(dst, bytes.TrimSuffix(start, []byte(" SIP/2.0")))
}

// AppendStart writes what stands behind the names in a ladder: "INVITE sip:bob@example.org", "200 OK (BYE)".
func AppendStart(dst, msg []byte) []byte {
	start, headers := cutLine(msg)
	return appendStart(dst, start, headers)
}

func cseqMethod(headers []byte) []byte {
	for len(headers) > 0 {
		var line []byte
		line, headers = cutLine(headers)
		if len(line) == 0 {
			return nil
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		if bytes.EqualFold(bytes.TrimSpace(name), []byte("CSeq")) {
			value = bytes.TrimSpace(value)
			return bytes.TrimSpace(value[bytes.LastIndexAny(value, " \t")+1:])
		}
	}
	return nil
}

func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), rest
}

// maskCredentials hides what could be used or guessed from: bearer tokens, and the Digest response, from which a weak password can be found.
func maskCredentials(line []byte) []byte {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if name = bytes.TrimSpace(name); ok && bytes.EqualFold(name, []byte("Session-Token")) {
		return append(bytes.Clone(name), ": *"...)
	}
	if !ok || !bytes.EqualFold(name, []byte("Authorization")) && !bytes.EqualFold(name, []byte("Proxy-Authorization")) {
		return line
	}
	value = bytes.TrimSpace(value)
	if i := bytes.Index(value, []byte("response=\"")); i >= 0 && bytes.HasPrefix(value, []byte("Digest ")) {
		i += len("response=\"")
		end := bytes.IndexByte(value[i:], '"')
		if end < 0 {
			end = len(value) - i
		}
		return append(append(append(bytes.Clone(line[:len(line)-len(value)]), value[:i]...), '*'), value[i+end:]...)
	}
	scheme, _, _ := bytes.Cut(value, []byte{' '})
	return append(append(append([]byte(nil), name...), ": "...), append(bytes.Clone(scheme), " *"...)...)
}

func appendEscaped(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	cut := len(s) > maxTraceLine
	if cut {
		s = s[:maxTraceLine]
	}
	for len(s) > 0 {
		if s[0] >= ' ' && s[0] < 0x7f {
			dst, s = append(dst, s[0]), s[1:]
			continue
		}
		r, n := utf8.DecodeRune(s)
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			dst, s = append(dst, '\\', 'x', hex[s[0]>>4], hex[s[0]&15]), s[1:]
			continue
		}
		dst, s = append(dst, s[:n]...), s[n:]
	}
	if cut {
		dst = append(dst, "..."...)
	}
	return dst
}
