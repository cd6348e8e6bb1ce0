package location

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

// RFC 3261, 10.3 step 8 wants all current bindings: done gets them, Lookup shows them when they are committed and not before.
func TestUpdateIsSeenWhenCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{hold: make(chan struct{})}
		s := start(t, st, Config{})
		var r result
		b := contact("sip:a@192.0.2.7", time.Hour)
		s.Update(alice, set(b), r.done)
		synctest.Wait()
		expect(t, s, alice, "")
		if r.calls != 0 {
			t.Fatal("acknowledged before the commit")
		}
		st.hold <- struct{}{}
		synctest.Wait()
		expect(t, s, alice, "a")
		if r.calls != 1 || r.err != nil {
			t.Fatalf("done was called %d times, %v", r.calls, r.err)
		}
		if diff := cmp.Diff([]Binding{b}, r.after, sameTimes); diff != "" {
			t.Error(diff)
		}
		if s.Len() != 1 {
			t.Errorf("Len = %d", s.Len())
		}
		expect(t, s, bob, "")
		stop(t, s)
	})
}

// Two updates of one address that follow each other at once: the second builds on the first, though that is not committed.
func TestUpdatesBuildOnEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{hold: make(chan struct{})}
		s := start(t, st, Config{})
		var order []string
		for _, name := range []string{"a", "b", "c"} {
			s.Update(alice, add(contact("sip:"+name+"@192.0.2.7", time.Hour)), func(after []Binding, err error) {
				order = append(order, show(after))
			})
		}
		close(st.hold)
		pass(time.Second)
		if got := strings.Join(order, "; "); got != "a; b a; c b a" {
			t.Errorf("done saw %q", got)
		}
		expect(t, s, alice, "c b a")
		if st.commits > 3 {
			t.Errorf("%d commits for three updates", st.commits)
		}
		stop(t, s)
	})
}

// RFC 3261, 10.3 step 7: an update that is refused changes nothing.
func TestRefusedUpdate(t *testing.T) {
	s := start(t, &memStore{}, Config{})
	defer stop(t, s)
	if _, err := update(t, s, alice, set(contact("sip:a@192.0.2.7", time.Hour))); err != nil {
		t.Fatal(err)
	}
	_, err := update(t, s, alice, func([]Binding) ([]Binding, error) { return nil, errStale })
	if !errors.Is(err, error(errStale)) {
		t.Errorf("err = %v", err)
	}
	expect(t, s, alice, "a")
	// Too many bindings, or too large ones, are refused as well.
	var many []Binding
	for i := range MaxBindings + 1 {
		many = append(many, contact(fmt.Sprintf("sip:%d@192.0.2.7", i), time.Hour))
	}
	big := contact("sip:a@192.0.2.7", time.Hour)
	big.UserAgent = strings.Repeat("x", MaxRecord)
	for _, bs := range [][]Binding{many, {big}} {
		if _, err := update(t, s, alice, set(bs...)); code(err) != 500 {
			t.Errorf("err = %v", err)
		}
	}
	expect(t, s, alice, "a")
}

// Nothing changed: done follows at once and nothing is written. A refresh changes Expires, and is written.
func TestUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{}
		s := start(t, st, Config{})
		var r result
		s.Update(alice, set(contact("sip:a@192.0.2.7", time.Hour)), r.done)
		synctest.Wait()
		keep := func(now []Binding) ([]Binding, error) { return now, nil }
		r = result{}
		s.Update(alice, keep, r.done)
		s.Update(bob, keep, r.done)
		if r.calls != 2 || st.commits != 1 {
			t.Errorf("%d calls, %d commits", r.calls, st.commits)
		}

		// But not before what it stems from is on disk.
		pass(time.Minute)
		st.hold = make(chan struct{})
		var first, second result
		s.Update(alice, add(contact("sip:a@192.0.2.7", time.Hour)), first.done)
		s.Update(alice, keep, second.done)
		synctest.Wait()
		if first.calls != 0 || second.calls != 0 {
			t.Error("acknowledged before the commit")
		}
		st.hold <- struct{}{}
		synctest.Wait()
		if first.calls != 1 || second.calls != 1 || st.commits != 2 {
			t.Errorf("%d and %d calls, %d commits", first.calls, second.calls, st.commits)
		}
		stop(t, s)
	})
}

func TestOrder(t *testing.T) {
	s := start(t, nil, Config{})
	defer stop(t, s)
	now := time.Now()
	make := func(name string, q int, updated time.Duration) Binding {
		b := contact("sip:"+name+"@192.0.2.7", time.Hour)
		b.Q, b.Updated = q, now.Add(updated)
		return b
	}
	in := []Binding{make("low", 100, 0), make("old", 1000, -time.Hour), make("new", 1000, 0), make("mid", 500, 0)}
	before := fmt.Sprint(in)
	after, err := update(t, s, alice, set(in...))
	if err != nil || show(after) != "new old mid low" {
		t.Errorf("done saw %q, %v", show(after), err)
	}
	expect(t, s, alice, "new old mid low")
	if fmt.Sprint(in) != before {
		t.Error("the caller's slice was changed")
	}
}

