package transport

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// udpFD is a UDP socket that the runtime's poller does not watch, and what the poller watches instead: an epoll instance with the socket in it, for reading.
//
// The poller watches whatever it knows for writing too, and the kernel says that a UDP socket can be written each time that one of its datagrams has been taken, by
// the network card or by a receiver on this machine: a thread would wake up for each that we send (docs/adr/0004-udp-without-the-scheduler.md).
type udpFD struct {
	socket, readable *os.File
	raw              syscall.RawConn // of socket: to call with the descriptor
	wait             syscall.RawConn // of readable: to wait by
}

// newUDPFD takes the socket of c out of the poller. It closes c.
func newUDPFD(c *net.UDPConn) (f *udpFD, err error) {
	defer func() {
		_ = c.Close()
		if err != nil && f != nil {
			f.close()
		}
	}()
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	f = new(udpFD)
	if f.socket, err = detach(raw); err != nil {
		return f, err
	}
	if f.raw, err = f.socket.SyscallConn(); err != nil {
		return f, err
	}
	if f.readable, err = watch(f.raw); err != nil {
		return f, err
	}
	f.wait, err = f.readable.SyscallConn()
	return f, err
}

// detach returns another descriptor of a socket. Because it is said to block, os.NewFile keeps it from the poller; all our calls are MSG_DONTWAIT.
func detach(raw syscall.RawConn) (*os.File, error) {
	other := -1
	err := control(raw, func(fd int) (err error) {
		if other, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.SetNonblock(other, false)
	})
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(other), "udp"), nil
}

// watch returns an epoll instance that can be read when the socket can.
func watch(raw syscall.RawConn) (*os.File, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	err = control(raw, func(fd int) error {
		return unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: arrivals, Fd: int32(fd)})
	})
	if err == nil {
		err = unix.SetNonblock(ep, true) // what os.NewFile knows a descriptor by that can be polled
	}
	if err != nil {
		_ = unix.Close(ep)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return os.NewFile(uintptr(ep), "udp readable"), nil
}

// arrivals is what an epoll instance watches a socket for.
const arrivals = unix.EPOLLIN | unix.EPOLLET

// watchFor changes what wakes the reader: arrivals from now on, or 0, nothing.
func (f *udpFD) watchFor(events uint32) {
	_ = f.raw.Control(func(fd uintptr) {
		_ = f.wait.Control(func(ep uintptr) {
			_ = unix.EpollCtl(int(ep), unix.EPOLL_CTL_MOD, int(fd), &unix.EpollEvent{Events: events, Fd: int32(fd)})
		})
	})
}

// interrupt ends a wait for something to read, and all later ones.
func (f *udpFD) interrupt() { _ = f.readable.SetReadDeadline(time.Unix(1, 0)) }

// close closes both, the socket once nobody uses it any more.
func (f *udpFD) close() {
	for _, file := range []*os.File{f.readable, f.socket} {
		if file != nil {
			_ = file.Close()
		}
	}
}

// awaitWritable waits until the socket takes more, at most so long that closing it is noticed.
func awaitWritable(fd uintptr) {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	_, _ = unix.Poll(p, int(lookAgain/time.Millisecond))
}

// ended tells whether a wait was interrupted for good.
func ended(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}
