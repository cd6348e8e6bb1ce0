package udp

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Handler takes one datagram. b lies in a buffer with Headroom bytes before it and is valid during the call only; all of Room may be written to.
type Handler func(b []byte, from netip.AddrPort)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

const slot = Headroom + Room + 64 // and room for an authentication tag behind

// reader is the memory of one goroutine that reads.
type reader struct {
	hdrs  [batch]mmsghdr
	iovs  [batch]unix.Iovec
	names [batch][unix.SizeofSockaddrInet6]byte
	buf   []byte
	n     int
	v6    bool
}

func newReader(v6 bool) *reader {
	r := &reader{buf: make([]byte, batch*slot), v6: v6}
	for i := range r.hdrs {
		r.iovs[i].Base = &r.buf[i*slot+Headroom]
		r.iovs[i].SetLen(Room)
		h := &r.hdrs[i].hdr
		h.Name, h.Iov = &r.names[i][0], &r.iovs[i]
		h.SetIovlen(1)
	}
	return r
}

// recv takes what is there, at most a batch; if there is more, epoll tells.
func (r *reader) recv(fd uintptr) {
	for i := range r.hdrs {
		r.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		r.hdrs[i].hdr.Flags = 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.hdrs[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	r.n = 0
	if errno == 0 {
		r.n = int(n)
	}
}

// datagram is one of those that were taken; whole is false if it was too long.
func (r *reader) datagram(i int) (b []byte, from netip.AddrPort, whole bool) {
	at := i*slot + Headroom
	return r.buf[at : at+int(r.hdrs[i].len) : (i+1)*slot], source(&r.names[i], r.v6), r.hdrs[i].hdr.Flags&unix.MSG_TRUNC == 0
}
