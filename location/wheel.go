package location

import "sync"

// wheel is the timing wheel: one slot for each second, round and round. An address is in it once, for the first of its bindings to expire. A refresh, which
// only moves that further away, does not touch the wheel: when the slot comes, the address is put where it belongs by then.
type wheel struct {
	mu    sync.Mutex
	start int64  // ms; seconds count from here
	at    uint32 // the last second that was taken
	slots [wheelSlots][]*entry
}

// add sees to it that e comes up when ms has passed, or earlier. The caller holds the update lock of e's shard.
func (w *wheel) add(e *entry, ms int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sec := min(max((ms-w.start+999)/1000, int64(w.at)+1), int64(w.at)+wheelSlots-1)
	if e.due != 0 && int64(e.due) <= sec {
		return
	}
	// If the wheel has it for later, that one is found stale when it comes up.
	e.due = uint32(sec)
	w.slots[sec%wheelSlots] = append(w.slots[sec%wheelSlots], e)
}

// take returns what comes up in the next second that has passed at time ms, and that second; 0 when there is none.
func (w *wheel) take(ms int64) ([]*entry, uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if int64(w.at) >= (ms-w.start)/1000 {
		return nil, 0
	}
	w.at++
	slot := w.slots[w.at%wheelSlots]
	w.slots[w.at%wheelSlots] = nil
	return slot, w.at
}

// expire lets bindings end whose time has come.
func (s *Service) expire() {
	now := s.clock.now()
	for {
		slot, sec := s.wheel.take(now)
		if sec == 0 {
			return
		}
		for _, e := range slot {
			s.expireEntry(e, sec, now)
		}
	}
}

func (s *Service) expireEntry(e *entry, sec uint32, now int64) {
	sh := s.shard(e.aor)
	sh.update.Lock()
	defer sh.update.Unlock()
	if e.due != sec {
		return
	}
	e.due = 0
	st := e.cur.Load()
	switch {
	case e.tail != nil: // the update that is pending knows better; Lookup leaves out what has expired
		s.wheel.add(e, now+1000)
	case st == nil:
		sh.forget(e)
	case now < st.first: // refreshed since
		s.wheel.add(e, st.first)
	default:
		left, err := s.newState(sh, st.bindings(s.clock), now)
		if err != nil {
			return // cannot be: it is a part of what was stored before
		}
		s.publish(sh, e, left, Expired)
		if left.empty() {
			s.log.dead(e)
		}
	}
}
