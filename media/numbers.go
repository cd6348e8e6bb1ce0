package media

import (
	"slices"
	"strconv"

	"signalbox/media/sdp"
)

// Each leg has its own names for what is in its descriptions, which do not change as long as the call lasts: a format keeps its number within its medium
// (RFC 3264, 8.3.2), a medium keeps its mid (RFC 8843). In a browser's bundle no number may stand for two formats, whereas phones begin
// with 96 in each of their media.

// number is a format's payload type in one medium of a leg.
type number struct {
	line  int
	pt    uint8
	codec sdp.Codec
}

const firstDynamic, lastDynamic = 35, 127 // RFC 3551, 6 leaves 35 to 63 unassigned; browsers use them

// remember notes the number of a format.
func (l *leg) remember(line int, c sdp.Codec, pt uint8) {
	if _, known := l.numbered(line, &c); known || pt < firstDynamic || len(l.numbers) == maxNumbers {
		return
	}
	l.numbers = append(l.numbers, number{line: line, pt: pt, codec: sdp.Codec{Name: c.Name, Clock: c.Clock, Channels: c.Channels, Fmtp: c.Fmtp}})
}

// numbered finds the number of a format that has one.
func (l *leg) numbered(line int, c *sdp.Codec) (pt uint8, ok bool) {
	for i := range l.numbers {
		if n := &l.numbers[i]; n.line == line && n.codec.Same(c) {
			return n.pt, true
		}
	}
	return 0, false
}

// assign gives the formats of an offer for this leg their numbers: those that they have, or had in the offer that came, unless something else has that one.
func (l *leg) assign(line int, codecs []sdp.Codec) []sdp.Codec {
	out := slices.Clone(codecs)
	given := make([]uint8, 0, len(out))
	for i := range out {
		c := &out[i]
		if c.PT < firstDynamic {
			continue
		}
		if pt, known := l.numbered(line, c); known && !slices.Contains(given, pt) {
			c.PT = pt
		} else if slices.Contains(given, c.PT) || l.taken(line, c.PT, c) {
			c.PT = l.free(line, c, given, out[i+1:])
		}
		given = append(given, c.PT)
		if l.browser != nil {
			l.remember(line, *c, c.PT) // the next medium of the bundle must have others
		}
	}
	return out
}

// taken: the number stands for another format in this medium or, in a bundle, in any.
func (l *leg) taken(line int, pt uint8, c *sdp.Codec) bool {
	for i := range l.numbers {
		if n := &l.numbers[i]; n.pt == pt && (n.line == line && !n.codec.Same(c) || n.line != line && l.browser != nil) {
			return true
		}
	}
	return false
}

// free finds a number that nothing has, nor wants in the rest of the offer.
func (l *leg) free(line int, c *sdp.Codec, given []uint8, rest []sdp.Codec) uint8 {
	wanted := func(pt uint8) bool {
		return slices.ContainsFunc(rest, func(o sdp.Codec) bool { return o.PT == pt })
	}
	for pt := uint8(lastDynamic); pt >= firstDynamic; pt-- {
		if !slices.Contains(given, pt) && !l.taken(line, pt, c) && !wanted(pt) {
			return pt
		}
	}
	return c.PT // nobody has that many
}

// original is the offerer's own number of a format that was sent to a leg as pt.
func (x *exchange) original(line, position int, pt uint8, to *leg) uint8 {
	sent := x.sent[position].Codecs
	i := slices.IndexFunc(sent, func(c sdp.Codec) bool { return c.PT == pt })
	if came := carried(&x.media[line], to); i >= 0 && i < len(came) {
		return came[i].PT
	}
	return pt
}

// name notes the mid that a browser has given to a medium.
func (l *leg) name(line int, mid string) {
	if l.browser == nil || mid == "" || mid == l.mid(line) || len(l.mids) > line {
		return
	}
	for len(l.mids) < line {
		l.mids = append(l.mids, strconv.Itoa(len(l.mids)))
	}
	l.mids = append(l.mids, mid)
}

// mid is how a medium is called in the descriptions of a browser.
func (l *leg) mid(line int) string {
	switch {
	case l.browser == nil:
		return ""
	case line < len(l.mids):
		return l.mids[line]
	}
	return strconv.Itoa(line)
}

// promise is what the answer to an offer says of one medium: the formats that its author may send, by its own numbers, the first one being what it will send.
type promise struct {
	line int
	pts  []uint8
}

func promised(matches []match) []promise {
	list := make([]promise, 0, len(matches))
	for i := range matches {
		p := promise{line: matches[i].line}
		for _, pair := range matches[i].pairs {
			if !pair.Offered.Event() {
				p.pts = append(p.pts, pair.Offered.PT)
			}
		}
		list = append(list, p)
	}
	return list
}

// suits tells whether two sides that were told different things understand each other nevertheless: each of them sends its first choice.
func suits(told []promise, matches []match) bool {
	for _, now := range promised(matches) {
		i := slices.IndexFunc(told, func(p promise) bool { return p.line == now.line })
		if i < 0 || !slices.Contains(now.pts, told[i].pts[0]) || !slices.Contains(told[i].pts, now.pts[0]) {
			return false
		}
	}
	return true
}
