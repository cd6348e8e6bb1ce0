package udp

import (
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller reads many sockets in one goroutine: an epoll set of its own, which the runtime's poller waits for as for one file (ADR 4, ADR 10).
type Poller struct {
	epoll *os.File
	raw   syscall.RawConn
	fd    int
	void  int // an eventfd that nobody writes to: what stands in for a socket that was left
	done  chan struct{}

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
	in     *reader // of a busy socket
}

// NewPoller starts one.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	void, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	_ = unix.SetNonblock(fd, true) // makes the runtime wait for it
	p := &Poller{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, void: void, done: make(chan struct{}), open: map[int32]*polled{}}
	if p.raw, err = p.epoll.SyscallConn(); err != nil {
		_ = p.epoll.Close()
		_ = unix.Close(void)
		return nil, err
	}
	go p.run()
	return p, nil
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
	_ = p.epoll.Close()
	<-p.done
}

func (p *Poller) run() {
	defer close(p.done)
	var events [waiting]unix.EpollEvent
	var ready [waiting]*polled
	buf := make([]byte, slot)
	// It stays inside one Read: that nothing is ready is known without asking once more.
	_ = p.raw.Read(func(fd uintptr) bool {
		for {
			n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events[0])), waiting, 0, 0, 0)
			if errno != 0 || n == 0 {
				return false
			}
			count := p.find(events[:n], ready[:])
			for _, e := range ready[:count] {
				e.read(buf)
			}
			clear(ready[:count])
		}
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
	_ = unix.Close(p.void)
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

// read takes one datagram of a socket, or a batch of a busy one: a phone sends one at a time, and epoll tells if there are more.
func (e *polled) read(buf []byte) {
	if e.in != nil {
		e.in.recv(uintptr(e.socket.fd))
		e.in.each(e.handle)
		return
	}
	var name [unix.SizeofSockaddrInet6]byte
	size := uint32(len(name))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(e.socket.fd), uintptr(unsafe.Pointer(&buf[Headroom])), Room+1, unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&size)))
	if errno == 0 && n <= Room { // an error is the network's, about some packet we sent
		e.handle(buf[Headroom:Headroom+int(n)], source(&name, e.socket.v6))
	}
}
