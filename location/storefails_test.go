package location

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/wire"
)

// RFC 3261, 10.3 step 7: "MUST either be successful or fail as a whole": the store fails, the update and what was built on it fail with 500, and the bindings
// are what they were. hardening figure 10: when there is room again, updates succeed.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{}
		s := start(t, st, Config{})
		var r0, r1, r2, r3, other result
		s.Update(alice, set(contact("sip:a@192.0.2.7", time.Hour)), r0.done)
		synctest.Wait()

		st.fail, st.hold = errStore, make(chan struct{})
		s.Update(alice, add(contact("sip:b@192.0.2.7", time.Hour)), r1.done)
		pass(time.Second) // the committer is in the store now
		s.Update(alice, add(contact("sip:c@192.0.2.7", time.Hour)), r2.done)
		s.Update(bob, add(contact("sip:d@192.0.2.7", time.Hour)), other.done)
		st.hold <- struct{}{}
		synctest.Wait()
		if r1.calls != 1 || code(r1.err) != 500 || !errors.Is(r1.err, errStore) {
			t.Errorf("first: %+v", r1)
		}
		expect(t, s, alice, "a")
		st.fail, st.hold = nil, nil
		s.Update(alice, add(contact("sip:e@192.0.2.7", time.Hour)), r3.done)
		pass(time.Second)
		synctest.Wait()
		if r2.calls != 1 || code(r2.err) != 500 {
			t.Errorf("second, built on the first: %+v", r2)
		}
		if other.calls != 1 || other.err != nil {
			t.Errorf("another address: %+v", other)
		}
		if r3.calls != 1 || r3.err != nil || show(r3.after) != "e a" {
			t.Errorf("third: %+v", r3)
		}
		expect(t, s, alice, "e a")
		stop(t, s)
	})
}

// hardening figure 11: a store that is stuck is tried once for all that waits, not once for each transaction's worth.
func TestStoreFailsForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{hold: make(chan struct{})}
		s := start(t, st, Config{})
		var first result
		s.Update(alice, set(contact("sip:a@192.0.2.7", time.Hour)), first.done)
		synctest.Wait() // in the store
		const n = 3 * maxCommit
		failed := 0
		b := contact("sip:a@192.0.2.7", time.Hour)
		for i := range n {
			s.Update(user(i), set(b), func(_ []Binding, err error) {
				if code(err) == 500 {
					failed++
				}
			})
		}
		st.hold <- struct{}{}
		synctest.Wait()
		st.fail = errStore
		close(st.hold)
		pass(time.Second)
		if first.err != nil || failed != n || st.commits != 2 {
			t.Errorf("%v, %d of %d failed in %d commits", first.err, failed, n, st.commits)
		}
		if s.Len() != 1 {
			t.Errorf("Len = %d", s.Len())
		}
		stop(t, s)
	})
}

// An address whose first update fails leaves nothing behind.
func TestStoreFailsAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{fail: errStore}
		s := start(t, st, Config{})
		for range 3 {
			var r result
			s.Update(alice, set(contact("sip:a@192.0.2.7", time.Hour)), r.done)
			pass(time.Second)
			if code(r.err) != 500 {
				t.Errorf("%v", r.err)
			}
		}
		if n := len(s.shard(alice).all); n != 0 {
			t.Errorf("%d entries", n)
		}
		stop(t, s)
	})
}

// The queue is bounded: beyond it 503 with Retry-After, at once.
func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{hold: make(chan struct{})}
		s := start(t, st, Config{})
		var first, last result
		s.Update(alice, set(contact("sip:a@192.0.2.7", time.Hour)), first.done)
		synctest.Wait() // in the store
		acked := 0
		b := contact("sip:a@192.0.2.7", time.Hour)
		for i := range MaxPending {
			s.Update(user(i), set(b), func(_ []Binding, err error) {
				if err == nil {
					acked++
				}
			})
		}
		s.Update(bob, set(b), last.done)
		var e *wire.Error
		if last.calls != 1 || !errors.As(last.err, &e) || e.Code != 503 || len(e.Headers) != 1 || e.Headers[0].Name() != "Retry-After" {
			t.Fatalf("beyond the bound: %+v", last)
		}
		if sh := s.shard(bob); sh.find(bob) != nil {
			t.Error("a refused address stays in the index")
		}
		close(st.hold)
		pass(time.Second)
		if acked != MaxPending || s.Len() != MaxPending+1 {
			t.Errorf("%d of %d acknowledged, Len %d", acked, MaxPending, s.Len())
		}
		stop(t, s)
	})
}
