package media

import (
	"sync"

	"signalbox/media/relay"
)

// Traffic is what has passed through calls here: media that came from the peers, and media that was sent to them.
type Traffic struct {
	Received, Sent relay.Volume
}

// traffic is one that several goroutines add to.
type traffic struct {
	mu    sync.Mutex
	total Traffic
}

func (t *traffic) add(in, out relay.Volume) {
	t.mu.Lock()
	t.total.Received.Add(in)
	t.total.Sent.Add(out)
	t.mu.Unlock()
}

// Traffic sums up all calls, those that are over too. It never falls: a call that ends while it counts is missed once.
func (e *Engine) Traffic() Traffic {
	e.past.mu.Lock()
	now := e.past.total
	e.past.mu.Unlock()
	for _, s := range e.all() {
		s.traffic(&now)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range [][2]*relay.Volume{{&now.Received, &e.known.Received}, {&now.Sent, &e.known.Sent}} {
		v[1].Packets, v[1].Octets, v[1].Lost = max(v[0].Packets, v[1].Packets), max(v[0].Octets, v[1].Octets), max(v[0].Lost, v[1].Lost)
	}
	return e.known
}

func (b *Bridge) traffic(t *Traffic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.legs {
		if l != nil {
			l.traffic(t)
		}
	}
}

func (echo *Echo) traffic(t *Traffic) {
	echo.mu.Lock()
	defer echo.mu.Unlock()
	if !echo.closed {
		echo.leg.traffic(t)
	}
}

func (l *leg) traffic(t *Traffic) {
	for _, s := range l.streams {
		if s != nil {
			in, out := s.volume()
			t.Received.Add(in)
			t.Sent.Add(out)
		}
	}
}

// volume is what came in and what went out.
func (s *stream) volume() (in, out relay.Volume) {
	take(&s.reading)
	in = s.received.Volume()
	s.reading.Store(false)
	take(&s.writing)
	out = relay.Volume{Packets: s.sent.Packets, Octets: s.sent.Octets}
	s.writing.Store(false)
	return in, out
}
