package location

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"

	"signalbox/internal/wire"
)

var errClosed = errors.New("location: closed")

// change is an update on its way to the disk.
type change struct {
	e     *entry
	st    *state
	after []Binding
	done  func(after []Binding, err error)
	gen   uint32 // e.gen when it was made
	why   Reason // "" is what the numbers of bindings tell
}

// Update changes the bindings of one AOR, all or nothing (RFC 3261, 10.3 step 7): fn gets the live ones, pending updates of the same AOR included, and returns the new set (not kept), or an
// error that leaves everything as it was. done is called exactly once: after the commit (synchronous=FULL) with the new set, or with fn's or the store's error. fn runs
// before Update returns, on the caller's goroutine, and must not call Update; done runs there or on the committer's; neither may block. Order per AOR is the order of
// calls. If fn returns the same set changed in nothing, done follows at once, or after the pending updates that the set stems from.
//
// A store that fails gives a *wire.Error with code 500, too many updates waiting for it 503 with Retry-After.
func (s *Service) Update(aor wire.AOR, fn func(now []Binding) ([]Binding, error), done func(after []Binding, err error)) {
	s.Change(aor, "", fn, done)
}

// Change is Update by somebody else than the phone: why is what Config.Changed is told; "" is Registered or Removed.
func (s *Service) Change(aor wire.AOR, why Reason, fn func(now []Binding) ([]Binding, error), done func(after []Binding, err error)) {
	after, err, queued := s.stage(aor, why, fn, done)
	if !queued {
		done(after, err)
	}
}

// stage runs fn and puts the result into the queue; it is not queued if there is nothing to wait for.
func (s *Service) stage(aor wire.AOR, why Reason, fn func([]Binding) ([]Binding, error), done func([]Binding, error)) (after []Binding, err error, queued bool) {
	sh := s.shard(aor)
	sh.update.Lock()
	defer sh.update.Unlock()
	e := sh.find(aor)
	before := e.newest()
	now := s.clock.now()
	was := before.liveAt(now, s.clock)
	next, err := fn(was)
	if err != nil {
		return nil, err, false
	}
	st, err := s.newState(sh, next, now)
	if err != nil {
		return nil, err, false
	}
	after = st.bindings(s.clock)
	if st.rec == before.record() {
		if e == nil || e.tail == nil {
			return after, nil, false
		}
		st = before // nothing to write, but what it stems from is not on disk yet
	}
	if e == nil {
		e = sh.insert(aor)
	}
	if s.store == nil {
		s.publish(sh, e, st, cmp.Or(why, reason(e.cur.Load(), st)))
		return after, nil, false
	}
	if err := s.queue.push(change{e, st, after, done, e.gen, why}); err != nil {
		sh.forget(e)
		return nil, err, false
	}
	e.tail = st
	return nil, nil, true
}

// newest is the state that the next update builds on.
func (e *entry) newest() *state {
	if e == nil {
		return nil
	}
	if e.tail != nil {
		return e.tail
	}
	return e.cur.Load()
}

func (st *state) liveAt(now int64, c clock) []Binding {
	if st.empty() {
		return nil
	}
	return live(st.bindings(c), st.first, now, c)
}

func (st *state) record() string {
	if st == nil {
		return ""
	}
	return st.rec
}

// newState encodes bindings, by preference and without those that have expired. The caller holds sh.update.
func (s *Service) newState(sh *shard, bs []Binding, now int64) (*state, error) {
	bs = ordered(live(bs, firstExpiry(bs, s.clock), now, s.clock))
	st := &state{first: firstExpiry(bs, s.clock)}
	if len(bs) == 0 {
		return st, nil
	}
	if len(bs) > MaxBindings {
		return nil, wire.Errorf(500, "", "location: %d bindings, more than %d", len(bs), MaxBindings)
	}
	sh.scratch = appendRecord(sh.scratch[:0], s.clock, bs)
	if len(sh.scratch) > MaxRecord {
		return nil, wire.Errorf(500, "", "location: bindings of %d bytes, more than %d", len(sh.scratch), MaxRecord)
	}
	st.rec = string(sh.scratch)
	// What the service gives out is decoded from the record: the strings of bs are parts of messages, which must not stay in memory.
	view, err := decodeRecord(nil, s.clock, st.rec)
	if err != nil {
		return nil, wire.Errorf(500, "", "location: bindings that cannot be stored: %w", err)
	}
	st.view.Store(&view)
	return st, nil
}

// publish makes a state the one that Lookup returns. The caller holds sh.update.
func (s *Service) publish(sh *shard, e *entry, st *state, why Reason) {
	before := e.cur.Load()
	if e.tail == st {
		e.tail = nil
	}
	if before == st {
		return // an update that changed nothing
	}
	if st.empty() {
		e.cur.Store(nil)
		sh.forget(e)
	} else {
		e.cur.Store(st)
		sh.keep(e)
		s.wheel.add(e, st.first)
	}
	s.count.Add(int64(st.len() - before.len()))
	if s.config.Changed != nil {
		s.config.Changed(e.aor, before.bindings(s.clock), st.bindings(s.clock), why)
	}
}

// reason of a change that an Update made.
func reason(before, after *state) Reason {
	if after.len() < before.len() {
		return Removed
	}
	return Registered
}

// queue holds the updates that wait for the committer, in order.
type queue struct {
	mu     sync.Mutex
	list   []change
	spare  []change // what take gave out last
	closed bool
	wake   chan struct{} // has one value when the list is not empty
}

func (q *queue) push(c change) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return wire.Errorf(503, "", "%w", errClosed).With("Retry-After", strconv.Itoa(retryAfter))
	}
	if len(q.list) >= MaxPending {
		wait := retryAfter + rand.IntN(retrySpread)
		return wire.Errorf(503, "", "location: %d updates wait for the disk", len(q.list)).With("Retry-After", strconv.Itoa(wait))
	}
	q.list = append(q.list, c)
	if len(q.list) == 1 {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// take returns all that waits. It is the caller's until the next take, and to be cleared.
func (q *queue) take() []change {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list, q.spare = q.spare[:0], list
	return list
}

// close refuses whatever comes later.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}
