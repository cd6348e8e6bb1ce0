package media

import (
	"slices"

	"signalbox/internal/wire"
	"signalbox/media/sdp"
)

// Answer turns an answer of one leg into one for the leg that offered. The first answer to an offer stays: whatever other branches say later, the
// offerer is told the same again, since a browser takes one answer only; behind it the bridge follows. RFC 3261, 13.2.2.4; RFC 3264, 6
func (b *Bridge) Answer(from, to int, body []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, f, err := b.pair(from, to)
	if err != nil {
		return nil, err
	}
	x := a.pending
	if x == nil || x.from != f {
		return nil, wire.Errorf(488, "", "media: an answer without an offer")
	}
	s, err := sdp.Parse(body)
	if err != nil {
		return nil, wire.Errorf(502, "Bad Session Description", "media: %w", err)
	}
	if a.browser != nil && !s.Browser() {
		return nil, wire.Errorf(488, "", "media: a browser answered without ICE and DTLS")
	}
	matches, err := b.match(x, a, f, s)
	if err != nil {
		return nil, err
	}
	a.join = func() { b.join(f, a, matches) }
	if callee := max(from, to); b.focus == 0 || b.focus == callee {
		b.focus = callee
		a.join()
	}
	a.late = nil
	switch {
	case f.answer == nil || f.asks != x.number:
		f.answer, f.told = b.reply(x, f, matches).Append(nil), promised(matches)
	case !suits(f.told, matches):
		a.late = slices.Clone(body)
	}
	return f.answer, nil
}

// match is what both sides have of one line.
type match struct {
	line              int
	offered, answered sdp.Media
	pairs             []sdp.Pair
	from, by          *stream // of the offerer, of the answerer
}

