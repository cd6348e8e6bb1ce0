package udp

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// Datagrams gather while naps find several of them and no fewer come because of it. What is thin is read at once, and so are a few peers who wait for each answer.
func TestGather(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rate  int // datagrams a second that come by themselves
		peers int // who send the next when the last was answered, after half a millisecond
		want  bool
	}{
		{"a call", 100, 0, false},
		{"ten calls", 1000, 0, false},
		{"twenty calls", 2000, 0, true},
		{"1,000 calls", 100_000, 0, true},
		{"a peer waits", 0, 1, false},
		{"a crowd waits", 0, 16, false},
		{"200 calls, and a peer waits", 20_000, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var g gather
			begin := time.Unix(1_800_000_000, 0)
			at, sent, awake := begin, 0, time.Duration(0)
			const long = 20 * time.Second
			for at.Sub(begin) < long {
				step := time.Millisecond / 2
				if g.on {
					step = gatherTime
				} else {
					awake += step
				}
				at = at.Add(step)
				due := int(at.Sub(begin).Seconds() * float64(tt.rate))
				g.came += due - sent + tt.peers
				sent = due
				g.next(at)
			}
			if gathered := awake < long/10; gathered != tt.want || !gathered && awake < long*8/10 {
				t.Errorf("awake %v of %v", awake, long)
			}
		})
	}
}

// A Poller that gathers loses nothing and keeps the order, though more comes in one nap than a batch holds, on the socket of a phone and on a shared one.
func TestGatheringLosesNothing(t *testing.T) {
	p, err := NewPoller(fail(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var sockets [2]*Socket
	came := make(chan uint32, 3*batch)
	for i, add := range []func(*Socket, Handler) error{p.Add, p.AddBusy} {
		if sockets[i], err = open(0, false); err != nil {
			t.Fatal(err)
		}
		if err := add(sockets[i], func(b []byte, _ netip.AddrPort) { came <- binary.BigEndian.Uint32(b) }); err != nil {
			t.Fatal(err)
		}
	}
	from, err := open(0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var n uint32
	burst := func(s *Socket) {
		to := from.Addr(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.Port()))
		for range 2*batch + 1 {
			n++
			if !from.Send(binary.BigEndian.AppendUint32(nil, n), to) {
				t.Fatal("not sent")
			}
		}
		for i := range uint32(2*batch + 1) {
			if got, want := <-came, n-2*batch+i; got != want {
				t.Fatalf("datagram %d came, not %d", got, want)
			}
		}
	}
	for _, s := range sockets {
		for begin := time.Now(); time.Since(begin) < 3*gatherLook; { // it begins to gather after the first look
			burst(s)
		}
	}
}
