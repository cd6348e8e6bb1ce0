package nap

import "time"

// Pace is how long datagrams may gather.
type Pace struct {
	Longest, Shortest time.Duration // naps
	Worth             float64       // how many datagrams the longest nap must find, or there is none
	Enough            float64       // how many are enough: naps are shorter when they come sooner
	Look              time.Duration // over how long the rate is taken
	Pause             time.Duration // without naps, after naps that did not find enough
}

// Gather decides when a reader lets datagrams gather instead of being woken for each: when so many come that a nap finds several, as a network card does that holds
// its interrupts back. To wake up, and to begin with cold caches, costs more than to handle a message (docs/adr/0013-gathering.md). It belongs to its reader alone.
type Gather struct {
	Pace Pace

	on    bool
	since time.Time     // when this look at the rate began
	came  int           // datagrams since then
	naps  int           // since then
	rate  float64       // datagrams a second, at the last look
	nap   time.Duration // at this rate
}

// Came counts n more datagrams.
func (g *Gather) Came(n int) { g.came += n }

// On tells whether datagrams gather.
func (g *Gather) On() bool { return g.on }

// Off ends it, as if the naps had not been worth while.
func (g *Gather) Off() { g.on = false }

// Nap sleeps for as long as is right at this rate.
func (g *Gather) Nap() { Sleep(g.nap) }

// Next looks at the rate from time to time, and says whether a nap should follow: then they are counted in place of asking for the time.
// There should be none if fewer datagrams come because of them: their senders wait for answers, and would be held up by each.
func (g *Gather) Next(now func() time.Time) bool {
	if g.on {
		if g.naps++; time.Duration(g.naps)*g.nap < g.Pace.Look {
			return true
		}
	}
	at := now()
	span := at.Sub(g.since)
	if span < 0 { // the pause
		g.came = 0
		return false
	}
	if !g.on && span < g.Pace.Look {
		return false
	}
	was, before := g.on, g.rate
	g.rate = float64(g.came) / span.Seconds()
	g.on = g.rate*g.Pace.Longest.Seconds() >= g.Pace.Worth && (!was || g.rate > before/2)
	g.since, g.came, g.naps, g.nap = at, 0, 0, g.Pace.Longest
	if enough := g.Pace.Enough / g.rate; enough < g.nap.Seconds() {
		g.nap = max(time.Duration(enough*float64(time.Second)), g.Pace.Shortest)
	}
	if was && !g.on {
		g.since = at.Add(g.Pace.Pause)
	}
	return g.on
}
