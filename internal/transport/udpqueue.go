package transport

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// udpQueue holds datagrams on their way out of one socket. Whoever finds it unattended empties it, with as few system calls as it takes; what comes
// meanwhile goes along. So no sender waits for another, and two datagrams of one sender to one address keep their order (all to one address
// use one queue).
type udpQueue struct {
	raw  syscall.RawConn
	drop func(Reason)
	lost func(datagram) // that the kernel refuses to send

	bounced atomic.Bool // sending reported an ICMP error, which waits in the socket's queue

	mu       sync.Mutex
	pending  []datagram
	attended bool // somebody is emptying the queue
	inFlight int  // what the attendant has taken

	// The attendant's own.
	sending []datagram
	sent    int
	errno   error
	bounces int // in a row
	batch   sendBatch
	step    func(fd uintptr) bool // one sendmmsg, never waits
	blocked chan struct{}         // hands the attendance to run
}

type datagram struct {
	b    []byte
	flow *udpFlow
}

// sendBatch is the memory that the attendant hands to sendmmsg.
type sendBatch struct {
	hdrs [udpBatch]mmsghdr
	iovs [udpBatch]unix.Iovec
}

func newUDPQueue(raw syscall.RawConn, drop func(Reason), lost func(datagram)) *udpQueue {
	q := &udpQueue{raw: raw, drop: drop, lost: lost, blocked: make(chan struct{}, 1)}
	q.step = func(fd uintptr) bool {
		q.send(fd)
		return true
	}
	return q
}

// push queues one datagram.
func (q *udpQueue) push(b []byte, f *udpFlow) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending)+q.inFlight >= maxDatagrams {
		q.drop(QueueFull)
		return ErrFull
	}
	q.pending = append(q.pending, datagram{b, f})
	return nil
}

// flush empties the queue, unless somebody is at it already.
func (q *udpQueue) flush() {
	q.mu.Lock()
	if q.attended || len(q.pending) == 0 {
		q.mu.Unlock()
		return
	}
	q.attended = true
	q.mu.Unlock()
	q.attend(false)
}

// attend sends until nothing is pending. If the socket's buffer is full, run takes over, which is patient.
func (q *udpQueue) attend(patient bool) {
	for {
		for q.sent < len(q.sending) {
			err := q.raw.Write(q.step)
			full := wouldBlock(q.errno)
			if full && !patient {
				q.blocked <- struct{}{} // never blocks: there is one attendant
				return
			}
			if full && err == nil {
				err = q.raw.Control(awaitWritable)
			}
			if err != nil {
				q.sent = len(q.sending) // the socket is closed
			}
		}
		clear(q.sending)

		q.mu.Lock()
		q.sending, q.pending = q.pending, q.sending[:0]
		q.sent, q.inFlight = 0, len(q.sending)
		if q.inFlight == 0 {
			q.attended = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
	}
}

// run waits on behalf of attendants until the kernel takes more.
func (q *udpQueue) run(done <-chan struct{}) {
	for {
		select {
		case <-q.blocked:
			q.attend(true)
		case <-done:
			return
		}
	}
}

// send makes one system call.
func (q *udpQueue) send(fd uintptr) {
	todo := q.sending[q.sent:]
	todo = todo[:min(len(todo), udpBatch)]
	for i, d := range todo {
		d.flow.fill(&q.batch.hdrs[i].hdr, &q.batch.iovs[i], d.b)
	}
	n, err := mmsg(unix.SYS_SENDMMSG, fd, q.batch.hdrs[:len(todo)])
	q.errno = err
	switch {
	case err == nil || wouldBlock(err):
	case bounced(err) && q.bounces < maxBounces:
		// The news of another datagram: this one has not been looked at.
		q.bounces++
		q.bounced.Store(true)
		return
	default:
		// The first could not be sent, for a reason of its own (no route, too large, a firewall). The others still can.
		q.sent++
		q.bounces = 0
		q.drop(Unreachable)
		q.lost(todo[0])
		return
	}
	q.bounces = 0
	q.sent += n
}