// RFC 3261, 10.2.1.1: a binding ends when its time is over; not sooner, and on time even for one who asks between two turns of the wheel.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		st := &memStore{}
		s := start(t, st, Config{Changed: func(aor wire.AOR, before, after []Binding, why Reason) {
			log = append(log, fmt.Sprintf("%s %s: %s -> %s", aor.User, why, show(before), show(after)))
		}})
		begin := time.Now()
		done := func([]Binding, error) {}
		s.Update(alice, set(contact("sip:a@192.0.2.7", 60*time.Second), contact("sip:b@192.0.2.7", 3600*time.Second), contact("sip:c@192.0.2.7", 90500*time.Millisecond)), done)
		s.Update(bob, set(contact("sip:x@192.0.2.7", 24*time.Hour)), done)
		steps := []struct {
			at    time.Duration
			alice string
		}{
			{59999 * time.Millisecond, "a b c"},
			{60 * time.Second, "b c"},
			{90499 * time.Millisecond, "b c"},
			{90500 * time.Millisecond, "b"},
			{3599 * time.Second, "b"},
			{3600 * time.Second, ""},
		}
		for _, step := range steps {
			pass(time.Until(begin.Add(step.at)))
			expect(t, s, alice, step.alice)
		}
		pass(time.Second)
		if s.Len() != 1 || s.shard(alice).find(alice) != nil {
			t.Errorf("Len = %d", s.Len())
		}
		pass(time.Until(begin.Add(24*time.Hour - time.Second)))
		expect(t, s, bob, "x")
		pass(2 * time.Second)
		expect(t, s, bob, "")
		want := []string{"alice registered:  -> a b c", "bob registered:  -> x",
			"alice expired: a b c -> b c", "alice expired: b c -> b", "alice expired: b -> ", "bob expired: x -> "}
		if diff := cmp.Diff(want, log); diff != "" {
			t.Error(diff)
		}
		if st.commits > 2 {
			t.Errorf("%d commits for two updates: expiry needs none", st.commits)
		}
		stop(t, s)
	})
}

// A phone that comes and goes all the time, or refreshes, leaves nothing behind in the wheel and the index.
func TestComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil, Config{})
		done := func([]Binding, error) {}
		for i := range 1000 {
			s.Update(alice, set(contact("sip:a@192.0.2.7", time.Hour)), done)
			s.Update(alice, set(), done)
			s.Update(bob, set(contact("sip:b@192.0.2.7", time.Hour)), done)
			pass(time.Duration(i) * time.Millisecond)
		}
		n := 0
		s.wheel.mu.Lock()
		for _, slot := range s.wheel.slots {
			n += len(slot)
		}
		s.wheel.mu.Unlock()
		if n > 2 {
			t.Errorf("%d times in the wheel", n)
		}
		pass(2 * time.Hour)
		n = 0
		for i := range s.shards {
			n += len(s.shards[i].all)
		}
		if n != 0 || s.Len() != 0 {
			t.Errorf("%d entries, Len %d", n, s.Len())
		}
		stop(t, s)
	})
}

// A refresh moves the end away; a shorter one brings it nearer.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil, Config{})
		done := func([]Binding, error) {}
		s.Update(alice, set(contact("sip:a@192.0.2.7", time.Minute)), done)
		pass(50 * time.Second)
		s.Update(alice, set(contact("sip:a@192.0.2.7", time.Hour)), done)
		pass(59 * time.Minute)
		expect(t, s, alice, "a")
		s.Update(alice, set(contact("sip:a@192.0.2.7", 3*time.Second)), done)
		pass(5 * time.Second)
		if s.Len() != 0 || s.shard(alice).find(alice) != nil {
			t.Errorf("Len = %d after the shorter time", s.Len())
		}
		stop(t, s)
	})
}

func TestReasons(t *testing.T) {
	var log []string
	s := start(t, nil, Config{Changed: func(_ wire.AOR, before, after []Binding, why Reason) {
		log = append(log, fmt.Sprintf("%s: %s -> %s", why, show(before), show(after)))
	}})
	defer stop(t, s)
	a, b := contact("sip:a@192.0.2.7", time.Hour), contact("sip:b@192.0.2.7", time.Hour)
	b.Updated = a.Updated
	again := a
	again.CSeq++
	for _, bs := range [][]Binding{{a}, {a}, {again}, {again, b}, {b}, {}, {}} {
		if _, err := update(t, s, alice, set(bs...)); err != nil {
			t.Fatal(err)
		}
	}
	s.Change(alice, Created, set(a), func([]Binding, error) {})
	s.Change(alice, Rejected, set(), func([]Binding, error) {})
	want := []string{"registered:  -> a", "registered: a -> a", "registered: a -> a b", "removed: a b -> b", "removed: b -> ", "created:  -> a", "rejected: a -> "}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Error(diff)
	}
}

