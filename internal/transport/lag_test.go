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
		other.fd.close() // the kernel spreads sources over the rest
	}
	phone := dialPhone(t, "udp", addr(tr, 0))
	var fd uintptr
	_ = s.fd.raw.Control(func(f uintptr) { fd = f })
	s.lag.measure(fd, udpBatch) // the first question has nothing to look back on
	if got := tr.Lag(); got != 0 {
		t.Errorf("nothing has come, lag %v", got)
	}
	batch := newRecvBatch(false)
	// The kernel begins to take note of arrivals when it finds the time to.
	for try := 1; ; try++ {
		begin := time.Now()
		for range udpBatch + 1 {
			phone.say("x")
		}
		waited := make(chan struct{})
		time.AfterFunc(50*time.Millisecond, func() { close(waited) })
		<-waited
		read := func(want int) time.Duration {
			got, err := batch.recv(fd)
			if err != nil || got != want {
				t.Fatalf("%d datagrams, %v", got, err)
			}
			s.lag.measure(fd, got)
			return tr.Lag()
		}
		lag, most := read(udpBatch), time.Since(begin)
		if lag := read(1); lag != 0 {
			t.Errorf("the buffer is empty, lag %v", lag)
		}
		if lag >= 49*time.Millisecond && lag <= most {
			break
		}
		if try == 20 {
			t.Fatalf("lag %v of %v", lag, most)
		}
	}
	if _, err := batch.recv(fd); err != unix.EAGAIN {
		t.Error(err)
	}
}
