package turn

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// allocate opens relays (RFC 8656, 7.2). Step 1 is done: it is a user of ours.
func (r *request) allocate() {
	if a := r.c.allocation(); a != nil { // step 2, unless this is the request that made it, sent again
		if a.id == r.m.TransactionID && a.user.user == r.user {
			r.allocated(a)
		} else {
			r.refuse(stun.CodeAllocMismatch)
		}
		return
	}
	w, code := r.wanted()
	if code != 0 {
		r.refuse(code)
		return
	}
	a := &allocation{s: r.s, c: r.c, id: r.m.TransactionID, user: r.s.accounts.get(r.user)}
	if code := r.open(a, w); code != 0 {
		r.s.accounts.forget(a.user)
		r.refuse(code)
		return
	}
	if !r.s.add(a) {
		a.end()
		return
	}
	r.allocated(a)
}

// wanted is what an Allocate request asks for.
type wanted struct {
	families      []byte
	even, reserve bool // EVEN-PORT, and its R bit
	token         []byte
	lifetime      time.Duration
}

// wanted reads it. What must be understood and is not was found before; DONT-FRAGMENT (step 4) is understood.
func (r *request) wanted() (w wanted, code stun.ErrorCode) {
	m := r.m
	v, ok := valueOf(m, stun.AttrRequestedTransport, 4) // step 3
	switch {
	case v == nil || !ok:
		return w, stun.CodeBadRequest
	case v[0] != protocolUDP:
		return w, stun.CodeUnsupportedTransProto
	}
	w.token, ok = valueOf(m, stun.AttrReservationToken, tokenLength)
	even, evenOK := valueOf(m, stun.AttrEvenPort, 1)
	family, familyOK := valueOf(m, stun.AttrRequestedAddressFamily, 4)
	more, moreOK := valueOf(m, attrAdditionalFamily, 4)
	lifetime, lifetimeOK := valueOf(m, stun.AttrLifetime, 4)
	w.even, w.reserve = even != nil, evenOK && even != nil && even[0]&0x80 != 0
	switch {
	case !ok || !evenOK || !familyOK || !moreOK || !lifetimeOK:
		return w, stun.CodeBadRequest
	case w.token != nil && (even != nil || family != nil || more != nil): // step 5
		return w, stun.CodeBadRequest
	case family != nil && more != nil: // step 6
		return w, stun.CodeBadRequest
	case w.reserve && more != nil: // step 8
		return w, stun.CodeBadRequest
	case more != nil && more[0] != familyIPv6: // step 9
		return w, stun.CodeBadRequest
	}
	w.lifetime = lifetimeOf(lifetime)
	switch { // step 7
	case more != nil:
		w.families = []byte{familyIPv4, familyIPv6}
	case family != nil:
		w.families = family[:1]
	default:
		w.families = []byte{familyIPv4}
	}
	if more == nil && w.token == nil && r.s.relayOf(w.families[0]) == nil {
		return w, stun.CodeAddrFamilyNotSupported
	}
	return w, 0
}

// lifetimeOf is how long an allocation lives from now on, by what its client wishes; 0 is its end (RFC 8656, 7.2; RFC 8656, 8.2).
func lifetimeOf(v []byte) time.Duration {
	if v == nil {
		return allocationLife
	}
	return max(allocationLife, min(maxAllocationLife, time.Duration(binary.BigEndian.Uint32(v))*time.Second))
}

// open opens the relays that are wanted, each of which counts against the user's (step 10).
func (r *request) open(a *allocation, w wanted) (code stun.ErrorCode) {
	until := r.s.clock.now() + w.lifetime
	if w.token != nil { // step 5
		kept := r.s.reservations.claim([tokenLength]byte(w.token), a.user)
		if kept == nil {
			return stun.CodeInsufficientCapacity
		}
		a.adopt(kept, until)
		return 0
	}
	for _, family := range w.families {
		err := r.openOne(a, family, w, until)
		if err == nil {
			continue
		}
		code = stun.CodeInsufficientCapacity // step 8
		if errors.Is(err, errQuota) {
			code = stun.CodeAllocQuotaReached // step 10
		} else if errors.Is(err, errNoFamily) {
			code = stun.CodeAddrFamilyNotSupported
		}
		a.missing = append(a.missing, missingFamily{family, code})
	}
	if len(a.missing) < len(w.families) {
		return 0
	}
	if len(w.families) > 1 && code != stun.CodeAllocQuotaReached {
		code = stun.CodeInsufficientCapacity // step 9
	}
	return code
}

func (r *request) openOne(a *allocation, family byte, w wanted, until time.Duration) error {
	at := r.s.relayOf(family)
	if at == nil {
		return errNoFamily
	}
	if !r.s.accounts.take(a.user) {
		return errQuota
	}
	if !w.reserve {
		socket, err := r.s.bind(at, w.even)
		if err != nil {
			r.s.accounts.give(a.user)
			return err
		}
		a.adopt(&reserved{at: *at, socket: socket}, until)
		return nil
	}
	if !r.s.accounts.take(a.user) { // the port that is kept for another allocation counts too
		r.s.accounts.give(a.user)
		return errQuota
	}
	socket, next, err := r.s.bindPair(at)
	if err != nil {
		r.s.accounts.give(a.user)
		r.s.accounts.give(a.user)
		return err
	}
	a.adopt(&reserved{at: *at, socket: socket}, until)
	a.token = r.s.reservations.keep(&reserved{at: *at, socket: next, user: a.user, until: r.s.clock.now() + reservationLife})
	return nil
}

// allocated tells the client what it has.
func (r *request) allocated(a *allocation) {
	var list []stun.Setter
	var left time.Duration
	for _, relay := range a.relays {
		if relay != nil {
			list = append(list, address{stun.AttrXORRelayedAddress, netip.AddrPortFrom(relay.Public, relay.port)})
			left = relay.left()
		}
	}
	list = append(list, number(stun.AttrLifetime, uint32(left/time.Second)), address{stun.AttrXORMappedAddress, r.c.remote()})
	if a.token != nil {
		list = append(list, plainValue{stun.AttrReservationToken, a.token})
	}
	for _, one := range a.missing { // RFC 8656, 18.12
		list = append(list, plainValue{attrAddressErrorCode, []byte{one.family, 0, byte(one.code / 100), byte(one.code % 100)}})
	}
	r.succeed(list...)
}
