package location

import "time"

// clock is a wall clock that nobody can set: the wall clock at the start plus the monotonic time since. Setting the machine's clock by hours
// or years neither ends nor prolongs a binding. Its unit is the millisecond since 1970.
type clock struct {
	base   time.Time // whole milliseconds, with monotonic reading
	baseMS int64
}

func newClock() clock {
	now := time.Now()
	base := now.Add(-time.Duration(now.Nanosecond() % int(time.Millisecond)))
	return clock{base, base.UnixMilli()}
}

func (c clock) now() int64 { return c.baseMS + int64(time.Since(c.base)/time.Millisecond) }

// ms converts a time: by its monotonic reading if it has one, and so as if the wall clock had never been set.
func (c clock) ms(t time.Time) int64 { return c.baseMS + int64(t.Sub(c.base)/time.Millisecond) }

// time is the inverse of ms; the result has a monotonic reading.
func (c clock) time(ms int64) time.Time {
	return c.base.Add(time.Duration(ms-c.baseMS) * time.Millisecond)
}

// skew is by how many milliseconds the machine's clock has been set since the start: what must be added to our times before another process
// compares them with the wall clock.
func (c clock) skew() int64 {
	now := time.Now()
	skew := now.UnixMilli() - c.ms(now)
	if -minSkew < skew && skew < minSkew {
		return 0
	}
	return skew
}
