package transport

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The age of what waits is known once a batch is full, and forgotten when the buffer is empty.
func TestLag(t *testing.T) {
	tr, err := New(Config{UDP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(t.Context())
	s := tr.udp[0].sockets[0]
	for _, other := range tr.udp[0].sockets[1:] {
		_ = other.conn.Close() // the kernel spreads sources over the rest
	}
	phone := dialPhone(t, "udp", addr(tr, 0))
	var fd uintptr
	_ = s.raw.Control(func(f uintptr) { fd = f })
	s.lag.measure(fd, udpBatch) // the first question has nothing to look back on
	if got := tr.Lag(); got != 0 {
		t.Errorf("nothing has come, lag %v", got)
	}
	begin := time.Now()
	const n = udpBatch + 1
	for range n {
		phone.say("x")
	}
	waited := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { close(waited) })
	<-waited
	batch := newRecvBatch(false)
	for _, want := range []int{udpBatch, 1} {
		got, err := batch.recv(fd)
		if err != nil || got != want {
			t.Fatalf("%d datagrams, %v", got, err)
		}
		s.lag.measure(fd, got)
		switch lag := tr.Lag(); {
		case want < udpBatch && lag != 0:
			t.Errorf("the buffer is empty, lag %v", lag)
		case want == udpBatch && (lag < 49*time.Millisecond || lag > time.Since(begin)):
			t.Errorf("lag %v of %v", lag, time.Since(begin))
		}
	}
	if _, err := batch.recv(fd); err != unix.EAGAIN {
		t.Error(err)
	}
}
