package udp

import (
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller reads many sockets in one goroutine.
type Poller struct {
	epoll int
	wake  int // an eventfd: Close was called
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
}

// NewPoller starts one.
func NewPoller() (*Poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &Poller{epoll: epoll, wake: wake, done: make(chan struct{}), open: map[int32]*polled{}}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}); err != nil {
		_ = unix.Close(epoll)
		_ = unix.Close(wake)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	go p.run()
	return p, nil
}

// Add reads a socket from now on.
func (p *Poller) Add(s *Socket, h Handler) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[int32(s.fd)] = &polled{s, h}
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)})
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
		_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, s.fd, nil)
		_ = unix.Dup3(p.wake, s.fd, unix.O_CLOEXEC)
		p.left = append(p.left, left{s.fd, time.Now()})
	}
}

// Sweep closes the sockets that were removed a while ago. It is to be called now and then.
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
	one := [8]byte{1}
	_, _ = unix.Write(p.wake, one[:])
	<-p.done
}

func (p *Poller) run() {
	defer close(p.done)
	var events [waiting]unix.EpollEvent
	var ready [waiting]*polled
	buf := make([]byte, slot)
	for {
		n, err := unix.EpollWait(p.epoll, events[:], -1)
		if err != nil && err != unix.EINTR {
			break
		}
		count, stop := p.find(events[:max(n, 0)], ready[:])
		if stop {
			break
		}
		for _, e := range ready[:count] {
			p.drain(e, buf)
		}
		clear(ready[:count])
	}
	p.mu.Lock()
	for fd := range p.open {
		_ = unix.Close(int(fd))
	}
	clear(p.open)
	for _, l := range p.left {
		_ = unix.Close(l.fd)
	}
	p.left = nil
	p.mu.Unlock()
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.wake)
}

// find looks up the sockets that have something, under one lock for all of them.
func (p *Poller) find(events []unix.EpollEvent, ready []*polled) (n int, stop bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		if events[i].Fd == int32(p.wake) {
			return 0, true
		}
		if e := p.open[events[i].Fd]; e != nil {
			ready[n] = e
			n++
		}
	}
	return n, false
}

// drain reads what one socket has.
func (p *Poller) drain(e *polled, buf []byte) {
	var name [unix.SizeofSockaddrInet6]byte
	for range burst {
		size := uint32(len(name))
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(e.socket.fd), uintptr(unsafe.Pointer(&buf[Headroom])), Room+1, unix.MSG_DONTWAIT,
			uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&size)))
		if errno != 0 {
			return // nothing left, or an error of the network about some packet we sent
		}
		if n <= Room {
			e.handle(buf[Headroom:Headroom+int(n)], source(&name, e.socket.v6))
		}
	}
}
