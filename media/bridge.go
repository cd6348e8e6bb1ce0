package media

import (
	"sync"
	"time"

	"signalbox/internal/wire"
)

// Bridge is the media of one call: the caller, leg 0, and a leg for each branch that was tried for it. It is safe for concurrent use.
type Bridge struct {
	e     *Engine
	ended func(why string)
	began time.Duration

	mu     sync.Mutex
	legs   []*leg // nil: dropped
	kinds  []string
	focus  int  // the branch that the caller hears; 0 as long as there is none
	up     bool // the call is answered
	closed bool
	told   sync.Once
}

// NewBridge makes the bridge of a call. ended is called once at most, on any goroutine, when a side has fallen silent for good or cannot be trusted: the
// call is to be ended then. The owner calls Close in any case.
func (e *Engine) NewBridge(caller Side, ended func(why string)) *Bridge {
	b := &Bridge{e: e, ended: ended, began: e.now()}
	b.legs = append(b.legs, e.newLeg(caller, &b.mu, b.end))
	e.add(b)
	return b
}

// end tells the owner, off the lock.
func (b *Bridge) end(why string) {
	b.told.Do(func() {
		if b.ended != nil {
			go b.ended(why)
		}
	})
}

// Branch adds a leg for one branch and returns its number.
func (b *Bridge) Branch(callee Side) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.legs) == maxLegs {
		return 0, wire.Errorf(503, "", "media: no leg for another branch")
	}
	b.legs = append(b.legs, b.e.newLeg(callee, &b.mu, b.end))
	return len(b.legs) - 1, nil
}

// pair finds two legs that are alive.
func (b *Bridge) pair(from, to int) (f, t *leg, err error) {
	if b.closed || from >= len(b.legs) || to >= len(b.legs) || b.legs[from] == nil || b.legs[to] == nil {
		return nil, nil, wire.Errorf(500, "", "media: offer or answer on a leg that is gone")
	}
	return b.legs[from], b.legs[to], nil
}

// Standing is the answer that a leg was given to its last offer, nil if none: a final response may leave it out, but a browser wants to see it.
func (b *Bridge) Standing(leg int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if leg >= len(b.legs) || b.legs[leg] == nil {
		return nil
	}
	return b.legs[leg].answer
}

// Choose says that a branch has answered the call: from now on silence counts, and the caller hears that branch.
func (b *Bridge) Choose(branch int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.up || branch <= 0 || branch >= len(b.legs) || b.legs[branch] == nil {
		return
	}
	b.up = true
	if b.focus != branch {
		b.focus = branch
		if join := b.legs[branch].join; join != nil {
			join()
		}
	}
	now := int64(b.e.now())
	for _, l := range []*leg{b.legs[0], b.legs[branch]} {
		if l.browser != nil {
			l.browser.heard.Store(now)
		}
		for _, s := range l.streams {
			if s != nil {
				s.heard.Store(now)
			}
		}
	}
}

// Reoffer is the offer that the caller must be made after the call was answered, because the answer it was given before, that of early media or of
// another branch, does not suit the branch that answered: they would not hear each other. nil where it does. RFC 3261, 13.2.2.4; RFC 3264, 8
func (b *Bridge) Reoffer(branch int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || branch <= 0 || branch >= len(b.legs) || b.legs[branch] == nil || b.legs[branch].late == nil {
		return nil
	}
	late := b.legs[branch].late
	b.legs[branch].late = nil
	offer, err := b.offer(branch, 0, late)
	if err != nil {
		b.e.log.Warn("media: a caller cannot be told what its callee has", "error", err)
	}
	return offer
}

// Drop gives back what a branch had that has failed or lost.
func (b *Bridge) Drop(branch int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if branch <= 0 || branch >= len(b.legs) || b.legs[branch] == nil {
		return
	}
	b.legs[branch].close()
	b.legs[branch] = nil
	if b.focus == branch {
		b.focus = 0
	}
}

// Close ends the media of the call and gives everything back. It may be called twice.
func (b *Bridge) Close() {
	b.told.Do(func() {})
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	for _, l := range b.legs {
		if l != nil {
			l.bye()
			l.close()
		}
	}
	b.legs = nil
	b.mu.Unlock()
	b.e.remove(b)
}

// tick is the clock: reports, pictures, silence.
func (b *Bridge) tick(now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, l := range b.legs {
		if l == nil {
			continue
		}
		l.tick(now)
		if b.up && (i == 0 || i == b.focus) && !l.alive(now) {
			b.silent("one side has fallen silent")
		}
	}
	if !b.up && now-b.began > earlyTimeout {
		b.silent("nobody answered")
	}
}

func (b *Bridge) silent(why string) {
	b.told.Do(func() {
		if report := b.e.config.Metrics.Silent; report != nil {
			report()
		}
		b.e.log.Info("call ended by the media bridge", "why", why)
		if b.ended != nil {
			go b.ended(why)
		}
	})
}
