package wire

import (
	"slices"
	"strconv"
)

// Append writes the message (RFC 3261, 7): the start line, the headers in their order under their names, Content-Length with the body's true
// length (in its place, or at the end), and the body. It allocates only if dst must grow, and then once.
func Append(dst []byte, m Message) []byte {
	headers, body := m.Headers(), m.Body()
	size := 64 + len(body)
	for _, h := range headers {
		size += len(h.Name()) + len(h.Value()) + 4
	}
	switch m := m.(type) {
	case *Request:
		dst = slices.Grow(dst, size+len(m.Method)+len(m.URI.Raw))
		dst = append(dst, m.Method...)
		dst = append(dst, ' ')
		dst = append(dst, m.URI.Raw...)
		dst = append(dst, ' ')
		dst = append(dst, version...)
	case *Response:
		dst = slices.Grow(dst, size+len(m.Reason))
		dst = append(dst, version...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(m.StatusCode), 10)
		dst = append(dst, ' ')
		dst = append(dst, m.Reason...)
	}
	dst = append(dst, "\r\n"...)
	written := false
	for _, h := range headers {
		name := h.Name()
		if identify(name) == fieldContentLength {
			if !written {
				dst = appendLength(dst, name, len(body))
				written = true
			}
			continue
		}
		dst = append(dst, name...)
		dst = append(dst, ": "...)
		dst = append(dst, h.Value()...)
		dst = append(dst, "\r\n"...)
	}
	if !written {
		dst = appendLength(dst, "Content-Length", len(body))
	}
	dst = append(dst, "\r\n"...)
	return append(dst, body...)
}

func appendLength(dst []byte, name string, n int) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, "\r\n"...)
}
