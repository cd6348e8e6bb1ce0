package transport

import (
	"testing"
	"time"
)

// Datagrams gather while naps find several of them, and fewer come at no time because of it: a few clients that wait for each answer are not made to wait.
func TestGather(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rate    int // datagrams a second that come by themselves
		clients int // others send the next when the last was answered, after half a millisecond
		want    bool
	}{
		{"few", 300, 0, false},
		{"enough", 500, 0, true},
		{"many", 20_000, 0, true},
		{"one client waits", 0, 1, false},
		{"four clients wait", 0, 4, false},
		{"a crowd waits", 0, 64, false},
		{"few, and a client waits", 300, 1, false},
		{"many, and a client waits", 5000, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var g gather
			begin := time.Unix(1_800_000_000, 0)
			at, sent, awake := begin, 0, time.Duration(0)
			const long = 20 * time.Second
			for at.Sub(begin) < long {
				step := time.Millisecond / 2
				if g.on {
					step = g.time
				} else {
					awake += step
				}
				at = at.Add(step)
				due := int(at.Sub(begin).Seconds() * float64(tt.rate))
				g.came += due - sent + tt.clients
				sent = due
				g.next(func() time.Time { return at })
			}
			if gathered := awake < long/10; gathered != tt.want || !gathered && awake < long*8/10 {
				t.Errorf("awake %v of %v", awake, long)
			}
		})
	}
}

// It ends when nothing comes any more.
func TestGatherEnds(t *testing.T) {
	var g gather
	at := time.Unix(1_800_000_000, 0)
	now := func() time.Time { return at }
	for i := 0; !g.on; i++ {
		if at = at.Add(time.Millisecond / 4); i > 1000 {
			t.Fatal("4,000 a second do not gather")
		}
		g.came++
		g.next(now)
	}
	naps := 0
	for ; g.on; naps++ {
		at = at.Add(g.time)
		g.next(now)
	}
	if naps > int(gatherLook/gatherShort) {
		t.Errorf("%d naps after the last datagram", naps)
	}
}
