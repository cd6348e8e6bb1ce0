package media

import (
	"strconv"
	"sync"
	"time"

	"signalbox/internal/wire"
	"signalbox/media/sdp"
)

// Bridge is the media of one call: the caller, leg 0, and a leg for each branch that was tried for it. It is safe for concurrent use.
type Bridge struct {
	e     *Engine
	ended func(why string)
	began time.Duration

	mu     sync.Mutex
	legs   []*leg // nil: dropped
	kinds  []string
	focus  int  // the branch that the caller hears; 0 as long as there is none
	up     bool // the call is answered
	closed bool
	told   sync.Once
}

// NewBridge makes the bridge of a call. ended is called once at most, on any goroutine, when a side has fallen silent for good or cannot be trusted: the
// call is to be ended then. The owner calls Close in any case.
func (e *Engine) NewBridge(caller Side, ended func(why string)) *Bridge {
	b := &Bridge{e: e, ended: ended, began: e.now()}
	b.legs = append(b.legs, e.newLeg(caller, &b.mu, b.end))
	e.add(b)
	return b
}

// end tells the owner, off the lock.
func (b *Bridge) end(why string) {
	b.told.Do(func() {
		if b.ended != nil {
			go b.ended(why)
		}
	})
}

// Branch adds a leg for one branch and returns its number.
func (b *Bridge) Branch(callee Side) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.legs) == maxLegs {
		return 0, wire.Errorf(503, "", "media: no leg for another branch")
	}
	b.legs = append(b.legs, b.e.newLeg(callee, &b.mu, b.end))
	return len(b.legs) - 1, nil
}

// pair finds two legs that are alive.
func (b *Bridge) pair(from, to int) (f, t *leg, err error) {
	if b.closed || from >= len(b.legs) || to >= len(b.legs) || b.legs[from] == nil || b.legs[to] == nil {
		return nil, nil, wire.Errorf(500, "", "media: offer or answer on a leg that is gone")
	}
	return b.legs[from], b.legs[to], nil
}

// Offer turns an offer of one leg into one for another. An error is the response that the offerer gets: 488 if nothing is left that both could have
// (RFC 3264, 6; RFC 3261, 13.3.1.3).
func (b *Bridge) Offer(from, to int, body []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, t, err := b.pair(from, to)
	if err != nil {
		return nil, err
	}
	x, err := b.hear(f, body)
	if err != nil {
		return nil, err
	}
	if err := t.settle(t.side.Kind == Browser); err != nil {
		return nil, err
	}
	if x.sent, err = b.propose(x, t); err != nil {
		return nil, err
	}
	t.pending = x
	return t.describe(x.sent).Append(nil), nil
}

// hear reads an offer and gives its media their lines.
func (b *Bridge) hear(f *leg, body []byte) (*exchange, error) {
	s, err := sdp.Parse(body)
	if err != nil {
		return nil, wire.Errorf(400, "Bad Session Description", "media: %w", err)
	}
	if err := f.settle(s.Browser()); err != nil {
		return nil, err
	}
	if len(s.Media) < len(f.order) { // RFC 3264, 8
		return nil, wire.Errorf(488, "", "media: the offer has fewer media than the one before")
	}
	x := &exchange{from: f}
	for i := range s.Media {
		m := &s.Media[i]
		if err := f.trusts(m); err != nil {
			return nil, err
		}
		line := f.line(i)
		if line < 0 {
			line = len(b.kinds)
			b.kinds = append(b.kinds, m.Kind)
			f.order = append(f.order, line)
		}
		for len(x.media) <= line {
			x.media = append(x.media, sdp.Media{Kind: b.kinds[len(x.media)]})
		}
		x.media[line] = *m
	}
	if f.offered != string(body) || f.offered == "" {
		f.offered, f.answer = string(body), nil
		f.asks++
		if f.browser != nil {
			f.browser.restart(firstUfrag(s))
		}
	}
	x.number, x.bundle = f.asks, s.Bundle
	return x, nil
}

func firstUfrag(s *sdp.Session) string {
	for i := range s.Media {
		if u := s.Media[i].Ufrag; u != "" {
			return u
		}
	}
	return ""
}

