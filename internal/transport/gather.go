package transport

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gather decides when a reader lets datagrams gather instead of being woken for each: when so many come that a nap finds several, as a network card does that holds
// its interrupts back. To wake up, and to begin with cold caches, costs more than to handle a message (docs/adr/0013-gathering.md).
type gather struct {
	on     bool
	since  time.Time // when this look at the rate began
	came   int       // datagrams since then
	misses int       // naps in a row that were not worth it
}

// rest is what a reader does when the socket is empty after a batch of n: true says, look again; false, wait in the poller. Where there is one core, others need it
// meanwhile.
func (s *udpSocket) rest(n int) bool {
	was := s.gather.on
	on := s.gather.next(n, time.Now) && !s.l.t.closed.Load() && runtime.GOMAXPROCS(0) > 1
	s.gather.on = on
	switch {
	case on && !was:
		s.fd.watchFor(0) // the poller's thread should sleep, too
	case was && !on:
		s.fd.watchFor(arrivals)
		return true // what came before this does not wake us
	}
	if on {
		nap(gatherTime)
	}
	return on
}

// next takes note of n datagrams and says whether the next ones should gather.
func (g *gather) next(n int, now func() time.Time) bool {
	if g.on {
		if g.misses++; n >= gatherWorth {
			g.misses = 0
		}
		if g.on = g.misses < gatherMisses; !g.on {
			*g = gather{since: now().Add(gatherPause)}
		}
		return g.on
	}
	at := now()
	span := at.Sub(g.since)
	if span < 0 {
		return false // the pause
	}
	if g.came += n; span < gatherLook {
		return false
	}
	g.on = float64(g.came)*gatherTime.Seconds() >= gatherWorth*span.Seconds()
	g.since, g.came, g.misses = at, 0, 0
	return g.on
}

// nap sleeps without telling the scheduler, which would wake others to look for work (ADR 4). A signal, by which the garbage collector calls, ends it.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}
