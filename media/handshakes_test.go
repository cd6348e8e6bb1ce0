package media

import (
	"testing"
	"testing/synctest"
	"time"
)

// Garbage is collected as handshakes go on; memory is given back when many are over and none is left; and neither takes more than its share of the time.
func TestHandshakes(t *testing.T) {
	const cost = 10 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		collected, released := 0, 0
		h := &handshakes{collect: func() { time.Sleep(cost); collected++ }, giveBack: func() { time.Sleep(cost); released++ }}
		expect := func(what string, collections, releases int) {
			t.Helper()
			time.Sleep(cost)
			synctest.Wait()
			if collected != collections || released != releases {
				t.Errorf("%s: collected %d times and given back %d times, want %d and %d", what, collected, released, collections, releases)
			}
		}
		rest := func() { time.Sleep(collectShare * cost) }
		begin := func(n int) {
			for range n {
				h.begin()
			}
		}
		end := func(n int) {
			for range n {
				h.end()
			}
		}
		begin(collectAfter - 1)
		expect("too few", 0, 0)
		begin(1)
		expect("enough", 1, 0)
		begin(3 * collectAfter)
		expect("too soon", 1, 0)
		rest()
		begin(2)
		expect("later, and not twice at once", 2, 0)
		rest()
		end(4*collectAfter + 1)
		expect("one still running", 2, 0)
		end(1)
		expect("all over", 2, 1)
		begin(releaseAfter)
		end(releaseAfter)
		expect("too soon again", 2, 1)
		rest()
		h.begin() // a collection is due
		expect("many have begun", 3, 1)
		rest()
		h.end()
		expect("and are over", 3, 2)
		rest()
		h.begin()
		h.end()
		expect("a single one", 3, 2)
	})
}
