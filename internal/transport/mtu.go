package transport

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// TooLarge tells whether a request of that size must go over a connection instead of a UDP flow: it is within 200 bytes of the path's MTU, or larger than 1,300. The kernel knows
// the MTU of the first link, and of the path when a router has complained; of neither it is known that the path bears more than the usual. RFC 3261, 18.1.1
func TooLarge(f Flow, size int) bool {
	switch {
	case size <= smallRequest:
		return false
	case size > largeRequest:
		return true
	}
	path, ok := f.(interface{ MTU() int })
	if !ok {
		return false
	}
	mtu := path.MTU()
	return mtu > 0 && size > mtu-mtuReserve
}

// MTU is what the kernel knows of the path, 0 if nothing. It is asked once in routeAge.
func (f *udpFlow) MTU() int {
	now := uint64(time.Since(f.l.t.begun)/routeAge) + 1
	if known := f.mtu.Load(); known>>32 == now {
		return int(uint32(known))
	}
	mtu := pathMTU(f.reply)
	f.mtu.Store(now<<32 | uint64(uint32(mtu)))
	return mtu
}

// pathMTU asks the kernel. Nothing is sent (ip(7), IP_MTU).
func pathMTU(to netip.AddrPort) int {
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
	var addr unix.Sockaddr
	if to.Addr().Is4() {
		addr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
		addr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16(), ZoneId: zoneIndex(to.Addr())}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if unix.Connect(fd, addr) != nil {
		return 0
	}
	mtu, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		return 0
	}
	return mtu
}
