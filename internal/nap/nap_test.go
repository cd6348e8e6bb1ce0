package nap

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// Half of the processors sleep, however many readers want to, and all of them are given back.
func TestHalfStaysAwake(t *testing.T) {
	half := runtime.GOMAXPROCS(0) / 2
	for range 3 {
		taken := 0
		for range 2*half + 2 {
			if take() {
				taken++
			}
		}
		if taken != half {
			t.Errorf("%d of %d processors may sleep", taken, 2*half)
		}
		asleep.Add(-int32(taken))
		var sleepers sync.WaitGroup
		for range 2*half + 2 {
			sleepers.Go(func() { Sleep(time.Millisecond) })
		}
		sleepers.Wait()
	}
}
