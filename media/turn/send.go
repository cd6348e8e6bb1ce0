package turn

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sender sends datagrams for one goroutine, at once or never: a full buffer loses one, as the network would. It never waits, so that the scheduler need
// not know (docs/adr/0004-udp-without-the-scheduler.md).
type sender struct {
	b    []byte
	to   [unix.SizeofSockaddrInet6]byte
	size uintptr
	sent bool
	call func(fd uintptr) // made once: it would be garbage each time
}

func newSender() *sender {
	s := new(sender)
	s.call = s.sendto
	return s
}

// send sends b from a socket that is of IPv6 or not.
func (s *sender) send(socket syscall.RawConn, ipv6 bool, b []byte, to netip.AddrPort) bool {
	s.b, s.sent = b, false
	binary.BigEndian.PutUint16(s.to[2:], to.Port())
	if ipv6 {
		binary.NativeEndian.PutUint16(s.to[:], unix.AF_INET6)
		ip := to.Addr().As16() // an IPv4 address in its mapped form
		copy(s.to[8:], ip[:])
		s.size = unix.SizeofSockaddrInet6
	} else {
		binary.NativeEndian.PutUint16(s.to[:], unix.AF_INET)
		ip := to.Addr().As4()
		copy(s.to[4:], ip[:])
		s.size = unix.SizeofSockaddrInet4
	}
	return socket.Control(s.call) == nil && s.sent
}

func (s *sender) sendto(fd uintptr) {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(s.b))), uintptr(len(s.b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
			uintptr(unsafe.Pointer(&s.to[0])), s.size)
		if errno != unix.EINTR {
			s.sent = errno == 0
			return
		}
	}
}
