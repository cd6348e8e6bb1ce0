package turn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// listenUDP binds one address as often as there are processors, and the kernel spreads clients over the sockets. A wildcard address means both families.
func listenUDP(address string) (conns []*net.UDPConn, err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	networks := []string{"udp"}
	if host == "" {
		networks = []string{"udp4", "udp6"}
	}
	for _, network := range networks {
		more, err := listenEach(network, address)
		conns = append(conns, more...)
		if errors.Is(err, syscall.EAFNOSUPPORT) && network == "udp6" {
			continue // a machine without IPv6
		}
		if err != nil {
			return conns, err
		}
	}
	return conns, nil
}

func listenEach(network, address string) (conns []*net.UDPConn, err error) {
	// The first is bound alone, so that an address which somebody else has is an error; only then it is shared.
	alone, err := new(net.ListenConfig).ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	first := alone.(*net.UDPConn)
	conns = append(conns, first)
	if err := option(first, unix.SO_REUSEPORT, 1); err != nil {
		return conns, err
	}
	shared := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (failed error) {
		if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
			return err
		}
		return failed
	}}
	for range min(runtime.GOMAXPROCS(0), maxSockets) - 1 {
		c, err := shared.ListenPacket(context.Background(), network, first.LocalAddr().String())
		if err != nil {
			return conns, err
		}
		conns = append(conns, c.(*net.UDPConn))
	}
	for _, c := range conns {
		_ = c.SetReadBuffer(socketBuffer) // less, where the kernel's limit is less
		_ = c.SetWriteBuffer(socketBuffer)
	}
	return conns, nil
}

func option(c *net.UDPConn, name, value int) (failed error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, name, value) }); err != nil {
		return err
	}
	return failed
}

// datagrams is a UDP socket of clients, read in batches, behind the gate. One goroutine reads it, that of pion/turn.
type datagrams struct {
	*net.UDPConn
	s        *Server
	channels *channels
	raw      syscall.RawConn
	ipv6     bool
	reader   *ipv4.PacketConn // its batches are good for both families
	batch    []ipv4.Message
	next     int // of those that were read
	read     int
}

func newDatagrams(s *Server, c *net.UDPConn) (*datagrams, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	local := c.LocalAddr().(*net.UDPAddr).AddrPort()
	if s.channels[local] == nil {
		s.channels[local] = &channels{clients: map[netip.AddrPort]*channelClient{}}
	}
	d := &datagrams{UDPConn: c, s: s, channels: s.channels[local], raw: raw, ipv6: local.Addr().Is6(), reader: ipv4.NewPacketConn(c), batch: make([]ipv4.Message, batch)}
	for i := range d.batch {
		d.batch[i].Buffers = [][]byte{make([]byte, maxFrame+1)} // one more, so that too long is seen
	}
	return d, nil
}

// ReadFrom gives the next datagram that the gate lets through.
func (d *datagrams) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		for d.next < d.read {
			m := &d.batch[d.next]
			d.next++
			frame := m.Buffers[0][:m.N]
			from, ok := m.Addr.(*net.UDPAddr)
			if !ok || from.Port == 0 {
				continue
			}
			at := plain(from.AddrPort())
			if at.Addr().Zone() == "" && d.channels.forward(frame, at, d) {
				continue
			}
			ok, answer := d.s.gate.admit(frame, at.Addr())
			if answer != nil {
				_, _ = d.WriteTo(answer, from)
			}
			if ok {
				return copy(b, frame), from, nil
			}
		}
		n, err := d.reader.ReadBatch(d.batch, 0)
		if err != nil {
			return 0, nil, fmt.Errorf("turn: udp: %w", err)
		}
		d.next, d.read = 0, n
	}
}
