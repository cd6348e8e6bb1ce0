package transport

import (
	"runtime"
	"testing"

	"signalbox/internal/nap"
	"signalbox/internal/wire"
)

// A reader that finds batch after batch full has no time for a nap, but the poller is left in peace all the same: it would be woken by each datagram that comes meanwhile.
func TestGatherFullBatches(t *testing.T) {
	var (
		s             *udpSocket
		came          int
		begun, queued = make(chan struct{}), make(chan struct{})
		on            = make(chan bool, 1)
	)
	r := &recorder{answer: func(Flow, *wire.Request) {
		switch came++; came { // the reader's goroutine
		case 1:
			close(begun)
			<-queued
		case 2: // of the first full batch
			s.gather = nap.Gather{Pace: nap.Pace{Longest: gatherPace.Shortest, Shortest: gatherPace.Shortest, Look: 1}}
		case 2 + udpBatch:
			on <- s.gather.On()
		}
	}}
	tr, err := New(Config{UDP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(t.Context())
	s = tr.udp[0].sockets[0]
	for _, other := range tr.udp[0].sockets[1:] {
		other.fd.close() // the kernel spreads sources over the rest
	}
	tr.Start(r)
	phone := dialPhone(t, "udp", addr(tr, 0))
	phone.say(request(phone.via(""), "first"))
	<-begun
	for range 3 * udpBatch {
		phone.say(request(phone.via(""), "more"))
	}
	close(queued)
	if want := runtime.GOMAXPROCS(0) > 1; <-on != want {
		t.Error("the poller hears of every datagram")
	}
}
