package transport

import (
	"testing"
	"time"
)

// Datagrams gather while naps find several of them, and no longer: one client that waits for each answer is not made to wait.
func TestGather(t *testing.T) {
	var g gather
	at := time.Unix(1_800_000_000, 0)
	come := func(n int, every time.Duration, for_ time.Duration) (on int) {
		for end := at.Add(for_); at.Before(end); at = at.Add(every) {
			if g.next(n, func() time.Time { return at }) {
				on++
			}
		}
		return on
	}
	if on := come(1, 2*time.Millisecond, time.Second); on != 0 {
		t.Errorf("500 a second gathered %d times", on)
	}
	for tries := 0; !g.on; tries++ {
		if come(1, time.Millisecond/2, time.Millisecond/2); tries > 2*int(2*gatherLook/time.Millisecond) {
			t.Fatal("2,000 a second do not gather")
		}
	}
	if on := come(gatherWorth, gatherTime, time.Second); on != 250 {
		t.Errorf("naps that find enough: %d of 250 led to another", on)
	}
	if on := come(1, gatherTime, 3*gatherTime); on != gatherMisses-1 {
		t.Errorf("%d naps after the first that found too little", on)
	}
	// It answers a single client at once, which therefore comes often, but for the pause.
	if on := come(1, time.Millisecond/2, gatherPause); on != 0 {
		t.Errorf("gathered %d times in the pause", on)
	}
	if g.next(0, func() time.Time { return at }); g.came == 0 {
		t.Error("the rate is not looked at again")
	}
}
