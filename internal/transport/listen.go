package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// anyPortTries is how often we look for a port that is free for IPv4 and IPv6 at once.
const anyPortTries = 16

// parseListen reads an address to listen on. The result has one or, for ":port", two addresses with the same port.
func parseListen(s string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, fmt.Errorf("transport: listen address %q: want address:port or :port", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("transport: listen address %q: %q is not a port", s, port)
	}
	if host == "" {
		return []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n)),
			netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)),
		}, nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil || strings.Contains(host, "%") && !a.IsLinkLocalUnicast() {
		return nil, fmt.Errorf("transport: listen address %q: %q is not an IP address", s, host)
	}
	return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), uint16(n))}, nil
}

// bindAll binds s with bind, once or for both families. Where the machine has no IPv6, ":port" is IPv4 only.
func bindAll(s string, bind func(netip.AddrPort) (netip.AddrPort, error), unbind func()) error {
	addrs, err := parseListen(s)
	if err != nil {
		return err
	}
	got, err := bind(addrs[0])
	if err != nil || len(addrs) == 1 {
		return err
	}
	for try := 1; ; try++ {
		_, err = bind(netip.AddrPortFrom(addrs[1].Addr(), got.Port()))
		switch {
		case err == nil, errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EADDRNOTAVAIL):
			return nil
		case addrs[0].Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) || try == anyPortTries:
			return err
		}
		unbind() // the port that IPv4 got is taken for IPv6: try another
		if got, err = bind(addrs[0]); err != nil {
			return err
		}
	}
}

// udpSockets is how many sockets one address gets: one for two cores. The readers of more would wake each other's cores for work that one does by the way, and
// there is more than UDP to do: streams, commits, garbage.
func udpSockets(cores int) int { return min((cores+1)/2, maxSockets) }

// listenUDP binds the sockets of one address. The first one alone, so that an address in use is an error even if its owner allows sharing;
// then it lets its siblings in.
func listenUDP(addr netip.AddrPort) (conns []*net.UDPConn, err error) {
	defer func() {
		if err != nil {
			for _, c := range conns {
				_ = c.Close()
			}
		}
	}()
	for i := range udpSockets(runtime.GOMAXPROCS(0)) {
		first := i == 0
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return control(c, func(fd int) error { return setUDPOptions(fd, addr, !first) })
		}}
		c, err := lc.ListenPacket(context.Background(), family("udp", addr), addr.String())
		if err != nil {
			return conns, fmt.Errorf("transport: listen on udp %s: %w", addr, cause(err))
		}
		conns = append(conns, c.(*net.UDPConn))
		if first {
			addr = c.LocalAddr().(*net.UDPAddr).AddrPort()
			raw, err := conns[0].SyscallConn()
			if err != nil {
				return conns, err
			}
			if err := control(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
				return conns, fmt.Errorf("transport: SO_REUSEPORT on udp %s: %w", addr, err)
			}
		}
	}
	return conns, nil
}

func setUDPOptions(fd int, addr netip.AddrPort, share bool) error {
	if share {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	// The forced variants go beyond the system's limit and need privilege; the plain ones take what they get.
	for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], socketBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], socketBuffer)
		}
	}
	if err := askForErrors(fd, addr.Addr().Is4()); err != nil {
		return err
	}
	if !addr.Addr().IsUnspecified() {
		return nil
	}
	// On all addresses: we must know which one a request was sent to, the answer leaves from there.
	if addr.Addr().Is4() {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

// listenTCP binds the address.
func listenTCP(proto string, addr netip.AddrPort) (*net.TCPListener, error) {
	l, err := net.ListenTCP(family("tcp", addr), net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("transport: listen on %s %s: %w", proto, addr, cause(err))
	}
	return l, nil
}

// family names the network for one IP family only: an IPv6 socket that also takes IPv4 would show IPv4 addresses in disguise.
func family(network string, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return network + "4"
	}
	return network + "6"
}

func control(c syscall.RawConn, fn func(fd int) error) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = fn(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// cause strips what net wraps around the kernel's word, so that the message names the address once.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
