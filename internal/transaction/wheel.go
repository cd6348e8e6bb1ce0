package transaction

import (
	"math"
	"math/bits"
	"sync"
	"time"
)

// Timer is one place on the wheel. Its methods are called as its owner only.
type Timer struct {
	owner *Owner
	to    expirer
	due   tick
	seq   uint32 // changes with every start and stop, so that a turn already posted to the owner is known to be over
	armed bool   // as the owner sees it: started, and neither stopped nor run

	linked     bool // the rest belongs to the wheel's lock
	next, prev *Timer
}

type expirer interface{ expire() }

// Stop forgets the timer. It may be called on nil, twice, and after it ran.
func (t *Timer) Stop() {
	if t != nil && t.armed {
		t.owner.layer.wheel.stop(t)
	}
}

// start (re-)starts the timer for an absolute tick.
func (t *Timer) start(due tick) { t.owner.layer.wheel.start(t, due) }

// receive is the wheel's event.
func (t *Timer) receive(ev event) {
	if !t.armed || ev.seq != t.seq {
		return // stopped or re-started after the wheel had let go of it
	}
	t.armed = false
	t.to.expire()
}

// wheel is a hashed timing wheel: a slot of timers for each tick of one turn, one goroutine that sleeps until the next slot that is not empty.
type wheel struct {
	begin time.Time
	wake  chan struct{} // an earlier timer was started
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex
	fired  tick // every timer due up to here has left the wheel
	asleep tick // the goroutine sleeps until then
	slots  [wheelSlots]*Timer
	used   [wheelSlots / 64]uint64 // a bit for each slot that is not empty
}

const never = tick(math.MaxInt64)

func newWheel() *wheel {
	w := &wheel{begin: time.Now(), wake: make(chan struct{}, 1), done: make(chan struct{}), asleep: never}
	go w.turn()
	return w
}

func (w *wheel) close() { w.once.Do(func() { close(w.done) }) }

// in is the tick d from now, rounded up.
func (w *wheel) in(d time.Duration) tick { return ticks(time.Since(w.begin) + d) }

// leisurely is in, or up to leisure later: for transactions that are only to be forgotten. So those of half a second go together, and the wheel sleeps between them.
func (w *wheel) leisurely(d time.Duration) tick { return (w.in(d) + leisure - 1) / leisure * leisure }

// behind is how late the next timer already is: under load the wheel's goroutine waits for the processor as all others do.
func (w *wheel) behind() time.Duration {
	w.mu.Lock()
	due := w.asleep
	w.mu.Unlock()
	if due == never {
		return 0
	}
	return max(0, time.Since(w.begin)-time.Duration(due)*granularity)
}

func (w *wheel) start(t *Timer, due tick) {
	w.mu.Lock()
	if t.linked {
		w.unlink(t)
	}
	t.due, t.armed = max(due, w.fired+1), true
	t.seq++
	w.link(t)
	sooner := t.due < w.asleep
	if sooner {
		w.asleep = t.due // one signal is enough
	}
	w.mu.Unlock()
	if sooner {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *wheel) stop(t *Timer) {
	w.mu.Lock()
	if t.linked {
		w.unlink(t)
	}
	t.armed = false
	t.seq++
	w.mu.Unlock()
}

// link puts t behind the others of its slot: timers of one tick run in the order they were started.
func (w *wheel) link(t *Timer) {
	i := t.due % wheelSlots
	t.linked = true
	if first := w.slots[i]; first != nil {
		t.prev, t.next = first.prev, first
		t.prev.next, first.prev = t, t
		return
	}
	t.prev, t.next = t, t
	w.slots[i] = t
	w.used[i/64] |= 1 << (i % 64)
}

func (w *wheel) unlink(t *Timer) {
	i := t.due % wheelSlots
	if t.next == t {
		w.slots[i] = nil
		w.used[i/64] &^= 1 << (i % 64)
	} else {
		t.prev.next, t.next.prev = t.next, t.prev
		if w.slots[i] == t {
			w.slots[i] = t.next
		}
	}
	t.linked, t.prev, t.next = false, nil, nil
}

// turn is the wheel's goroutine.
func (w *wheel) turn() {
	sleep := time.NewTimer(time.Hour)
	defer sleep.Stop()
	batch := make([]turned, 0, fireBatch)
	for {
		var next tick
		batch, next = w.due(batch[:0], tick(time.Since(w.begin)/granularity))
		for i := range batch {
			batch[i].timer.owner.post(event{to: batch[i].timer, seq: batch[i].seq})
		}
		clear(batch)
		if len(batch) == fireBatch {
			continue // there may be more
		}
		sleep.Stop()
		if next != never {
			sleep.Reset(time.Duration(next)*granularity - time.Since(w.begin))
		}
		select {
		case <-sleep.C:
		case <-w.wake:
		case <-w.done:
			return
		}
	}
}

// turned is a timer that has left the wheel, and which of its turns it was.
type turned struct {
	timer *Timer
	seq   uint32
}

// due takes at most fireBatch timers that are due by now off the wheel and tells when to look again.
func (w *wheel) due(batch []turned, now tick) ([]turned, tick) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from := max(w.fired, now-wheelSlots) // one turn visits every slot
	for at := w.nextUsed(from); at <= now; at = w.nextUsed(at) {
		batch = w.take(batch, at, now)
		if len(batch) == fireBatch {
			return batch, now
		}
		w.fired = at
	}
	w.fired = max(w.fired, now)
	w.asleep = w.nextUsed(w.fired)
	return batch, w.asleep
}

// take moves what is due by now from one slot to the batch, as far as there is room.
func (w *wheel) take(batch []turned, at, now tick) []turned {
	t := w.slots[at%wheelSlots]
	last := t.prev
	for len(batch) < fireBatch {
		following, end := t.next, t == last
		if t.due <= now { // else it is for a later turn
			w.unlink(t)
			batch = append(batch, turned{t, t.seq})
		}
		if end {
			break
		}
		t = following
	}
	return batch
}

// nextUsed is the first tick after at whose slot is not empty: its timers may be of a later turn.
func (w *wheel) nextUsed(at tick) tick {
	first := (at + 1) % wheelSlots
	for n := tick(0); n <= wheelSlots/64; n++ {
		i := (first/64 + n) % (wheelSlots / 64)
		word := w.used[i]
		if n == 0 {
			word &= ^uint64(0) << (first % 64)
		}
		if word == 0 {
			continue
		}
		slot := i*64 + tick(bits.TrailingZeros64(word))
		return at + 1 + (slot-first+wheelSlots)%wheelSlots
	}
	return never
}
