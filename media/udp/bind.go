package udp

import (
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bind opens a socket at an address. Without an address it is that of all, IPv4 and IPv6 at once where the machine has both; port 0 chooses a free one.
func Bind(at netip.AddrPort) (*Socket, error) {
	s, err := bindTo(at, false)
	return s, os.NewSyscallError("bind", err)
}

// BindShared opens an address n times, and the kernel spreads its peers over the sockets. The first time is without SO_REUSEPORT, as in Listen.
func BindShared(at netip.AddrPort, n int) (list []*Socket, err error) {
	for i := range max(n, 1) {
		s, err := bindTo(at, i > 0)
		if err == nil && i == 0 {
			if err = s.share(); err != nil {
				s.Close()
			}
		}
		if err != nil {
			for _, s := range list {
				s.Close()
			}
			return nil, os.NewSyscallError("bind", err)
		}
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, receiveBuffer) // less is worse, not wrong
		at = netip.AddrPortFrom(at.Addr(), s.port)
		list = append(list, s)
	}
	return list, nil
}

// Close closes a socket that no Poller has.
func (s *Socket) Close() { _ = unix.Close(s.fd) }

func bindTo(at netip.AddrPort, shared bool) (*Socket, error) {
	ip := at.Addr().Unmap().WithZone("")
	if !ip.IsValid() || ip == netip.IPv6Unspecified() {
		return open(at.Port(), shared)
	}
	family, local := unix.AF_INET, unix.Sockaddr(nil)
	if ip.Is6() {
		family, local = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: ip.As16()}
	} else {
		local = &unix.SockaddrInet4{Port: int(at.Port()), Addr: ip.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &Socket{fd: fd, v6: ip.Is6()}
	if shared {
		err = s.share()
	}
	if err == nil {
		err = s.bindLocal(local)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// bindLocal binds to an address and notes the port.
func (s *Socket) bindLocal(local unix.Sockaddr) error {
	if err := unix.Bind(s.fd, local); err != nil {
		return err
	}
	name, err := unix.Getsockname(s.fd)
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		s.port = uint16(name.Port)
	case *unix.SockaddrInet6:
		s.port = uint16(name.Port)
	}
	return err
}

// Before is b with the n bytes before it, at most Headroom: b is what a Handler was given, as it was.
func Before(b []byte, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), -n)), n+cap(b))[:n+len(b)]
}
