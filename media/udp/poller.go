package udp

import (
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"signalbox/internal/nap"
)

// Poller reads many sockets in one goroutine: an epoll set of its own (ADR 4, ADR 10). The runtime's poller waits for a second set with the first in it, so
// that it can be left in peace while datagrams gather.
type Poller struct {
	gate   *os.File // the set that the runtime knows
	raw    syscall.RawConn
	fd     int // the set of sockets, and what gate waits for
	void   int // an eventfd that nobody writes to: what stands in for a socket that was left
	done   chan struct{}
	ending atomic.Bool
	gather nap.Gather

	panicked func(v any, from netip.AddrPort)

	mu   sync.Mutex
	open map[int32]*polled
	left []left
}

// left is a socket that is not read any more. Somebody may be about to send on it: its descriptor must not become another socket's yet.
type left struct {
	fd    int
	since time.Time
}

type polled struct {
	socket *Socket
	handle Handler
	in     *reader           // of a busy socket
	lost   func(Undelivered) // of one that reports
}

// NewPoller starts one. A panic of a Handler costs the datagram that brought it, and is told.
func NewPoller(panicked func(v any, from netip.AddrPort)) (*Poller, error) {
	p := &Poller{gather: nap.Gather{Pace: gatherPace}, fd: -1, void: -1, done: make(chan struct{}), panicked: panicked, open: map[int32]*polled{}}
	if err := p.make(); err != nil {
		p.free()
		return nil, err
	}
	go p.run()
	return p, nil
}

// make makes the sets.
func (p *Poller) make() (err error) {
	if p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	if p.void, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	gate, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	_ = unix.SetNonblock(gate, true) // makes the runtime wait for it
	p.gate = os.NewFile(uintptr(gate), "epoll")
	if p.raw, err = p.gate.SyscallConn(); err != nil {
		return err
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(gate, unix.EPOLL_CTL_ADD, p.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.fd)}))
}

// Add reads a socket from now on.
func (p *Poller) Add(s *Socket, h Handler) error { return p.add(&polled{socket: s, handle: h}) }

// AddBusy reads a socket on which many peers send, in batches.
func (p *Poller) AddBusy(s *Socket, h Handler) error {
	return p.add(&polled{socket: s, handle: h, in: newReader(s.v6)})
}

func (p *Poller) add(e *polled) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := e.socket
	p.open[int32(s.fd)] = e
	err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)})
	if err != nil {
		delete(p.open, int32(s.fd))
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// Remove stops reading a socket and frees its port. Its handler may be called once more. The descriptor, which leads to nothing from now on, is closed by the
// Sweep after next, when nobody can be about to send on it.
func (p *Poller) Remove(s *Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.open[int32(s.fd)]; e != nil && e.socket == s {
		delete(p.open, int32(s.fd))
		_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, s.fd, nil)
		_ = unix.Dup3(p.void, s.fd, unix.O_CLOEXEC)
		p.left = append(p.left, left{s.fd, time.Now()})
	}
}

// Sweep closes the descriptors of sockets that were removed a while ago. It is to be called now and then.
func (p *Poller) Sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.left) && now.Sub(p.left[n].since) >= linger {
		_ = unix.Close(p.left[n].fd)
		n++
	}
	p.left = slices.Delete(p.left, 0, n)
}

// Len is how many sockets are open.
func (p *Poller) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// Close ends the goroutine and closes all sockets.
func (p *Poller) Close() {
	p.ending.Store(true)
	_ = p.gate.Close()
	<-p.done
}

func (p *Poller) run() {
	defer close(p.done)
	var events [waiting]unix.EpollEvent
	var ready [waiting]*polled
	buf := make([]byte, slot)
	// It stays inside one Read: that nothing is ready is known without asking once more.
	_ = p.raw.Read(func(gate uintptr) bool {
		for !p.ending.Load() {
			n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&events[0])), waiting, 0, 0, 0)
			if errno != 0 {
				n = 0
			}
			count := p.find(events[:n], ready[:])
			for _, e := range ready[:count] {
				p.gather.Came(p.read(e, buf))
			}
			clear(ready[:count])
			if n == 0 && !p.rest(int(gate)) {
				return false
			}
		}
		return false
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for fd := range p.open {
		_ = unix.Close(int(fd))
	}
	for _, l := range p.left {
		_ = unix.Close(l.fd)
	}
	clear(p.open)
	p.left = nil
	p.free()
}

// free closes the sets.
func (p *Poller) free() {
	for _, fd := range []int{p.fd, p.void} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	if p.gate != nil {
		_ = p.gate.Close()
	}
}

// gatherPace is how long datagrams gather: jitter that no receiver of audio notices, whose buffers begin at 20 ms. 15 calls bring enough of them.
var gatherPace = nap.Pace{Longest: 2 * time.Millisecond, Shortest: 2 * time.Millisecond, Worth: 3, Look: 64 * time.Millisecond, Pause: time.Second}

// rest is what the reader does when nothing is ready: true says, look again; false, wait in the runtime's poller.
func (p *Poller) rest(gate int) bool {
	was := p.gather.On()
	on := p.gather.Next(time.Now)
	if on != was {
		events := uint32(unix.EPOLLIN)
		if on {
			events = 0
		}
		_ = unix.EpollCtl(gate, unix.EPOLL_CTL_MOD, p.fd, &unix.EpollEvent{Events: events, Fd: int32(p.fd)})
	}
	if on {
		p.gather.Nap()
	}
	return on || was // what came before the runtime waits again does not wake it
}

// find looks up the sockets that have something, under one lock for all of them.
func (p *Poller) find(events []unix.EpollEvent, ready []*polled) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		if e := p.open[events[i].Fd]; e != nil {
			ready[n] = e
			n++
		}
	}
	return n
}

// read takes one datagram of a socket, or a batch of a busy one: a phone sends one at a time, and epoll tells if there are more. It returns how many.
func (p *Poller) read(e *polled, buf []byte) int {
	if in := e.in; in != nil {
		in.recv(uintptr(e.socket.fd))
		for i := range in.n {
			if b, from, whole := in.datagram(i); whole {
				p.hand(e, b, from)
			}
		}
		return in.n
	}
	var name [unix.SizeofSockaddrInet6]byte
	size := uint32(len(name))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(e.socket.fd), uintptr(unsafe.Pointer(&buf[Headroom])), Room+1, unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&size)))
	if errno == 0 && n <= Room { // an error is the network's, about some packet we sent
		p.hand(e, buf[Headroom:Headroom+int(n)], source(&name, e.socket.v6))
	}
	if errno != 0 && e.lost != nil {
		p.hearErrors(e) // to be woken for nothing means that there is one
	}
	return 1
}

// hand gives one datagram to its handler.
func (p *Poller) hand(e *polled, b []byte, from netip.AddrPort) {
	defer func() {
		if v := recover(); v != nil {
			p.panicked(v, from)
		}
	}()
	e.handle(b, from)
}