// propose writes the media of an offer for another leg, in the order that its descriptions have: no medium ever leaves its place (RFC 3264, 8).
func (b *Bridge) propose(x *exchange, t *leg) ([]sdp.Media, error) {
	for line := range x.media {
		if t.position(line) < 0 && len(carried(&x.media[line], t)) > 0 {
			t.order = append(t.order, line)
		}
	}
	alive := false
	list := make([]sdp.Media, 0, len(t.order))
	for _, line := range t.order {
		out := sdp.Media{Kind: b.kinds[line], Proto: t.protocol(b.kinds[line])}
		if t.browser != nil {
			out.Mid = strconv.Itoa(line)
		}
		if line < len(x.media) {
			if err := t.propose(&out, &x.media[line], line); err != nil {
				return nil, err
			}
			alive = alive || !out.Rejected()
		}
		list = append(list, out)
	}
	if !alive {
		return nil, wire.Errorf(488, "", "media: nothing that the other side could have")
	}
	return list, nil
}

// carried are the formats of a medium that can be taken to a leg.
func carried(m *sdp.Media, to *leg) []sdp.Codec {
	if m.Rejected() || !m.IsRTP() || m.Kind != "audio" && m.Kind != "video" {
		return nil
	}
	return sdp.Carried(m.Codecs, to.browser != nil)
}

// propose fills in one medium.
func (l *leg) propose(out, offered *sdp.Media, line int) error {
	codecs := carried(offered, l)
	if len(codecs) == 0 {
		return nil
	}
	s, err := l.stream(line, offered.Kind)
	if err != nil {
		return err
	}
	out.Codecs, out.Direction, out.Ptime = codecs, offered.Direction, offered.Ptime
	if offered.Kind == "video" {
		askForPictures(out.Codecs)
	}
	l.place(out, s, "actpass") // RFC 8842, 5.2
	if l.browser == nil && l.side.secure() {
		out.Crypto = []sdp.Crypto{{Tag: 1, Suite: offeredSuite, Key: l.localKey(offeredSuite)}}
	}
	return nil
}

func askForPictures(codecs []sdp.Codec) {
	for i := range codecs {
		codecs[i].Feedback = sdp.KeyframeFeedback()
	}
}

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
	if f.answer == nil || f.asks != x.number {
		f.answer = b.reply(x, f, matches).Append(nil)
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
				table[p.Offered.PT], table[p.Answered.PT] = m.by, m.by
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
		back.pass(&p.Answered, &p.Offered, p.Offered.PT) // the number we offered is the one to send to us. RFC 3264, 5.1
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

// Standing is the answer that a leg was given to its last offer, nil if none: a final response may leave it out, but a browser wants to see it.
func (b *Bridge) Standing(leg int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if leg >= len(b.legs) || b.legs[leg] == nil {
		return nil
	}
	return b.legs[leg].answer
}

// Choose says that a branch has answered the call: from now on silence counts, and the caller hears that branch.
func (b *Bridge) Choose(branch int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.up || branch <= 0 || branch >= len(b.legs) || b.legs[branch] == nil {
		return
	}
	b.up = true
	if b.focus != branch {
		b.focus = branch
		if join := b.legs[branch].join; join != nil {
			join()
		}
	}
	now := int64(b.e.now())
	for _, l := range []*leg{b.legs[0], b.legs[branch]} {
		if l.browser != nil {
			l.browser.heard.Store(now)
		}
		for _, s := range l.streams {
			if s != nil {
				s.heard.Store(now)
			}
		}
	}
}

// Drop gives back what a branch had that has failed or lost.
func (b *Bridge) Drop(branch int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if branch <= 0 || branch >= len(b.legs) || b.legs[branch] == nil {
		return
	}
	b.legs[branch].close()
	b.legs[branch] = nil
	if b.focus == branch {
		b.focus = 0
	}
}

// Close ends the media of the call and gives everything back. It may be called twice.
func (b *Bridge) Close() {
	b.told.Do(func() {})
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	for _, l := range b.legs {
		if l != nil {
			l.bye()
			l.close()
		}
	}
	b.legs = nil
	b.mu.Unlock()
	b.e.remove(b)
}

// tick is the clock: reports, pictures, silence.
func (b *Bridge) tick(now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, l := range b.legs {
		if l == nil {
			continue
		}
		l.tick(now)
		if b.up && (i == 0 || i == b.focus) && !l.alive(now) {
			b.silent("one side has fallen silent")
		}
	}
	if !b.up && now-b.began > earlyTimeout {
		b.silent("nobody answered")
	}
}

func (b *Bridge) silent(why string) {
	b.told.Do(func() {
		if report := b.e.config.Metrics.Silent; report != nil {
			report()
		}
		if b.ended != nil {
			go b.ended(why)
		}
	})
}
