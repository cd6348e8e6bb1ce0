package media

import (
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back when many handshakes are over and none is left, and not again at once.
func TestHandshakesRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := 0
		h := &handshakes{release: func() { released++ }}
		expect := func(what string, want int) {
			t.Helper()
			if synctest.Wait(); released != want {
				t.Errorf("%s: given back %d times, not %d", what, released, want)
			}
		}
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
		begin(releaseAfter)
		end(releaseAfter - 1)
		expect("one still running", 0)
		end(1)
		expect("all over", 1)
		for range 2 * releaseAfter {
			h.begin()
			h.end()
		}
		expect("too soon", 1)
		time.Sleep(releaseEvery)
		h.begin()
		h.end()
		expect("later", 2)
		h.begin()
		h.end()
		time.Sleep(releaseEvery)
		begin(releaseAfter - 2)
		end(releaseAfter - 2)
		expect("too few", 2)
	})
}
