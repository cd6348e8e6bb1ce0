package udp

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Undelivered is a datagram of ours that did not arrive, as an ICMP error tells, or the kernel itself where it is too large for the way.
type Undelivered struct {
	To         netip.AddrPort
	Type, Code uint8  // of ICMP or ICMPv6, by the family of To
	MTU        uint32 // of the next link, where the datagram was too large for it; otherwise 0
}

// AddReporting is as Add, and lost hears of datagrams that did not arrive, on the same goroutine.
func (p *Poller) AddReporting(s *Socket, h Handler, lost func(Undelivered)) error {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if s.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	if err := unix.SetsockoptInt(s.fd, level, option, 1); err != nil {
		return err
	}
	return p.add(&polled{socket: s, handle: h, lost: lost})
}

// hearErrors takes what is in the socket's queue of errors, maxErrors of them at once: epoll tells of the others.
func (p *Poller) hearErrors(e *polled) {
	var control [errorControl]byte
	var name [unix.SizeofSockaddrInet6]byte
	for range maxErrors {
		m := unix.Msghdr{Name: &name[0], Namelen: uint32(len(name)), Control: &control[0]}
		m.SetControllen(len(control))
		if _, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(e.socket.fd), uintptr(unsafe.Pointer(&m)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT); errno != 0 {
			return
		}
		to := source(&name, e.socket.v6)
		if u, ok := readError(control[:min(int(m.Controllen), len(control))], to); ok {
			p.tell(e, u)
		}
	}
}

func (p *Poller) tell(e *polled, u Undelivered) {
	defer func() {
		if v := recover(); v != nil {
			p.panicked(v, u.To)
		}
	}()
	e.lost(u)
}

// readError reads struct sock_extended_err (ip(7), IP_RECVERR).
func readError(control []byte, to netip.AddrPort) (u Undelivered, ok bool) {
	list, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return u, false
	}
	for _, c := range list {
		ip := c.Header.Level == unix.IPPROTO_IP && c.Header.Type == unix.IP_RECVERR || c.Header.Level == unix.IPPROTO_IPV6 && c.Header.Type == unix.IPV6_RECVERR
		if !ip || len(c.Data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			continue
		}
		var s unix.SockExtendedErr
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Sizeof(s)), c.Data)
		u = Undelivered{To: to, Type: s.Type, Code: s.Code}
		tooBig, code := uint8(3), uint8(4) // RFC 1191, 4
		if to.Addr().Is6() {
			tooBig, code = 2, 0 // RFC 4443, 3.2
		}
		switch {
		case s.Origin == unix.SO_EE_ORIGIN_LOCAL && unix.Errno(s.Errno) == unix.EMSGSIZE:
			u.Type, u.Code, u.MTU = tooBig, code, s.Info
		case s.Origin != unix.SO_EE_ORIGIN_ICMP && s.Origin != unix.SO_EE_ORIGIN_ICMP6:
			return u, false
		case u.Type == tooBig && u.Code == code:
			u.MTU = s.Info
		}
		return u, true
	}
	return u, false
}

// SendWhole is Send for a datagram that may not be fragmented on its way, whatever is known of that way: IP's DF bit is set.
func (s *Socket) SendWhole(b []byte, to *Addr) bool {
	level, option := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	if s.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	if unix.SetsockoptInt(s.fd, level, option, unix.IP_PMTUDISC_PROBE) != nil {
		return false
	}
	sent := s.Send(b, to)
	return unix.SetsockoptInt(s.fd, level, option, unix.IP_PMTUDISC_WANT) == nil && sent
}
