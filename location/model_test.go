package location

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/wire"
)

// model is the location service as one would write it without a care for speed or disks.
type model map[wire.AOR][]Binding

func (m model) lookup(aor wire.AOR) []Binding {
	var bs []Binding
	for _, b := range m[aor] {
		if time.Now().Before(b.Expires) {
			bs = append(bs, b)
		}
	}
	slices.SortStableFunc(bs, byPreference)
	return bs
}

// TestModel does the same random things to the service and to the model: registrations, refreshes, removals, refusals, a store that fails now and then, restarts
// and time that passes.
func TestModel(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 4
	}
	for range rounds {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			t.Logf("seed %d", seed)
			play(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func play(t *testing.T, r *rand.Rand) {
	st, m := &memStore{}, model{}
	s := start(t, st, Config{})
	aors := make([]wire.AOR, 12)
	for i := range aors {
		aors[i] = user(i)
	}
	for step := range 600 {
		aor := aors[r.IntN(len(aors))]
		switch r.IntN(12) {
		case 0:
			pass(time.Duration(r.IntN(40_000)) * time.Millisecond)
		case 1:
			pass(time.Duration(r.IntN(10)) * time.Millisecond)
		case 2:
			if r.IntN(10) == 0 {
				stop(t, s)
				s = start(t, st, Config{})
			}
		case 3:
			failing(t, s, st, m, aor)
		default:
			change := randomChange(r, step)
			next := change(m.lookup(aor))
			s.Update(aor, func(now []Binding) ([]Binding, error) { return change(now), nil }, func(after []Binding, err error) {
				if err != nil || len(after) != len(next) {
					t.Errorf("step %d: %d bindings, %v; want %d", step, len(after), err, len(next))
				}
			})
			m[aor] = next
			if r.IntN(2) == 0 {
				continue // let the next one find it pending
			}
		}
		pass(2 * gather)
		for _, aor := range aors {
			if got, want := names(s.Lookup(aor)), names(m.lookup(aor)); got != want {
				t.Fatalf("step %d, %s: %s, want %s", step, aor.User, got, want)
			}
		}
	}
	pass(2 * time.Hour)
	if n := s.Len(); n != 0 {
		t.Errorf("%d bindings when all have expired", n)
	}
	stop(t, s)
	if s.log.live != 0 || s.log.total > logSlack+1 {
		t.Errorf("the log counts %d live of %d", s.log.live, s.log.total)
	}
}

// failing lets an update fail, in fn or in the store: nothing changes.
func failing(t *testing.T, s *Service, st *memStore, m model, aor wire.AOR) {
	pass(2 * gather)
	var r result
	s.Update(aor, func([]Binding) ([]Binding, error) { return nil, errStale }, r.done)
	if !errors.Is(r.err, error(errStale)) {
		t.Errorf("refused: %v", r.err)
	}
	st.fail = errStore
	s.Update(aor, add(contact("sip:never@192.0.2.7", time.Hour)), r.done)
	s.Update(aor, add(contact("sip:neither@192.0.2.7", time.Hour)), r.done)
	pass(2 * gather)
	st.fail = nil
	if r.calls != 3 || code(r.err) != 500 {
		t.Errorf("store failed: %+v", r)
	}
}

// randomChange is a pure function of the bindings there are, as the registrar's is.
func randomChange(r *rand.Rand, step int) func([]Binding) []Binding {
	b := contact(fmt.Sprintf("sip:c%d@192.0.2.7", r.IntN(4)), time.Duration(1+r.IntN(100))*time.Second)
	b.Q, b.CSeq = r.IntN(3)*500, uint32(step)
	kind := r.IntN(10)
	return func(now []Binding) []Binding {
		var next []Binding
		switch kind {
		case 0: // remove all
			return nil
		case 1: // nothing
			return now
		case 2: // remove one
		default:
			next = append(next, b)
		}
		for _, old := range now {
			if old.Contact.Raw != b.Contact.Raw {
				next = append(next, old)
			}
		}
		return next
	}
}

func names(bs []Binding) string {
	s := ""
	for _, b := range bs {
		s += fmt.Sprintf("%s/%d/%d ", b.Contact.Raw, b.Q, b.CSeq)
	}
	return s
}
