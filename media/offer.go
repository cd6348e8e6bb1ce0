package media

import (
	"signalbox/internal/wire"
	"signalbox/media/sdp"
)

// Offer turns an offer of one leg into one for another. An error is the response that the offerer gets: 488 if nothing is left that both could have
// (RFC 3264, 6; RFC 3261, 13.3.1.3).
func (b *Bridge) Offer(from, to int, body []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.offer(from, to, body)
}

func (b *Bridge) offer(from, to int, body []byte) ([]byte, error) {
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
		f.name(line, m.Mid)
	}
	if b.up || f.offered != string(body) || f.offered == "" { // the branches of a fork get one offer; later the same words are a new one
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
		out := sdp.Media{Kind: b.kinds[line], Proto: t.protocol(b.kinds[line]), Mid: t.mid(line)}
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
	out.Codecs, out.Direction, out.Ptime = l.assign(line, codecs), offered.Direction, offered.Ptime
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
