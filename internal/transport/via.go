package transport

import (
	"net/netip"
	"strconv"
	"strings"

	"signalbox/internal/wire"
)

// stampVia writes into the top Via of a request where it came from. A received or rport value that the sender wrote itself is replaced.
// RFC 3261, 18.2.1; RFC 3581, 4
func stampVia(req *wire.Request, source netip.AddrPort) {
	v := &req.Via
	host, numeric := sentByAddr(v.Host)
	received := v.HasRPort || !numeric || host != source.Addr().WithZone("")
	if !received && v.Received == "" {
		return
	}
	at := topVia(req)
	if at < 0 {
		return
	}
	h := req.Headers()[at]
	value := h.Value()
	// Head.Via.Raw is the first value of the header; other values may follow it.
	start := strings.Index(value, v.Raw)
	if start < 0 || v.Raw == "" {
		return
	}
	var room [512]byte // as good as always enough
	raw := append(room[:0], value[:start]...)
	raw = append(raw, strings.TrimRight(strings.TrimSuffix(v.Raw, v.Params), " \t")...)
	params := len(raw)
	raw = appendParams(raw, v.Params, source.Port())
	address := len(raw)
	if received {
		// An IPv6 address stands without brackets here (RFC 3261, 25.1, via-received).
		raw = append(raw, ";received="...)
		address = len(raw)
		raw = source.Addr().WithZone("").AppendTo(raw)
	}
	end := len(raw)
	raw = append(raw, value[start+len(v.Raw):]...)

	stamped := string(raw)
	req.Headers()[at] = wire.NewHeader(h.Name(), stamped)
	v.Raw, v.Params, v.Received = stamped[start:end], stamped[params:end], stamped[address:end]
	if v.HasRPort {
		v.RPort = int(source.Port())
	}
}

// appendParams appends the parameters without received, and rport with its value.
func appendParams(dst []byte, params string, rport uint16) []byte {
	for params != "" {
		var param string
		param, params = wire.SplitParam(params)
		switch name := paramName(param); {
		case strings.EqualFold(name, "received"):
		case strings.EqualFold(name, "rport"):
			dst = append(dst, ";rport="...)
			dst = strconv.AppendUint(dst, uint64(rport), 10)
		default:
			dst = append(dst, param...)
		}
	}
	return dst
}

// paramName is the name in ";name=value".
func paramName(param string) string {
	name, _, _ := strings.Cut(param[1:], "=")
	return strings.Trim(name, " \t")
}

// topVia is the index of the first Via header, -1 if there is none.
func topVia(req *wire.Request) int {
	for i, h := range req.Headers() {
		if n := h.Name(); strings.EqualFold(n, "Via") || strings.EqualFold(n, "v") {
			return i
		}
	}
	return -1
}

// sentByAddr reads the host of a sent-by if it is numeric.
func sentByAddr(host string) (netip.Addr, bool) {
	if host == "" || !strings.ContainsRune("0123456789abcdef:", rune(host[0])) {
		return netip.Addr{}, false // a name: spares ParseAddr's error
	}
	a, err := netip.ParseAddr(host)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// replyTo is where responses to a request that came over UDP are sent. RFC 3261, 18.2.2; RFC 3581, 4
func replyTo(v *wire.Via, source netip.AddrPort) netip.AddrPort {
	addr := source.Addr()
	maddr, named := neighbour(v, addr)
	switch {
	case named:
		addr = maddr
	case v.HasRPort || v.Host == "":
		return source
	}
	port := uint16(v.Port)
	if port == 0 {
		port = wire.UDP.Port()
	}
	return netip.AddrPortFrom(addr, port)
}

// neighbour is the maddr of a Via, if it is an address of the source's own network: a host with several addresses is followed there.
// RFC 3261, 18.2.2: not done, maddr that leads elsewhere: whoever is not able to forge a source could point our answers at anybody, and a phone behind NAT writes an
// address that is none here.
func neighbour(v *wire.Via, source netip.Addr) (netip.Addr, bool) {
	if !v.HasMaddr {
		return netip.Addr{}, false
	}
	maddr, _ := v.Param("maddr")
	addr, numeric := sentByAddr(strings.ToLower(strings.Trim(maddr, "[]")))
	if !numeric || addr.IsMulticast() {
		return netip.Addr{}, false
	}
	bits := neighbours6
	if source.Is4() {
		bits = neighbours4
	}
	own, err := source.WithZone("").Prefix(bits)
	return addr.WithZone(source.Zone()), err == nil && own.Contains(addr)
}

// Fallback says where the response to a request with this top Via goes when the flow it came on is gone: over a connection, to the address it came from
// and the port its sender listens on; over UDP, to where it came from. ok is false if the Via names no address.
// RFC 3261, 18.2.2; RFC 3581, 4
func Fallback(v wire.Via) (hop wire.Hop, ok bool) {
	proto, ok := wire.ParseProto(v.Transport)
	if !ok || v.Port < 0 || v.Port > 65535 {
		return wire.Hop{}, false
	}
	addr, ok := sentByAddr(v.Received)
	if !ok {
		addr, ok = sentByAddr(v.Host)
	}
	if !ok {
		return wire.Hop{}, false
	}
	port := uint16(v.Port)
	if proto == wire.UDP && v.RPort != 0 {
		port = uint16(v.RPort)
	}
	if port == 0 {
		port = proto.Port()
	}
	hop = wire.Hop{Proto: proto, Addr: netip.AddrPortFrom(addr, port)}
	if _, numeric := sentByAddr(v.Host); !numeric && proto.Secure() {
		hop.Name = v.Host
	}
	return hop, true
}
