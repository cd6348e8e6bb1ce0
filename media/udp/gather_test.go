package udp

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

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
		for begin := time.Now(); time.Since(begin) < 3*gatherPace.Look; { // it begins to gather after the first look
			burst(s)
		}
	}
}
