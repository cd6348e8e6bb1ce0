package wire

import "net/netip"

// Proto is a transport protocol.
type Proto uint8

// The transports there are (RFC 3261, 18; RFC 7118, 5).
const (
	UDP Proto = iota + 1
	TCP
	TLS
	WS
	WSS
)

var protos = [...]string{UDP: "UDP", TCP: "TCP", TLS: "TLS", WS: "WS", WSS: "WSS"}

// String is the name as in a Via: "UDP". ParseProto reads either case.
func (p Proto) String() string {
	if int(p) < len(protos) {
		return protos[p]
	}
	return ""
}

// ParseProto reads the transport of a Via or of a URI's transport parameter, in either case.
func ParseProto(s string) (Proto, bool) {
	for p := UDP; p <= WSS; p++ {
		if fold(s, protos[p]) {
			return p, true
		}
	}
	return 0, false
}

// Reliable: everything but UDP.
func (p Proto) Reliable() bool { return p > UDP }

// Secure: TLS and WSS.
func (p Proto) Secure() bool { return p == TLS || p == WSS }

// Port is the one that is meant where none is written (RFC 3261, 18.1.1; RFC 7118, 5.5).
func (p Proto) Port() uint16 {
	switch p {
	case TLS:
		return 5061
	case WS:
		return 80
	case WSS:
		return 443
	}
	return 5060
}

// FlowID names a flow: one connection, or one pair of UDP addresses (RFC 5626, 3.1). ip:port alone is not a flow. It is comparable.
type FlowID struct {
	Proto  Proto
	Local  netip.AddrPort // the address of ours the packet was sent to, or the connection's local end
	Remote netip.AddrPort
	Serial uint64 // connections: unique over restarts too (random start, then counted); UDP: 0
}

// Hop is one next hop in order of trial (RFC 3263).
type Hop struct {
	Proto Proto
	Addr  netip.AddrPort
	Name  string // the domain name to verify the certificate against (RFC 5922); "" for a numeric host
}
