package sdp

import (
	"fmt"
	"net/netip"
	"strings"
)

// Append writes the description.
func (s *Session) Append(dst []byte) []byte {
	w := writer{dst}
	w.line("v=0")
	w.line("o=- %d %d %s", s.ID, s.Version, inet(s.Addr))
	w.line("s=-")
	w.line("c=%s", inet(s.Addr))
	w.line("t=0 0")
	if s.ICELite {
		w.line("a=ice-lite")
	}
	if len(s.Bundle) > 0 {
		w.line("a=group:BUNDLE %s", strings.Join(s.Bundle, " "))
	}
	for i := range s.Media {
		w.media(&s.Media[i], s.Addr)
	}
	return w.b
}

// String is the text, for tests.
func (s *Session) String() string { return string(s.Append(nil)) }

type writer struct{ b []byte }

func (w *writer) line(format string, args ...any) {
	w.b = fmt.Appendf(w.b, format, args...)
	w.b = append(w.b, "\r\n"...)
}

func inet(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "IN IP4 0.0.0.0"
	case a.Is6():
		return "IN IP6 " + a.String()
	}
	return "IN IP4 " + a.String()
}

func (w *writer) media(m *Media, session netip.Addr) {
	w.b = fmt.Appendf(w.b, "m=%s %d %s", m.Kind, m.Port, m.Proto)
	for i := range m.Codecs {
		w.b = fmt.Appendf(w.b, " %d", m.Codecs[i].PT)
	}
	switch {
	case len(m.Codecs) > 0:
	case m.Formats != "":
		w.b = append(append(w.b, ' '), m.Formats...)
	default:
		w.b = append(w.b, " 0"...) // RFC 3264, 6: something must stand there
	}
	w.b = append(w.b, "\r\n"...)
	if m.Addr.IsValid() && m.Addr != session {
		w.line("c=%s", inet(m.Addr))
	}
	if m.Mid != "" {
		w.line("a=mid:%s", m.Mid)
	}
	if m.Rejected() {
		return
	}
	for i := range m.Codecs {
		w.codec(&m.Codecs[i])
	}
	if m.Ptime > 0 {
		w.line("a=ptime:%d", m.Ptime)
	}
	if m.IsRTP() {
		w.line("a=%s", m.Direction)
	}
	w.transport(m)
	if m.SSRC != 0 {
		w.line("a=msid:%s %s", m.CName, m.Mid+m.Kind)
		w.line("a=ssrc:%d cname:%s", m.SSRC, m.CName)
	}
}

func (w *writer) codec(c *Codec) {
	w.line("a=rtpmap:%d %s", c.PT, c.rtpmap())
	if c.Fmtp != "" {
		w.line("a=fmtp:%d %s", c.PT, c.Fmtp)
	}
	for _, fb := range c.Feedback {
		w.line("a=rtcp-fb:%d %s", c.PT, fb)
	}
}

func (w *writer) transport(m *Media) {
	if m.RTCP != 0 {
		w.line("a=rtcp:%d", m.RTCP)
	}
	if m.Mux {
		w.line("a=rtcp-mux")
	}
	for _, c := range m.Crypto {
		w.line("a=crypto:%d %s inline:%s", c.Tag, c.Suite, c.Key)
	}
	if m.Ufrag == "" {
		return
	}
	w.line("a=ice-ufrag:%s", m.Ufrag)
	w.line("a=ice-pwd:%s", m.Pwd)
	w.line("a=fingerprint:%s", m.Fingerprint)
	w.line("a=setup:%s", m.Setup)
	for c := range strings.SplitSeq(m.Candidate, "\n") {
		if c != "" {
			w.line("a=candidate:%s", c)
		}
	}
	w.line("a=end-of-candidates")
}
