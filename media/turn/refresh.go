package turn

import (
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// refresh prolongs an allocation or ends it, or one family of it (RFC 8656, 8.2).
func (r *request) refresh(a *allocation) {
	family, ok1 := valueOf(r.m, stun.AttrRequestedAddressFamily, 4)
	wish, ok2 := valueOf(r.m, stun.AttrLifetime, 4)
	if !ok1 || !ok2 {
		r.refuse(stun.CodeBadRequest)
		return
	}
	if family != nil && a.relay(family[0]) == nil {
		r.refuse(stun.CodePeerAddrFamilyMismatch)
		return
	}
	life := lifetimeOf(wish)
	if wish != nil && [4]byte(wish) == [4]byte{} {
		life = 0
	}
	for _, relay := range a.relays {
		switch {
		case relay == nil || family != nil && familyOf(relay.Public) != family[0]:
		case life == 0:
			a.drop(relay)
		default:
			relay.until.Store(int64(r.s.clock.now() + life))
		}
	}
	r.succeed(number(stun.AttrLifetime, uint32(life/time.Second)))
}

// createPermission lets addresses send to a client (RFC 8656, 10.2): all that it names, or none.
func (r *request) createPermission(a *allocation) {
	var list []netip.Addr
	for _, attribute := range r.m.Attributes {
		if attribute.Type != stun.AttrXORPeerAddress {
			continue
		}
		peer, ok := readAddress(attribute.Value, r.m.TransactionID)
		if !ok {
			r.refuse(stun.CodeBadRequest)
			return
		}
		if code := r.mayReach(a, peer.Addr()); code != 0 {
			r.refuse(code)
			return
		}
		list = append(list, peer.Addr())
	}
	switch {
	case len(list) == 0:
		r.refuse(stun.CodeBadRequest)
	case !a.permit(list):
		r.refuse(stun.CodeInsufficientCapacity)
	default:
		r.succeed()
	}
}

// channelBind gives a number to a peer (RFC 8656, 12.2). The range of numbers is that of the standard before, 0x4000 to 0x7FFF: its clients are about.
func (r *request) channelBind(a *allocation) {
	n, ok1 := valueOf(r.m, stun.AttrChannelNumber, 4)
	at, there := r.m.Attributes.Get(stun.AttrXORPeerAddress)
	peer, ok2 := readAddress(at.Value, r.m.TransactionID)
	if n == nil || !ok1 || !there || !ok2 || n[0]>>6 != 1 {
		r.refuse(stun.CodeBadRequest)
		return
	}
	if code := r.mayReach(a, peer.Addr()); code != 0 {
		r.refuse(code)
		return
	}
	switch a.bind(uint16(n[0])<<8|uint16(n[1]), peer) {
	case errTaken:
		r.refuse(stun.CodeBadRequest)
	case nil:
		r.succeed()
	default:
		r.refuse(stun.CodeInsufficientCapacity)
	}
}

// mayReach tells why an address is not for this allocation, if it is not.
func (r *request) mayReach(a *allocation, peer netip.Addr) stun.ErrorCode {
	if a.relay(familyOf(peer)) == nil {
		return stun.CodePeerAddrFamilyMismatch
	}
	if !r.s.peers.address(peer) {
		r.s.config.Metrics.denied()
		return stun.CodeForbidden
	}
	return 0
}