// SIGTERM: what was accepted is committed, what comes later gets 503.
func TestCloseCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{}
		s := start(t, st, Config{})
		var first, pending, late result
		s.Update(bob, set(contact("sip:b@192.0.2.7", time.Hour)), first.done)
		synctest.Wait()
		s.Update(alice, set(contact("sip:a@192.0.2.7", time.Hour)), pending.done)
		stop(t, s)
		if pending.calls != 1 || pending.err != nil {
			t.Errorf("pending: %+v", pending)
		}
		s.Update(alice, set(contact("sip:c@192.0.2.7", time.Hour)), late.done)
		if late.calls != 1 || code(late.err) != 503 {
			t.Errorf("late: %+v", late)
		}
		expect(t, s, alice, "a")
		s = start(t, st, Config{})
		expect(t, s, alice, "a")
		expect(t, s, bob, "b")
		stop(t, s)
	})
}

func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{hold: make(chan struct{})}
		s := start(t, st, Config{})
		s.Update(bob, set(contact("sip:b@192.0.2.7", time.Hour)), func([]Binding, error) {})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close = %v", err)
		}
		close(st.hold)
	})
}

// A change that comes alone is written at once; while many come, commits keep their distance.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{}
		var sizes []int
		s := start(t, st, Config{Committed: func(n int, _ time.Duration, err error) { sizes = append(sizes, n) }})
		begin := time.Now()
		for i := range 100 {
			s.Update(user(i), set(contact("sip:a@192.0.2.7", time.Hour)), func([]Binding, error) {
				if i == 0 && time.Since(begin) != 0 {
					t.Errorf("the first waited %v", time.Since(begin))
				}
			})
			pass(time.Millisecond)
		}
		pass(time.Second)
		if len(sizes) > 6 {
			t.Errorf("%d commits in 100 ms: %d", len(sizes), sizes)
		}
		stop(t, s)
	})
}

func TestAllStops(t *testing.T) {
	s := start(t, nil, Config{})
	defer stop(t, s)
	for i := range 100 {
		if _, err := update(t, s, user(i), set(contact("sip:a@192.0.2.7", time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range s.All {
		if n++; n == 10 {
			break
		}
	}
	all := map[string]bool{}
	for aor, bs := range s.All {
		all[aor.User] = len(bs) == 1
	}
	if n != 10 || len(all) != 100 {
		t.Errorf("stopped after %d, %d in all", n, len(all))
	}
}

// Bindings that nobody asked for lately are kept encoded; asked for again, they are the same.
func TestColdBindings(t *testing.T) {
	s := start(t, nil, Config{})
	defer stop(t, s)
	const n = shards*hotPerShard + 10_000
	b := contact("sip:a@192.0.2.7", time.Hour)
	for i := range n {
		b.CSeq = uint32(i)
		s.Update(user(i), set(b), func([]Binding, error) {})
	}
	hot := 0
	for i := range s.shards {
		for _, e := range s.shards[i].entries() {
			if e.cur.Load().view.Load() != nil {
				hot++
			}
		}
	}
	if hot > shards*hotPerShard {
		t.Errorf("%d addresses are kept decoded, more than %d", hot, shards*hotPerShard)
	}
	for i := range n {
		if bs := s.Lookup(user(i)); len(bs) != 1 || bs[0].CSeq != uint32(i) {
			t.Fatalf("user %d: %+v", i, bs)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	s := start(t, nil, Config{})
	defer stop(t, s)
	if _, err := update(t, s, alice, set(contact("sip:a@192.0.2.7", time.Hour))); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { s.Lookup(alice); s.Lookup(bob) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A registration must not keep the message in memory that it came in.
func TestNothingOfTheMessageIsKept(t *testing.T) {
	s := start(t, nil, Config{})
	defer stop(t, s)
	msg := []byte("sip:a@192.0.2.7")
	b := contact(string(msg), time.Hour)
	after, err := update(t, s, alice, set(b))
	if err != nil {
		t.Fatal(err)
	}
	rec := s.shard(alice).find(alice).cur.Load().rec
	for _, str := range []string{after[0].Contact.Raw, after[0].Contact.Host, after[0].Params, after[0].InstanceID, after[0].CallID, after[0].UserAgent} {
		if !within(str, rec) {
			t.Errorf("%q is not part of the record", str)
		}
	}
}
