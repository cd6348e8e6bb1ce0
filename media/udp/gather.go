package udp

import "time"

// gather decides when a Poller lets datagrams gather instead of being woken for each: when so many come that a nap finds several (ADR 13). To wake up, and to
// begin with cold caches, costs as much as passing a packet on. What is thin is never held up.
type gather struct {
	on    bool
	since time.Time // when this look at the rate began
	came  int       // datagrams since then
	rate  float64   // datagrams a second, at the last look
}

// next says whether datagrams should gather. They should not if fewer come because of it: their senders wait for answers.
func (g *gather) next(now time.Time) bool {
	span := now.Sub(g.since)
	switch {
	case span < 0: // a pause
		g.came = 0
		return false
	case span < gatherLook:
		return g.on
	}
	was, before, rate := g.on, g.rate, float64(g.came)/span.Seconds()
	*g = gather{on: rate*gatherTime.Seconds() >= gatherWorth && (!was || rate > before/2), since: now, rate: rate}
	if was && !g.on {
		g.since = now.Add(gatherPause)
	}
	return g.on
}
