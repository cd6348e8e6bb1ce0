package transport

import (
	"bytes"
	"net/netip"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"signalbox/internal/wire"
)

// ICMP errors come by a queue of the socket (IP_RECVERR), each with the beginning of the datagram that it is about. Whoever knows our address may forge
// them; but not the branch in that beginning, which only the next hop has seen. What quotes less is ignored: the transaction's timer finds out anyway.
// RFC 3261, 18.4

// bounced tells whether a system call only reports that an earlier datagram, of any flow, did not arrive.
func bounced(err error) bool {
	errno, _ := err.(syscall.Errno)
	switch errno {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EPROTO, unix.EOPNOTSUPP, unix.EMSGSIZE, unix.EACCES:
		return true
	}
	return false
}

// askForErrors makes the kernel queue ICMP errors.
func askForErrors(fd int, v4 bool) error {
	if v4 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
}

// hearErrors empties the socket's queue of errors, as far as maxErrors reaches: more come with the next one.
func (s *udpSocket) hearErrors(fd uintptr) {
	s.queue.bounced.Store(false)
	var quoted, control [errorSize]byte
	for range maxErrors {
		n, oobn, _, to, err := unix.Recvmsg(int(fd), quoted[:], control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		if !unreachable(control[:oobn]) {
			continue
		}
		s.l.t.dropped(wire.UDP, Unreachable)
		if method, branch, ok := quotedRequest(quoted[:n]); ok {
			s.l.t.unreachable(sockaddrPort(to), method, branch)
		}
	}
}

// unreachable tells the receiver that a request did not arrive.
func (t *Transport) unreachable(to netip.AddrPort, method, branch string) {
	defer func() {
		if v := recover(); v != nil {
			t.dropped(wire.UDP, Panicked)
			t.log.Error("panic while an ICMP error was received", "about", to, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	t.receiver.ReceiveUnreachable(to, method, branch)
}

// lost tells the receiver that the kernel did not send a request. RFC 3261, 18.4
func (t *Transport) lost(d datagram) {
	if method, branch, ok := quotedRequest(d.b); ok {
		t.unreachable(d.flow.id.Remote, method, branch)
	}
}

// unreachable tells whether an error is one that the sender must hear of: host, network, port or protocol unreachable, or a parameter problem.
// RFC 3261, 18.4
func unreachable(control []byte) bool {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if int(h.Len) < unix.SizeofCmsghdr || int(h.Len) > len(control) {
			return false
		}
		data := control[unix.CmsgLen(0):h.Len]
		ours := h.Level == unix.IPPROTO_IP && h.Type == unix.IP_RECVERR || h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_RECVERR
		if ours && len(data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			origin, kind, code := data[4], data[5], data[6]
			switch origin {
			case unix.SO_EE_ORIGIN_ICMP:
				return kind == 3 && code != 4 || kind == 12 // 3, 4 is about the size, which the path finds out
			case unix.SO_EE_ORIGIN_ICMP6:
				return kind == 1 || kind == 4
			}
			return false
		}
		control = control[min(len(control), unix.CmsgSpace(int(h.Len)-unix.CmsgLen(0))):]
	}
	return false
}

// quotedRequest reads the method and the branch of the top Via, the one that we have put there, off the beginning of a datagram. Other headers may stand
// before it: our Record-Route in a call.
func quotedRequest(b []byte) (method, branch string, ok bool) {
	line, rest, _ := bytes.Cut(b, []byte("\r\n"))
	name, _, _ := bytes.Cut(line, []byte(" "))
	if bytes.HasPrefix(name, []byte("SIP/")) {
		return "", "", false
	}
	for {
		header, after, whole := bytes.Cut(rest, []byte("\r\n"))
		if !whole || len(header) == 0 {
			return "", "", false
		}
		if via, found := bytes.CutPrefix(header, []byte("Via: ")); found {
			_, value, found := bytes.Cut(via, []byte(";branch="))
			value, _, _ = bytes.Cut(value, []byte(";"))
			return string(name), string(value), found && len(value) > 0
		}
		rest = after
	}
}

// sockaddrPort is where the datagram was sent to.
func sockaddrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
