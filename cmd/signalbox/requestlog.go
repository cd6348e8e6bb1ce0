package main

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"signalbox/internal/ladder"
	"signalbox/internal/transaction"
	"signalbox/internal/wire"
)

// requestLog writes one line per finished request, in the logger's style but without slog's records: at 10,000 requests a second the log must not be
// what the server does.
type requestLog struct {
	sink    *sink
	style   logStyle
	started time.Time // trace times count from here
}

// finished is transaction.Config.Finished.
func (l *requestLog) finished(tx *transaction.Server, code int, took time.Duration) {
	req := tx.Request
	e := entry{
		at:     time.Now(),
		method: string(req.Method),
		from:   &req.From.URI,
		to:     &req.To.URI,
		code:   code,
		took:   took,
		callID: req.CallID,
		source: tx.Flow.ID(),
	}
	l.sink.append(func(dst []byte) []byte { return e.append(dst, l.style) })
}

// trace is transport.Config.Trace: the whole message as an entry of a ladder.
func (l *requestLog) trace(in bool, id wire.FlowID, msg []byte) {
	peer := id.Proto.String() + ":" + id.Remote.String()
	from, to := peer, "signalbox"
	if !in {
		from, to = to, from
	}
	at := time.Since(l.started)
	l.sink.append(func(dst []byte) []byte {
		if l.style == styleJSON {
			return appendJSONTrace(dst, ladder.AppendTrace(nil, at, from, to, msg))
		}
		return ladder.AppendTrace(dst, at, from, to, msg)
	})
}

// appendJSONTrace keeps a log of one object a line what it is.
func appendJSONTrace(dst, entry []byte) []byte {
	dst = append(dst, `{"time":"`...)
	dst = appendTime(dst, time.Now())
	dst = append(dst, `","level":"TRACE","msg":"message","ladder":`...)
	dst = appendJSONString(dst, string(entry))
	return append(dst, "}\n"...)
}

