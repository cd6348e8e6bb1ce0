package udp

import (
	"net/netip"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Handler takes one datagram. b lies in a buffer with Headroom bytes before it and is valid during the call only; all of Room may be written to.
type Handler func(b []byte, from netip.AddrPort)

// Listener is one port, read by several goroutines with a socket each.
type Listener struct {
	sockets []*Socket
	files   []*os.File // own the descriptors: closing one ends its reader
	readers sync.WaitGroup
	once    sync.Once
}

// Listen opens a port n times; port 0 chooses a free one. The first time is without SO_REUSEPORT, so that another program that did the same would be noticed: they
// would share the port, each with half of the packets.
func Listen(port uint16, n int) (*Listener, error) {
	l := &Listener{}
	for i := range max(n, 1) {
		s, err := open(port, i > 0)
		if err == nil && i == 0 {
			err = s.share()
		}
		if err != nil {
			l.Close()
			return nil, os.NewSyscallError("bind", err)
		}
		port = s.port
		l.sockets = append(l.sockets, s)
		l.files = append(l.files, os.NewFile(uintptr(s.fd), "udp"))
	}
	return l, nil
}

// Port is the port that was opened.
func (l *Listener) Port() uint16 { return l.sockets[0].port }

// Socket is one to send from; all have the same address.
func (l *Listener) Socket() *Socket { return l.sockets[0] }

// Start begins to read. handler is asked for a Handler for each reader, so that each can have memory of its own.
func (l *Listener) Start(handler func(shard int) Handler) error {
	for i, f := range l.files {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		h := handler(i)
		l.readers.Go(func() {
			r := newReader(l.sockets[i].v6)
			// It stays inside one Read: a batch that was not full has emptied the socket (ADR 4).
			_ = raw.Read(func(fd uintptr) bool {
				for r.recv(fd) {
					r.each(h)
				}
				r.each(h)
				return false
			})
		})
	}
	return nil
}

// Close ends the readers and closes the sockets.
func (l *Listener) Close() {
	l.once.Do(func() {
		for _, f := range l.files {
			_ = f.Close()
		}
		l.readers.Wait()
	})
}

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

// recv takes what is there. It tells whether there may be more.
func (r *reader) recv(fd uintptr) bool {
	for i := range r.hdrs {
		r.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		r.hdrs[i].hdr.Flags = 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.hdrs[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	r.n = 0
	if errno == 0 {
		r.n = int(n)
	}
	return r.n == batch
}

func (r *reader) each(h Handler) {
	for i := range r.n {
		if r.hdrs[i].hdr.Flags&unix.MSG_TRUNC != 0 {
			continue
		}
		at := i*slot + Headroom
		h(r.buf[at:at+int(r.hdrs[i].len):(i+1)*slot], source(&r.names[i], r.v6))
	}
}
