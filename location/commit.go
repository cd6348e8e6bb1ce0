package location

import (
	"cmp"
	"time"

	"signalbox/internal/wire"
)

// run is the committer: the one goroutine that writes, and lets bindings expire.
func (s *Service) run() {
	defer close(s.stopped)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	wait := time.NewTimer(0)
	defer wait.Stop()
	<-wait.C
	var last time.Time // end of the last commit
	for {
		select {
		case <-second.C:
			s.expire()
		case <-s.queue.wake:
			// What comes right after a commit waits for company.
			wait.Reset(gather - time.Since(last))
		case <-wait.C:
			s.commitAll()
			last = time.Now()
		case <-s.stop:
			s.commitAll()
			return
		}
	}
}

// commitAll writes what waits, in transactions of bounded size.
func (s *Service) commitAll() {
	all := s.queue.take()
	defer clear(all) // a done may hold on to a whole transaction
	for list := all; len(list) > 0; {
		n, size := 0, 0
		for n < len(list) && n < maxCommit && size < maxCommitBytes {
			size += len(list[n].st.rec)
			n++
		}
		if err := s.commit(list[:n]); err != nil {
			// The disk is full, or locked: each further attempt may take as long as this one, and phones wait.
			s.fail(list[n:], err)
			return
		}
		list = list[n:]
	}
}

// commit writes the updates in one transaction, publishes them and says so, in order. They all succeed or all fail.
func (s *Service) commit(list []change) error {
	list = s.withoutFailed(list)
	b := &s.batch
	b.reset(s.clock.skew())
	for i := len(list) - 1; i >= 0; i-- { // only the last state of an address is written
		if c := &list[i]; c.st != c.e.cur.Load() {
			b.add(c.e, c.st)
		}
	}
	if err := s.write(b); err != nil {
		s.fail(list, err)
		return err
	}
	for i := range list {
		c := &list[i]
		sh := s.shard(c.e.aor)
		sh.update.Lock()
		s.publish(sh, c.e, c.st, cmp.Or(c.why, reason(c.e.cur.Load(), c.st)))
		sh.update.Unlock()
		if c.e.cur.Load() == nil {
			s.log.dead(c.e)
		}
		c.done(c.after, nil)
	}
	return nil
}

// write puts the batch on disk.
func (s *Service) write(b *batch) error {
	if len(b.entries) == 0 {
		return nil
	}
	updates, start := len(b.entries), time.Now()
	s.log.clean(b)
	id, err := s.store.commit(b.data, b.drop)
	if s.config.Committed != nil {
		s.config.Committed(updates, time.Since(start), err)
	}
	if err != nil {
		return err
	}
	s.log.committed(b, id)
	return nil
}

// withoutFailed fails the updates that were built on one which could not be written, and returns the others.
func (s *Service) withoutFailed(list []change) []change {
	kept := list[:0]
	for _, c := range list {
		if c.gen == c.e.gen {
			kept = append(kept, c)
			continue
		}
		c.done(nil, wire.Errorf(500, "", "location: the update before this one failed"))
	}
	return kept
}

// fail takes the updates back: the addresses are as they were committed last (RFC 3261, 10.3 step 7: a failure leaves all bindings
// unchanged), and what was built on the updates meanwhile will fail too.
func (s *Service) fail(list []change, err error) {
	for i := range list {
		c := &list[i]
		sh := s.shard(c.e.aor)
		sh.update.Lock()
		if c.gen == c.e.gen {
			c.e.gen++
			c.e.tail = nil
			sh.forget(c.e)
		}
		sh.update.Unlock()
	}
	for i := range list {
		list[i].done(nil, wire.Errorf(500, "", "location: store failed: %w", err))
	}
}
