package media

import (
	"sync"
	"time"

	"signalbox/internal/wire"
	"signalbox/media/sdp"
)

// Echo is the media of a call that ends here: what the caller sends comes back. It is safe for concurrent use.
type Echo struct {
	e     *Engine
	ended func(why string)

	mu     sync.Mutex
	leg    *leg
	closed bool
	told   sync.Once
}

// NewEcho makes the media of one call. ended is as in NewBridge.
func (e *Engine) NewEcho(caller Side, ended func(why string)) *Echo {
	echo := &Echo{e: e, ended: ended}
	echo.leg = e.newLeg(caller, &echo.mu, echo.end)
	e.add(echo)
	return echo
}

func (echo *Echo) end(why string) {
	echo.told.Do(func() { go echo.ended(why) })
}

// Answer answers an offer of the caller, the first or a later one. RFC 3264, 6
func (echo *Echo) Answer(body []byte) ([]byte, error) {
	echo.mu.Lock()
	defer echo.mu.Unlock()
	l := echo.leg
	if echo.closed {
		return nil, wire.Errorf(481, "", "media: the echo has ended")
	}
	s, err := sdp.Parse(body)
	if err != nil {
		return nil, wire.Errorf(400, "Bad Session Description", "media: %w", err)
	}
	if err := l.settle(s.Browser()); err != nil {
		return nil, err
	}
	if len(s.Media) < len(l.order) {
		return nil, wire.Errorf(488, "", "media: the offer has fewer media than the one before")
	}
	if l.browser != nil {
		l.browser.restart(firstUfrag(s))
	}
	var table [128]*stream
	list := make([]sdp.Media, len(s.Media))
	alive := false
	for i := range s.Media {
		if i == len(l.order) {
			l.order = append(l.order, i)
		}
		if err := echo.answer(&list[i], &s.Media[i], i, &table); err != nil {
			return nil, err
		}
		alive = alive || !list[i].Rejected()
	}
	if !alive {
		return nil, wire.Errorf(488, "", "media: nothing to echo")
	}
	if l.browser != nil {
		l.browser.byPT.Store(&table)
	}
	d := l.describe(list)
	d.Bundle = intersect(d.Bundle, s.Bundle)
	return d.Append(nil), nil
}

// answer takes one medium and sends it back to where it came from.
func (echo *Echo) answer(out, offered *sdp.Media, line int, table *[128]*stream) error {
	l := echo.leg
	*out = sdp.Media{Kind: offered.Kind, Proto: offered.Proto, Mid: offered.Mid, Formats: offered.Formats}
	if len(offered.Codecs) > 0 {
		out.Codecs = offered.Codecs[:1]
	}
	codecs := carried(offered, l)
	if len(codecs) == 0 {
		return nil
	}
	if err := l.trusts(offered); err != nil {
		return err
	}
	pairs := sdp.Common(codecs, codecs)
	s, err := l.stream(line, offered.Kind)
	if err != nil {
		return err
	}
	m := match{line: line, offered: *offered, answered: *offered, pairs: pairs, from: s, by: s}
	m.answered.Direction = mirror(offered.Direction)
	if err := l.apply(s, offered, pairs[0].Offered.Clock); err != nil {
		return err
	}
	l.reply(out, &m)
	back, _ := m.routes()
	if offered.Direction != sdp.SendRecv {
		back = nil
	}
	s.source.Store(s)
	s.route.Store(back)
	for _, p := range pairs {
		table[p.Offered.PT] = s
	}
	return nil
}

// mirror is the answer to a direction: all of it. RFC 3264, 6.1
func mirror(d sdp.Direction) sdp.Direction {
	switch d {
	case sdp.SendOnly:
		return sdp.RecvOnly
	case sdp.RecvOnly:
		return sdp.SendOnly
	}
	return d
}

// Close ends the media. It may be called twice.
func (echo *Echo) Close() {
	echo.told.Do(func() {})
	echo.mu.Lock()
	if echo.closed {
		echo.mu.Unlock()
		return
	}
	echo.closed = true
	echo.leg.bye()
	echo.leg.close()
	echo.mu.Unlock()
	echo.e.remove(echo)
}

func (echo *Echo) tick(now time.Duration) {
	echo.mu.Lock()
	defer echo.mu.Unlock()
	if echo.closed {
		return
	}
	echo.leg.tick(now)
	if !echo.leg.alive(now) {
		if report := echo.e.config.Metrics.Silent; report != nil {
			report()
		}
		echo.end("the caller has fallen silent")
	}
}
