package regevent

import (
	"net/netip"
	"strings"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// way finds the flow to the subscriber: the one its SUBSCRIBE came on, through whatever NAT lies between; if that connection is gone, another one of the same phone. Nowhere else does a
// NOTIFY go, whatever Contact and Record-Route say: nobody can aim ours at a third party (hardening 41). RFC 5626, 5.3
func (s *subscription) way() (transport.Flow, bool) {
	if hop, ok := s.direct(); ok && hop.Proto == wire.UDP && hop.Addr != s.flow.Remote {
		if f, err := s.n.Network.Dial(hop); err == nil {
			return f, true
		}
	}
	if f, ok := s.n.Network.Find(s.flow); ok {
		return f, true
	}
	if len(s.routes) > 0 {
		return nil, false // the way led through another proxy, which alone knows how it goes on
	}
	if f, ok := s.moved(); ok {
		return f, true
	}
	if hop, ok := s.direct(); ok {
		f, err := s.n.Network.Dial(hop)
		return f, err == nil
	}
	return nil, false
}

// direct: the phone's Contact is the very host that its SUBSCRIBE came from, and can be sent to.
func (s *subscription) direct() (wire.Hop, bool) {
	addr, numeric := s.target.Addr()
	_, maddr := s.target.Param("maddr")
	proto := s.target.Transport()
	port := s.target.Port
	if port == 0 {
		port = 5060
	}
	if len(s.routes) > 0 || !numeric || maddr || s.target.Scheme != "sip" || proto != s.flow.Proto || proto != wire.UDP && proto != wire.TCP ||
		addr != s.flow.Remote.Addr().Unmap() || port < firstPort || s.n.Network.IsLocal(addr.String(), port) {
		return wire.Hop{}, false
	}
	return wire.Hop{Proto: proto, Addr: netip.AddrPortFrom(addr, uint16(port))}, true
}

// overTCP connects to a phone for a NOTIFY that is too large for a datagram. One behind NAT cannot be connected to. RFC 3261, 18.1.1
func (s *subscription) overTCP() (transport.Flow, bool) {
	hop, ok := s.direct()
	if !ok || s.datagrams {
		return nil, false
	}
	hop.Proto = wire.TCP
	f, err := s.n.Network.Dial(hop)
	if err != nil {
		return nil, false
	}
	s.stream = f.ID()
	return f, true
}

// moved is the newest living flow on which the same phone has registered. RFC 5626, 5.3
func (s *subscription) moved() (flow transport.Flow, ok bool) {
	var newest *location.Binding
	bindings := s.n.Location.Lookup(s.watcher)
	for i := range bindings {
		b := &bindings[i]
		same := b.Contact.Equal(s.target) || s.sameInstance(b)
		if !same || newest != nil && !b.Updated.After(newest.Updated) {
			continue
		}
		if f, alive := s.n.Network.Find(b.Flow); alive {
			newest, flow = b, f
		}
	}
	return flow, newest != nil
}

// sameInstance: instance IDs are UUIDs nearly always, which are written in either case (RFC 5626, 4.1).
func (s *subscription) sameInstance(b *location.Binding) bool {
	return s.instance != "" && strings.EqualFold(b.InstanceID, s.instance)
}
