package transport

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// control holds one IP_PKTINFO or IPV6_PKTINFO message.
const controlSize = 64

// recvBatch is the memory that one reader hands to recvmmsg again and again.
type recvBatch struct {
	hdrs    [udpBatch]mmsghdr
	iovs    [udpBatch]unix.Iovec
	names   [udpBatch]sockaddr
	control [udpBatch][controlSize]byte
	buf     []byte
	v6      bool
}

func newRecvBatch(v6 bool) *recvBatch {
	r := &recvBatch{buf: make([]byte, udpBatch*datagramSize), v6: v6}
	for i := range r.hdrs {
		r.iovs[i].Base = &r.buf[i*datagramSize]
		r.iovs[i].SetLen(datagramSize)
		h := &r.hdrs[i].hdr
		h.Name = &r.names[i][0]
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
	}
	return r
}

// recv takes what is there, at most udpBatch datagrams, without waiting.
func (r *recvBatch) recv(fd uintptr) (int, error) {
	for i := range r.hdrs {
		h := &r.hdrs[i].hdr
		h.Namelen = uint32(len(r.names[i]))
		h.SetControllen(controlSize)
	}
	return mmsg(unix.SYS_RECVMMSG, fd, r.hdrs[:])
}

// datagram returns the i-th datagram with its source, and its destination as IP_PKTINFO told it (the zero Addr where it was not asked for).
func (r *recvBatch) datagram(i int) (b []byte, from netip.AddrPort, to netip.Addr) {
	h := &r.hdrs[i]
	at := i * datagramSize
	b = r.buf[at : at+int(h.len) : at+int(h.len)]
	return b, r.names[i].addrPort(r.v6), destination(r.control[i][:h.hdr.Controllen], r.v6)
}

// mmsg runs recvmmsg or sendmmsg once, without waiting, and says how many were done.
//
// Because neither waits (MSG_DONTWAIT), the scheduler is not told of the call: telling it wakes its monitor thread from sleep, each time, and that thread
// then looks around every 20 us, which cost a third of the CPU of a call (docs/adr/0004-udp-without-the-scheduler.md).
func mmsg(trap, fd uintptr, hdrs []mmsghdr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(hdrs))), uintptr(len(hdrs)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func wouldBlock(err error) bool { return errors.Is(err, syscall.EAGAIN) }

// sockaddr is a struct sockaddr_in or sockaddr_in6 as the kernel reads and writes it.
type sockaddr [unix.SizeofSockaddrInet6]byte

// makeSockaddr returns the address and how much of it counts.
func makeSockaddr(a netip.AddrPort) (s sockaddr, n int) {
	binary.BigEndian.PutUint16(s[2:], a.Port())
	if a.Addr().Is4() {
		binary.NativeEndian.PutUint16(s[:], unix.AF_INET)
		ip := a.Addr().As4()
		copy(s[4:], ip[:])
		return s, unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(s[:], unix.AF_INET6)
	ip := a.Addr().As16()
	copy(s[8:], ip[:])
	binary.NativeEndian.PutUint32(s[24:], zoneIndex(a.Addr()))
	return s, unix.SizeofSockaddrInet6
}

func (s *sockaddr) addrPort(v6 bool) netip.AddrPort {
	port := binary.BigEndian.Uint16(s[2:])
	if !v6 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s[4:8])), port)
	}
	a := netip.AddrFrom16([16]byte(s[8:24]))
	// Only a link-local address needs the interface it is valid on.
	if index := binary.NativeEndian.Uint32(s[24:]); index != 0 && a.IsLinkLocalUnicast() {
		a = a.WithZone(strconv.FormatUint(uint64(index), 10))
	}
	return netip.AddrPortFrom(a, port)
}

// zoneIndex reads a zone as addrPort writes it.
func zoneIndex(a netip.Addr) uint32 {
	n, _ := strconv.ParseUint(a.Zone(), 10, 32)
	return uint32(n)
}

// destination reads IP_PKTINFO or IPV6_PKTINFO.
func destination(control []byte, v6 bool) netip.Addr {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if int(h.Len) < unix.SizeofCmsghdr || int(h.Len) > len(control) {
			break
		}
		data := control[unix.CmsgLen(0):h.Len]
		switch {
		case !v6 && h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(data[4:8])) // ipi_spec_dst: ours, even if the datagram was broadcast
		case v6 && h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			a := netip.AddrFrom16([16]byte(data[:16]))
			if a.IsLinkLocalUnicast() {
				a = a.WithZone(strconv.FormatUint(uint64(binary.NativeEndian.Uint32(data[16:])), 10))
			}
			return a
		}
		control = control[min(len(control), unix.CmsgSpace(int(h.Len)-unix.CmsgLen(0))):]
	}
	return netip.Addr{}
}

// makeSource writes the control message that makes a datagram leave from the address from.
func makeSource(control *[controlSize]byte, from netip.Addr) (n int) {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	data := control[unix.CmsgLen(0):]
	if from.Is4() {
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		ip := from.As4()
		copy(data[4:8], ip[:])
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	}
	h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	ip := from.As16()
	copy(data[:16], ip[:])
	binary.NativeEndian.PutUint32(data[16:], zoneIndex(from))
	return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
}
