package turn

import (
	"hash/maphash"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/pion/stun/v4"
)

// gate stands before the protocol: what it lets through is well formed, and no more of it than an address may send.
type gate struct {
	s     *Server
	seed  maphash.Seed
	debts [debtors]atomic.Int64 // as bucket.until, of the addresses that fall there
}

func (g *gate) debt(a netip.Addr) *atomic.Int64 {
	a = a.Unmap().WithZone("")
	if a.Is6() { // a host has all addresses of its network
		b := a.As16()
		clear(b[8:])
		a = netip.AddrFrom16(b)
	}
	return &g.debts[maphash.Comparable(g.seed, a)%debtors]
}

// admit tells whether a frame goes on to the protocol. answer, if not nil, is sent back in its place.
func (g *gate) admit(b []byte, from netip.Addr) (ok bool, answer []byte) {
	switch classify(b) {
	case channelData, indication:
		return true, nil
	case request:
		if !charge(g.debt(from), g.s.clock.now(), requestCost, debtLimit) {
			g.s.config.Metrics.refused(TooManyRequests)
			return false, nil
		}
		answer = g.refusal(b)
		return answer == nil, answer
	}
	g.s.config.Metrics.refused(BadFrame)
	return false, nil
}

// wrong charges a wrong password to the address that sent it.
func (g *gate) wrong(from net.Addr) {
	a, ok := addrOf(from)
	if !ok {
		return
	}
	// It is charged in any case: the debt may be full already, but then nothing of this address is heard.
	charge(g.debt(a), g.s.clock.now(), wrongCost, debtLimit)
}

// refusal is our own answer to requests to which the protocol below has a wrong one; nil if it may answer. A ChannelBind for a peer that nobody may
// reach gets a 403, as CreatePermission does (RFC 8656, 10.2; RFC 8656, 12.2), not a 401; an Allocate for TCP gets a 442 (RFC 8656, 7.2 step 3), not a
// 508: neither is a matter of trying again. A channel outside of the range gets a 400 (RFC 8656, 12.2), not a binding that no ChannelData can use; the range is that of the standard before, 0x4000 to
// 0x7FFF, whose clients are about.
func (g *gate) refusal(b []byte) []byte {
	m := method(b)
	if m != methodChannelBind && m != methodAllocate {
		return nil
	}
	msg := &stun.Message{Raw: append([]byte(nil), b...)}
	if msg.Decode() != nil {
		return nil
	}
	code := g.wrongWith(m, msg)
	var name stun.Username
	var realm stun.Realm
	if code == 0 || name.GetFrom(msg) != nil || realm.GetFrom(msg) != nil {
		return nil
	}
	_, key, ok := g.s.key(name.String(), realm.String())
	if !ok || stun.MessageIntegrity(key).Check(msg) != nil {
		return nil // who is not a user learns nothing
	}
	answer, err := stun.Build(stun.NewTransactionIDSetter(msg.TransactionID), stun.NewType(msg.Type.Method, stun.ClassErrorResponse), code,
		stun.MessageIntegrity(key))
	if err != nil {
		return nil
	}
	return answer.Raw
}

// wrongWith tells why a request is refused, if it is; 0 is right, or for the protocol to say.
func (g *gate) wrongWith(method uint16, m *stun.Message) stun.ErrorCode {
	if method == methodAllocate {
		if v, err := m.Get(stun.AttrRequestedTransport); err == nil && len(v) == 4 && v[0] != protocolUDP {
			return stun.CodeUnsupportedTransProto
		}
		return 0
	}
	if v, err := m.Get(stun.AttrChannelNumber); err == nil && len(v) == 4 && v[0]>>6 != 1 {
		return stun.CodeBadRequest
	}
	var peer stun.XORMappedAddress
	if peer.GetFromAs(m, stun.AttrXORPeerAddress) != nil {
		return 0
	}
	if a, ok := netip.AddrFromSlice(peer.IP); !ok || g.s.peers.address(a) {
		return 0
	}
	g.s.config.Metrics.denied()
	return stun.CodeForbidden
}

// addrOf is the address in what package net gives.
func addrOf(a net.Addr) (netip.Addr, bool) {
	switch a := a.(type) {
	case *net.UDPAddr:
		addr := a.AddrPort().Addr()
		return addr.Unmap(), addr.IsValid()
	case *net.TCPAddr:
		addr := a.AddrPort().Addr()
		return addr.Unmap(), addr.IsValid()
	}
	return netip.Addr{}, false
}
