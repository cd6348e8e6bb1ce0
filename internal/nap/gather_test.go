package nap

import (
	"testing"
	"time"
)

var (
	signalling = Pace{Longest: 12 * time.Millisecond, Shortest: time.Millisecond, Worth: 4.5, Enough: 48, Look: 64 * time.Millisecond, Pause: time.Second}
	media      = Pace{Longest: 2 * time.Millisecond, Shortest: 2 * time.Millisecond, Worth: 3, Look: 64 * time.Millisecond, Pause: time.Second}
)

// Datagrams gather while naps find several of them, and fewer come at no time because of it: a few clients that wait for each answer are not made to wait.
func TestGather(t *testing.T) {
	for _, tt := range []struct {
		name    string
		pace    Pace
		rate    int // datagrams a second that come by themselves
		clients int // others send the next when the last was answered, after half a millisecond
		want    bool
	}{
		{"few", signalling, 300, 0, false},
		{"enough", signalling, 500, 0, true},
		{"many", signalling, 20_000, 0, true},
		{"one client waits", signalling, 0, 1, false},
		{"four clients wait", signalling, 0, 4, false},
		{"a crowd waits", signalling, 0, 64, false},
		{"few, and a client waits", signalling, 300, 1, false},
		{"many, and a client waits", signalling, 5000, 1, true},
		{"a call", media, 100, 0, false},
		{"ten calls", media, 1000, 0, false},
		{"twenty calls", media, 2000, 0, true},
		{"1,000 calls", media, 100_000, 0, true},
		{"a peer waits", media, 0, 1, false},
		{"a crowd of peers waits", media, 0, 16, false},
		{"200 calls, and a peer waits", media, 20_000, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := Gather{Pace: tt.pace}
			begin := time.Unix(1_800_000_000, 0)
			at, sent, awake := begin, 0, time.Duration(0)
			const long = 20 * time.Second
			for at.Sub(begin) < long {
				step := time.Millisecond / 2
				if g.On() {
					step = g.nap
				} else {
					awake += step
				}
				at = at.Add(step)
				due := int(at.Sub(begin).Seconds() * float64(tt.rate))
				g.Came(due - sent + tt.clients)
				sent = due
				g.Next(func() time.Time { return at })
			}
			if gathered := awake < long/10; gathered != tt.want || !gathered && awake < long*8/10 {
				t.Errorf("awake %v of %v", awake, long)
			}
		})
	}
}

// It ends when nothing comes any more, and when it is told to.
func TestGatherEnds(t *testing.T) {
	g := Gather{Pace: signalling}
	at := time.Unix(1_800_000_000, 0)
	now := func() time.Time { return at }
	begin := func() {
		for i := 0; !g.On(); i++ {
			if at = at.Add(time.Millisecond / 4); i > 10_000 {
				t.Fatal("4,000 a second do not gather")
			}
			g.Came(1)
			g.Next(now)
		}
	}
	begin()
	naps := 0
	for ; g.On(); naps++ {
		at = at.Add(g.nap)
		g.Next(now)
	}
	if naps > int(signalling.Look/signalling.Shortest) {
		t.Errorf("%d naps after the last datagram", naps)
	}
	begin()
	if g.Off(); g.On() {
		t.Error("it goes on")
	}
}
