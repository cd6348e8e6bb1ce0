package transport

import (
	"runtime"
	"time"

	"signalbox/internal/nap"
)

// gather decides when a reader lets datagrams gather instead of being woken for each: when so many come that a nap finds several, as a network card does that holds
// its interrupts back. To wake up, and to begin with cold caches, costs more than to handle a message (docs/adr/0013-gathering.md).
type gather struct {
	on    bool
	since time.Time     // when this look at the rate began
	came  int           // datagrams since then
	naps  int           // since then
	rate  float64       // datagrams a second, at the last look
	time  time.Duration // of a nap, at this rate
}

// rest is what a reader does when the socket is empty: true says, look again; false, wait in the poller. Where there is one core, others need it meanwhile.
func (s *udpSocket) rest() bool {
	was := s.gather.on
	on := s.gather.next(time.Now) && !s.l.t.closed.Load() && runtime.GOMAXPROCS(0) > 1
	s.gather.on = on
	switch {
	case on && !was:
		s.fd.watchFor(0) // the poller's thread should sleep, too
	case was && !on:
		s.fd.watchFor(arrivals)
		return true // what came before this does not wake us
	}
	if on {
		nap.Sleep(s.gather.time)
	}
	return on
}

// next says whether datagrams should gather. They should not if fewer come because of it: their senders wait for answers, and would be held up by each nap.
func (g *gather) next(now func() time.Time) bool {
	if g.on {
		if g.naps++; time.Duration(g.naps)*g.time < gatherLook {
			return true
		}
	}
	at := now()
	span := at.Sub(g.since)
	if span < 0 { // the pause
		g.came = 0
		return false
	}
	if !g.on && span < gatherLook {
		return false
	}
	was, before, rate := g.on, g.rate, float64(g.came)/span.Seconds()
	*g = gather{
		on:    rate*gatherTime.Seconds() >= gatherWorth && (!was || rate > before/2),
		since: at,
		rate:  rate,
		time:  gatherTime,
	}
	if enough := gatherEnough / rate; enough < gatherTime.Seconds() {
		g.time = max(time.Duration(enough*float64(time.Second)), gatherShort)
	}
	if was && !g.on {
		g.since = at.Add(gatherPause)
	}
	return g.on
}