// appendTime writes a time as slog does, to the millisecond. RFC 3339 without a fraction has a way of its own in package time, five times faster than other layouts.
func appendTime(dst []byte, at time.Time) []byte {
	const seconds = len("2006-01-02T15:04:05")
	start := len(dst)
	dst = at.AppendFormat(dst, time.RFC3339)
	ms := at.Nanosecond() / int(time.Millisecond)
	return slices.Insert(dst, start+seconds, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

// entry is one line of the request log.
type entry struct {
	at       time.Time
	method   string
	from, to *wire.URI
	code     int
	took     time.Duration
	callID   string
	source   wire.FlowID
}

func (e *entry) append(dst []byte, style logStyle) []byte {
	switch style {
	case styleJSON:
		return e.appendJSON(dst)
	case styleText:
		return e.appendText(dst)
	}
	return e.appendPlain(dst, style == styleColor)
}

func (e *entry) appendText(dst []byte) []byte {
	dst = append(dst, "time="...)
	dst = appendTime(dst, e.at)
	dst = append(dst, " level=INFO msg=request method="...)
	dst = appendWord(dst, e.method)
	dst = append(dst, " from="...)
	dst = appendParty(dst, e.from)
	dst = append(dst, " to="...)
	dst = appendParty(dst, e.to)
	dst = append(dst, " code="...)
	dst = strconv.AppendInt(dst, int64(e.code), 10)
	dst = append(dst, " ms="...)
	dst = appendMillis(dst, e.took)
	dst = append(dst, " call-id="...)
	dst = appendWord(dst, e.callID)
	dst = append(dst, " source="...)
	dst = appendSource(dst, e.source)
	return append(dst, '\n')
}

func (e *entry) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"time":"`...)
	dst = appendTime(dst, e.at)
	dst = append(dst, `","level":"INFO","msg":"request","method":`...)
	dst = appendJSONString(dst, shorten(e.method))
	dst = append(dst, `,"from":`...)
	dst = appendJSONString(dst, shorten(party(e.from)))
	dst = append(dst, `,"to":`...)
	dst = appendJSONString(dst, shorten(party(e.to)))
	dst = append(dst, `,"code":`...)
	dst = strconv.AppendInt(dst, int64(e.code), 10)
	dst = append(dst, `,"ms":`...)
	dst = appendMillis(dst, e.took)
	dst = append(dst, `,"call-id":`...)
	dst = appendJSONString(dst, shorten(e.callID))
	dst = append(dst, `,"source":"`...)
	dst = appendSource(dst, e.source)
	return append(dst, "\"}\n"...)
}

// appendPlain is for people: 12:00:03 INVITE    alice@example.org -> bob@example.org  200  2.1 ms  udp:192.0.2.7:5060
func (e *entry) appendPlain(dst []byte, color bool) []byte {
	const faint, reset = "\x1b[2m", "\x1b[0m"
	paint := func(s string) {
		if color {
			dst = append(dst, s...)
		}
	}
	paint(faint)
	dst = e.at.AppendFormat(dst, time.TimeOnly)
	paint(reset)
	dst = append(dst, ' ')
	start := len(dst)
	dst = appendWord(dst, e.method)
	for len(dst) < start+len("SUBSCRIBE") {
		dst = append(dst, ' ')
	}
	dst = append(dst, ' ')
	dst = appendParty(dst, e.from)
	if e.method != "REGISTER" || e.from.User != e.to.User {
		dst = append(dst, " -> "...)
		dst = appendParty(dst, e.to)
	}
	dst = append(dst, "  "...)
	paint(codeColor(e.code))
	dst = strconv.AppendInt(dst, int64(e.code), 10)
	if phrase := wire.Phrase(e.code); phrase != "" {
		dst = append(append(dst, ' '), phrase...)
	}
	paint(reset)
	paint(faint)
	dst = append(dst, "  "...)
	dst = appendMillis(dst, e.took)
	dst = append(dst, " ms  "...)
	dst = appendSource(dst, e.source)
	dst = append(dst, "  "...)
	dst = appendWord(dst, e.callID)
	paint(reset)
	return append(dst, '\n')
}

func codeColor(code int) string {
	switch {
	case code < 300:
		return "\x1b[32m" // green
	case code == 401 || code == 407:
		return "\x1b[2m" // a challenge is half of every request: nothing to look at
	case code < 500:
		return "\x1b[33m" // yellow
	}
	return "\x1b[31m" // red
}

// party is a URI as people write it; URIs of other schemes stay whole.
func party(u *wire.URI) string {
	if !u.IsSIP() || u.Host == "" {
		return u.Raw
	}
	if u.User == "" {
		return u.Host
	}
	return u.User + "@" + u.Host
}

func appendParty(dst []byte, u *wire.URI) []byte {
	if !u.IsSIP() || u.Host == "" {
		return appendWord(dst, u.Raw)
	}
	if u.User != "" {
		if !isWord(u.User) || len(u.User) > maxLogValue {
			return appendWord(dst, party(u))
		}
		dst = append(dst, u.User...)
		dst = append(dst, '@')
	}
	return appendWord(dst, u.Host)
}

func appendMillis(dst []byte, d time.Duration) []byte {
	us := max(d, 0).Microseconds()
	dst = strconv.AppendInt(dst, us/1000, 10)
	return append(dst, '.', byte('0'+us/100%10), byte('0'+us/10%10), byte('0'+us%10))
}

func appendSource(dst []byte, id wire.FlowID) []byte {
	dst = append(dst, id.Proto.String()...)
	dst = append(dst, ':')
	return netip.AddrPortFrom(id.Remote.Addr().Unmap(), id.Remote.Port()).AppendTo(dst)
}

// appendWord writes a value that came from the network: as it is if nothing in it could be taken for something else, else quoted and escaped, so that
// one message is one line (hardening 71).
func appendWord(dst []byte, s string) []byte {
	s = shorten(s)
	if s != "" && isWord(s) {
		return append(dst, s...)
	}
	return strconv.AppendQuoteToASCII(dst, s)
}

// isWord tells whether s is visible ASCII without quotes, backslashes, blanks and equals signs.
func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=' {
			return false
		}
	}
	return true
}

func shorten(s string) string {
	if len(s) <= maxLogValue {
		return s
	}
	return s[:maxLogValue]
}

// appendJSONString escapes what JSON and terminals need escaped; bytes that are not UTF-8 become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
