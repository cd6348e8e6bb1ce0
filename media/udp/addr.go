package udp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addr is a destination as the kernel wants it, made once and used for every packet.
type Addr struct {
	raw  [unix.SizeofSockaddrInet6]byte
	size uintptr
	name netip.AddrPort
}

// Name is the address that the Addr was made from.
func (a *Addr) Name() netip.AddrPort { return a.name }

// Addr makes a destination for this socket.
func (s *Socket) Addr(to netip.AddrPort) *Addr {
	a := &Addr{name: to}
	ip := to.Addr().Unmap()
	binary.BigEndian.PutUint16(a.raw[2:], to.Port())
	if s.v6 {
		binary.NativeEndian.PutUint16(a.raw[:], unix.AF_INET6)
		b := ip.As16() // an IPv4 address in its mapped form
		copy(a.raw[8:], b[:])
		a.size = unix.SizeofSockaddrInet6
		return a
	}
	binary.NativeEndian.PutUint16(a.raw[:], unix.AF_INET)
	if ip.Is4() {
		b := ip.As4()
		copy(a.raw[4:], b[:])
	}
	a.size = unix.SizeofSockaddrInet4
	return a
}

// source reads the address of a sender.
func source(raw *[unix.SizeofSockaddrInet6]byte, v6 bool) netip.AddrPort {
	port := binary.BigEndian.Uint16(raw[2:])
	if v6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])).Unmap(), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), port)
}

// Socket is one UDP socket. Send may be called from anywhere.
type Socket struct {
	fd   int
	v6   bool
	port uint16
}

// Port is the local port.
func (s *Socket) Port() uint16 { return s.port }

// Send sends one datagram, at once or never: a full buffer loses it, as the network would. The result tells whether it was sent. It never waits, so that the
// scheduler need not know (ADR 4).
func (s *Socket) Send(b []byte, to *Addr) bool {
	if to == nil {
		return false
	}
	errno := s.send(b, to)
	if errno != 0 && errno != unix.EAGAIN {
		errno = s.send(b, to) // the first may have been told of an earlier datagram that did not arrive
	}
	return errno == 0
}

func (s *Socket) send(b []byte, to *Addr) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
		uintptr(unsafe.Pointer(&to.raw[0])), to.size)
	return errno
}

// open binds a socket to a port of all addresses, IPv4 and IPv6 at once where the machine has both.
func open(port uint16, shared bool) (*Socket, error) {
	s, err := openFamily(port, shared, true)
	if err == unix.EAFNOSUPPORT || err == unix.EADDRNOTAVAIL {
		s, err = openFamily(port, shared, false)
	}
	return s, err
}

func openFamily(port uint16, shared, v6 bool) (*Socket, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &Socket{fd: fd, v6: v6, port: port}
	if err := s.bind(port, shared); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// share lets other sockets have the port too.
func (s *Socket) share() error {
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // less is worse, not wrong
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

func (s *Socket) bind(port uint16, shared bool) error {
	if s.v6 {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return err
		}
	}
	if shared {
		if err := s.share(); err != nil {
			return err
		}
	}
	var local unix.Sockaddr = &unix.SockaddrInet4{Port: int(port)}
	if s.v6 {
		local = &unix.SockaddrInet6{Port: int(port)}
	}
	return s.bindLocal(local)
}
