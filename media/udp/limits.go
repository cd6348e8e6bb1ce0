package udp

import "time"

const (
	// batch datagrams are read by one system call: 300 calls bring as many in a nap.
	batch = 32

	// Room is the largest datagram we read: Ethernet's MTU; RTP keeps below, and nobody may send more on our account.
	Room = 1500

	// Headroom before a datagram, for a header that grows when it is rewritten.
	Headroom = 64

	// waiting sockets are fetched from epoll at once.
	waiting = 64

	// receiveBuffer of a shared port, in bytes: 200 ms of 1,000 calls. The kernel may grant less (net.core.rmem_max).
	receiveBuffer = 4 << 20

	// maxErrors are taken from a socket's queue at once, each with errorControl bytes of what the kernel says besides.
	maxErrors    = 16
	errorControl = 128

	// linger is how long a descriptor outlives its socket: far longer than anybody takes from looking at it to the end of a system call.
	linger = 500 * time.Millisecond
)
