package transport

import (
	"runtime"
	"time"

	"signalbox/internal/nap"
)

// gatherPace is how long datagrams gather at most: nobody hears it in a call's set-up, and Timer A is sixty times longer. They do from 375 a second on. From 4,000 a second on
// naps are as long as 48 take to come, but not below what a nap takes anyway.
var gatherPace = nap.Pace{Longest: 12 * time.Millisecond, Shortest: time.Millisecond, Worth: 4.5, Enough: 48, Look: 64 * time.Millisecond, Pause: time.Second}

// gathers tells whether datagrams should gather, and sees to it that the poller's thread sleeps meanwhile, too. Where there is one core, others need it.
func (s *udpSocket) gathers() bool {
	was := s.gather.On()
	on := s.gather.Next(time.Now)
	if on && (s.l.t.closed.Load() || runtime.GOMAXPROCS(0) == 1) {
		s.gather.Off()
		on = false
	}
	switch {
	case on && !was:
		s.fd.watchFor(0)
	case was && !on:
		s.fd.watchFor(arrivals)
	}
	return on
}

// rest is what a reader does when the socket is empty: true says, look again; false, wait in the poller.
func (s *udpSocket) rest() bool {
	was := s.gather.On()
	if s.gathers() {
		s.gather.Nap()
		return true
	}
	return was // what came before the poller watched again does not wake us
}
