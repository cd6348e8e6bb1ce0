package transaction

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// Every timer runs once, at its time rounded up to 10 ms, whatever else is started, stopped and re-started; also those of more than one turn.
func TestWheel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		defer l.Close()
		begin := time.Now()
		r := rand.New(rand.NewPCG(1, 2))
		type entry struct {
			timer *Timer
			due   time.Duration // 0: must not run
		}
		entries := make([]entry, 5000)
		ran := 0
		o := l.NewOwner()
		for i := range entries {
			d, other := time.Duration(r.IntN(200_000))*time.Millisecond, r.IntN(i+1) // here: the wheel may be the one that runs what follows
			o.Do(func() {
				if i%10 == 0 {
					d = 30 * time.Second // many at once
				}
				e := &entries[i]
				e.due = max(time.Since(begin)+d, granularity)
				e.due = (e.due + granularity - 1) / granularity * granularity
				e.timer = o.After(d, func() {
					ran++
					if now := time.Since(begin); now != e.due {
						t.Errorf("timer %d ran at %v, due %v", i, now, e.due)
					}
					e.due = 0
				})
				if old := &entries[other]; i%3 == 0 && old != e {
					old.timer.Stop()
					old.due = 0
				}
			})
			time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for i := range entries {
			if entries[i].due != 0 {
				t.Errorf("timer %d, due %v, did not run", i, entries[i].due)
			}
		}
		if ran < 3000 {
			t.Errorf("%d timers ran", ran)
		}
		for i, t1 := range l.wheel.slots {
			if t1 != nil || l.wheel.used[i/64]>>(i%64)&1 != 0 {
				t.Errorf("slot %d is not empty", i)
			}
		}
	})
}

// Timers of one tick run in the order they were started, more than a batch of them too.
func TestWheelOrder(t *testing.T) {
	play(t, func(s *stage) {
		o := s.layer.NewOwner()
		next := 0
		for i := range 3*fireBatch + 1 {
			o.After(time.Second, func() {
				if i != next {
					t.Errorf("timer %d ran as number %d", i, next)
				}
				next++
			})
		}
		s.at(1)
		if next != 3*fireBatch+1 {
			t.Errorf("%d timers ran", next)
		}
	})
}

// A timer may start others while the wheel turns; a time that is over is the next tick.
func TestWheelWithin(t *testing.T) {
	play(t, func(s *stage) {
		o := s.layer.NewOwner()
		o.After(time.Minute, func() {
			s.note("first")
			o.After(0, func() { s.note("at once") })
			o.After(15*time.Millisecond, func() { s.note("rounded up") })
		})
		s.at(100)
		s.want(`60.000 first
			60.010 at once
			60.020 rounded up`)
	})
}

// What is only forgotten is never forgotten early, and goes with all else of its half second: the wheel wakes for them together.
func TestWheelLeisurely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		defer w.close()
		together := map[tick]int{}
		for range 200 {
			due := w.leisurely(timerJ)
			if early := due - w.in(timerJ); early < 0 || early >= leisure {
				t.Fatalf("%d ticks after the time", early)
			}
			together[due]++
			time.Sleep(5 * time.Millisecond)
		}
		if len(together) > 3 {
			t.Errorf("the transactions of a second go at %d times", len(together))
		}
	})
}

// A closed wheel runs nothing more.
func TestWheelClose(t *testing.T) {
	play(t, func(s *stage) {
		s.layer.NewOwner().After(time.Second, func() { t.Error("ran") })
		s.layer.Close()
		s.layer.Close()
		s.at(2)
	})
}

func BenchmarkTimer(b *testing.B) {
	l := New(Config{})
	defer l.Close()
	tm := &Timer{owner: l.NewOwner(), to: call(func() {})}
	b.ReportAllocs()
	for b.Loop() {
		tm.start(l.wheel.in(timerF))
		tm.Stop()
	}
}
