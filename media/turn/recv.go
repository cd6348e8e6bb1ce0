package turn

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inbox reads a few datagrams at once from a socket that does not block. A call that brings fewer than it has room for has emptied the socket: whatever
// comes later wakes the poller again, so there is no need to ask once more and be told that there is nothing.
type inbox struct {
	headers [inboxSize]mmsghdr
	vectors [inboxSize]unix.Iovec
	names   [inboxSize][unix.SizeofSockaddrInet6]byte
	buffers [inboxSize][channelHeader + maxFrame + 1]byte // room for a header before what is read, and one byte so that too long is seen
	read    int                                           // datagrams that the last call brought
	next    int                                           // of these
}

// inboxSize is small: a relay is mostly one stream of a call, and has this memory for itself.
const inboxSize = 2

type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ [4]byte
}

func newInbox() *inbox {
	in := new(inbox)
	for i := range in.headers {
		h := &in.headers[i]
		in.vectors[i].Base = &in.buffers[i][channelHeader]
		in.vectors[i].SetLen(maxFrame + 1)
		h.Iov = &in.vectors[i]
		h.SetIovlen(1)
		h.Name = &in.names[i][0]
	}
	return in
}

// fill reads what there is. ok is false if there is nothing. The scheduler is not told of the call, for it never waits
// (docs/adr/0004-udp-without-the-scheduler.md).
func (in *inbox) fill(fd uintptr) (ok bool, err error) {
	in.next, in.read = 0, 0
	for i := range in.headers {
		in.headers[i].Namelen = uint32(len(in.names[i]))
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.headers[0])), inboxSize, unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return false, nil
		case errno != 0:
			return false, errno
		default:
			in.read = int(n)
			return true, nil
		}
	}
}

// emptied tells whether the last call took all there was.
func (in *inbox) emptied() bool { return in.read < inboxSize }

// pop gives the next datagram, behind room for a header, and its length.
func (in *inbox) pop() (b []byte, n int, from netip.AddrPort, ok bool) {
	if in.next == in.read {
		return nil, 0, from, false
	}
	i := in.next
	in.next++
	name := &in.names[i]
	port := binary.BigEndian.Uint16(name[2:])
	addr := netip.AddrFrom4([4]byte(name[4:8]))
	if binary.NativeEndian.Uint16(name[:]) == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(name[8:24]))
	}
	return in.buffers[i][:], int(in.headers[i].n), netip.AddrPortFrom(addr.Unmap(), port), true
}

var errReceive = errors.New("turn: a relay cannot be read")