// match compares an answer with what was offered and takes over both sides' transports.
func (b *Bridge) match(x *exchange, a, f *leg, s *sdp.Session) ([]match, error) {
	var list []match
	for i, line := range a.order {
		if i >= len(s.Media) || i >= len(x.sent) || x.sent[i].Rejected() || s.Media[i].Rejected() {
			continue
		}
		m := match{line: line, offered: x.media[line], answered: s.Media[i]}
		if err := a.trusts(&m.answered); err != nil {
			return nil, err
		}
		if x.sent[i].Secure() != m.answered.Secure() { // hardening 68
			return nil, wire.Errorf(488, "", "media: %s was answered with %s", x.sent[i].Proto, m.answered.Proto)
		}
		if m.pairs = sdp.Common(x.sent[i].Codecs, m.answered.Codecs); len(m.pairs) == 0 {
			continue
		}
		for k := range m.pairs {
			m.pairs[k].Offered.PT = x.original(line, i, m.pairs[k].Sent, a)
		}
		list = append(list, m)
	}
	if len(list) == 0 {
		return nil, wire.Errorf(488, "", "media: the answer takes nothing of the offer")
	}
	for i := range list {
		m := &list[i]
		var err error
		if m.from, err = f.stream(m.line, m.offered.Kind); err != nil {
			return nil, err
		}
		if m.by, err = a.stream(m.line, m.offered.Kind); err != nil {
			return nil, err
		}
		if err := f.apply(m.from, &m.offered, m.pairs[0].Offered.Clock); err != nil {
			return nil, err
		}
		if err := a.apply(m.by, &m.answered, m.pairs[0].Answered.Clock); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// join publishes the routes between two legs. What neither of them has any more goes nowhere.
func (b *Bridge) join(f, a *leg, matches []match) {
	joined := map[*stream]bool{}
	for i := range matches {
		m := &matches[i]
		there, back := m.routes()
		if !m.offered.Direction.Sends() || !m.answered.Direction.Receives() {
			there = nil
		}
		if !m.offered.Direction.Receives() || !m.answered.Direction.Sends() {
			back = nil
		}
		m.by.source.Store(m.from)
		m.from.source.Store(m.by)
		m.from.route.Store(there)
		m.by.route.Store(back)
		joined[m.from], joined[m.by] = true, true
	}
	for _, l := range []*leg{f, a} {
		for _, s := range l.streams {
			if s != nil && !joined[s] {
				s.route.Store(nil)
				s.expected.Store(false)
			}
		}
	}
	for i, l := range b.legs { // another branch was heard before
		if l != nil && l != f && l != a && i > 0 {
			l.mute()
		}
	}
	f.sort(matches)
	a.sort(matches)
	for i := range matches {
		m := &matches[i]
		for _, p := range m.pairs {
			f.remember(m.line, p.Offered, p.Offered.PT)
			a.remember(m.line, p.Offered, p.Sent)
		}
	}
}

func (l *leg) mute() {
	for _, s := range l.streams {
		if s != nil {
			s.route.Store(nil)
		}
	}
}

// sort tells a browser's media apart by their payload types, which are unique in a bundle of ours. RFC 8843
func (l *leg) sort(matches []match) {
	if l.browser == nil {
		return
	}
	var table [128]*stream
	for i := range matches {
		m := &matches[i]
		for _, p := range m.pairs {
			if l == m.from.leg {
				table[p.Offered.PT] = m.from
			}
			if l == m.by.leg {
				table[p.Sent], table[p.Answered.PT] = m.by, m.by
			}
		}
	}
	l.browser.byPT.Store(&table)
}

// routes are the ways from the offerer to the answerer and back.
func (m *match) routes() (there, back *route) {
	there = newRoute(m.by, m.pairs[0].Offered.Clock)
	back = newRoute(m.from, m.pairs[0].Answered.Clock)
	for _, p := range m.pairs {
		there.pass(&p.Offered, &p.Answered, p.Offered.PT)
		back.pass(&p.Answered, &p.Offered, p.Sent) // the number we offered is the one to send to us. RFC 3264, 5.1
	}
	for _, p := range m.pairs {
		if back.pt[p.Answered.PT] == noPT {
			back.pass(&p.Answered, &p.Offered, p.Answered.PT)
		}
	}
	return there, back
}

func newRoute(to *stream, clock int) *route {
	r := &route{to: to, clock: clock, event: noPT}
	for i := range r.pt {
		r.pt[i] = noPT
	}
	return r
}

// pass lets a format through that comes in as pt.
func (r *route) pass(in, out *sdp.Codec, pt uint8) {
	r.pt[pt] = out.PT
	if in.Event() && in.Clock != out.Clock {
		r.event, r.scale = pt, [2]int{in.Clock, out.Clock}
	}
}

// reply writes the answer for the leg that offered. RFC 3264, 6
func (b *Bridge) reply(x *exchange, f *leg, matches []match) *sdp.Session {
	list := make([]sdp.Media, 0, len(f.order))
	for _, line := range f.order {
		o := &x.media[line]
		out := sdp.Media{Kind: o.Kind, Proto: o.Proto, Mid: o.Mid, Formats: o.Formats}
		if len(o.Codecs) > 0 {
			out.Codecs = o.Codecs[:1] // of a medium that is turned down: it says nothing
		}
		for i := range matches {
			if matches[i].line == line {
				f.reply(&out, &matches[i])
			}
		}
		list = append(list, out)
	}
	s := f.describe(list)
	s.Bundle = intersect(s.Bundle, x.bundle)
	return s
}

// intersect keeps of the first list what the second has too. RFC 8843
func intersect(list, with []string) (both []string) {
	for _, s := range list {
		for _, w := range with {
			if s == w {
				both = append(both, s)
			}
		}
	}
	return both
}

// reply fills in one medium of an answer.
func (l *leg) reply(out *sdp.Media, m *match) {
	out.Codecs = nil
	for _, p := range m.pairs {
		c := p.Offered
		c.Feedback = nil
		if !c.Event() {
			c.Fmtp = p.Answered.Fmtp
		}
		out.Codecs = append(out.Codecs, c)
	}
	if m.offered.Kind == "video" {
		for i := range out.Codecs {
			for _, fb := range sdp.KeyframeFeedback() {
				if m.offered.Asks(fb) {
					out.Codecs[i].Feedback = append(out.Codecs[i].Feedback, fb)
				}
			}
		}
	}
	out.Direction, out.Ptime = m.answered.Direction, m.answered.Ptime
	l.answerTransport(out, &m.offered, m.from)
}

// answerTransport writes our transport into an answer.
func (l *leg) answerTransport(out, offered *sdp.Media, s *stream) {
	setup := "passive"
	if offered.Setup == "passive" {
		setup = "active"
	}
	l.place(out, s, setup)
	if l.browser != nil {
		return
	}
	if offered.Mux { // RFC 5761, 5.1.1
		out.Mux, out.RTCP = true, 0
	}
	if c, ok := accepted(offered.Crypto); ok && l.side.secure() {
		out.Crypto = []sdp.Crypto{{Tag: c.Tag, Suite: c.Suite, Key: l.localKey(c.Suite)}}
	}
}

// trusts refuses keys that everybody could read, and the way back from SRTP to RTP. RFC 4568, 8; hardening 68
func (l *leg) trusts(m *sdp.Media) error {
	if l.browser != nil || m.Rejected() || !m.IsRTP() {
		return nil
	}
	_, ok := accepted(m.Crypto)
	switch {
	case m.Secure() && !l.side.secure():
		return wire.Errorf(488, "SRTP Needs TLS", "media: SRTP keys over signalling that is not encrypted")
	case m.Secure() && !ok:
		return wire.Errorf(488, "", "media: no crypto suite in common")
	case l.srtp && !ok:
		return wire.Errorf(488, "", "media: from SRTP back to RTP")
	}
	return nil
}
