package transport

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lag is how long the datagrams of one socket have waited in its buffer before they are read, in nanoseconds.
type lag struct{ atomic.Int64 }

// Lag is how long the datagrams that are being read have waited, on the socket that is furthest behind; 0 where none has more than one batch waiting.
func (t *Transport) Lag() time.Duration {
	var most int64
	for _, l := range t.udp {
		for _, s := range l.sockets {
			most = max(most, s.lag.Load())
		}
	}
	return time.Duration(most)
}

// measure follows every read of n datagrams. A batch that is not full has emptied the buffer. Only after a full one the kernel is asked when its last datagram arrived.
func (g *lag) measure(fd uintptr, n int) {
	if n < udpBatch {
		if g.Load() != 0 {
			g.Store(0)
		}
		return
	}
	if arrived, ok := lastArrival(fd); ok {
		g.Store(max(0, int64(time.Since(arrived))))
	}
}

// lastArrival is when the datagram that was read last from the socket reached the machine (socket(7), SIOCGSTAMPNS; the form of the call with 64 bits everywhere is of Linux 5.1).
// The first call has the kernel take note of it from then on.
func lastArrival(fd uintptr) (at time.Time, ok bool) {
	var ts [2]int64 // seconds, nanoseconds
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SIOCGSTAMPNS_NEW, uintptr(unsafe.Pointer(&ts))); errno != 0 {
		return time.Time{}, false
	}
	return time.Unix(ts[0], ts[1]), true
}
