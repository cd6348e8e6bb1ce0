package turn

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"

	"signalbox/media/udp"
)

// allocation is what a client has (RFC 8656, 3.2): a relay, or one of each family. Requests of its client change it, one at a time; packets only read it.
type allocation struct {
	s       *Server
	c       way
	id      [stun.TransactionIDSize]byte // of the request that made it
	user    *account
	relays  [2]*relay // of IPv4, of IPv6
	missing []missingFamily
	token   []byte // of the port that was reserved with it

	mu          sync.Mutex
	permissions atomic.Pointer[[]*permission] // changed by being replaced, as the next
	channels    atomic.Pointer[[]*channel]
}

type missingFamily struct {
	family byte
	code   stun.ErrorCode
}

// permission lets an address send to the client (RFC 8656, 9).
type permission struct {
	addr  netip.Addr
	until atomic.Int64
}

// channel is a binding of a number to a peer (RFC 8656, 12).
type channel struct {
	number     uint16
	peer       netip.AddrPort
	relay      *relay
	to         *udp.Addr // peer, as the kernel wants it
	permission *permission
	until      atomic.Int64
}

var (
	errTaken = errors.New("turn: the channel or the peer is bound otherwise")
	errFull  = errors.New("turn: an allocation has no room for more")
)

// relay is that of a family, nil if there is none any more.
func (a *allocation) relay(family byte) *relay {
	if family != familyIPv4 && family != familyIPv6 {
		return nil
	}
	if r := a.relays[family-1]; r != nil && r.alive() {
		return r
	}
	return nil
}

func load[T any](p *atomic.Pointer[[]T]) []T {
	if list := p.Load(); list != nil {
		return *list
	}
	return nil
}

func store[T any](p *atomic.Pointer[[]T], list []T) { p.Store(&list) }

// permit installs or prolongs permissions, all or none.
func (a *allocation) permit(list []netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.permitLocked(list) != nil
}

func (a *allocation) permitLocked(list []netip.Addr) (last *permission) {
	now := a.s.clock.now()
	all := slices.DeleteFunc(slices.Clone(load(&a.permissions)), func(p *permission) bool { return p.until.Load() <= int64(now) })
	for _, addr := range list {
		i := slices.IndexFunc(all, func(p *permission) bool { return p.addr == addr })
		if i < 0 {
			if len(all) >= maxPermissions {
				return nil
			}
			i, all = len(all), append(all, &permission{addr: addr})
		}
		last = all[i]
	}
	for _, addr := range list {
		for _, p := range all {
			if p.addr == addr {
				p.until.Store(int64(now + permissionLife))
			}
		}
	}
	store(&a.permissions, all)
	return last
}

// bind binds a channel, or prolongs it, and the permission with it.
func (a *allocation) bind(number uint16, peer netip.AddrPort) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.s.clock.now()
	all := slices.DeleteFunc(slices.Clone(load(&a.channels)), func(c *channel) bool { return c.until.Load() <= int64(now) })
	var mine *channel
	for _, c := range all {
		if (c.number == number) != (c.peer == peer) {
			return errTaken
		}
		if c.number == number {
			mine = c
		}
	}
	r := a.relay(familyOf(peer.Addr()))
	if r == nil || mine == nil && len(all) >= maxChannels {
		return errFull
	}
	p := a.permitLocked([]netip.Addr{peer.Addr()})
	if p == nil {
		return errFull
	}
	if mine == nil || mine.permission != p {
		// A permission that ended and came again is another one: packets see the old channel or the new one, both whole.
		all = slices.DeleteFunc(all, func(c *channel) bool { return c == mine })
		mine = &channel{number: number, peer: peer, relay: r, to: r.destination(peer), permission: p}
		all = append(all, mine)
	}
	mine.until.Store(int64(now + channelLife))
	store(&a.channels, all)
	return nil
}

// permitted tells whether an address may send, and be sent to.
func (a *allocation) permitted(addr netip.Addr, now time.Duration) bool {
	for _, p := range load(&a.permissions) {
		if p.addr == addr {
			return p.until.Load() > int64(now)
		}
	}
	return false
}

// fromChannel sends on what the client has sent on a channel (RFC 8656, 12.6).
func (a *allocation) fromChannel(b []byte) {
	number, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	for _, c := range load(&a.channels) {
		if c.number == number {
			if now := a.s.clock.now(); c.until.Load() > int64(now) {
				c.relay.send(b[channelHeader:channelHeader+n], c.peer, c.to, false, now)
			}
			return
		}
	}
}

// fromIndication sends on what the client has sent in a Send indication (RFC 8656, 11.2).
func (a *allocation) fromIndication(b []byte) {
	peer, data, whole, ok := readSend(b)
	if !ok {
		return
	}
	now := a.s.clock.now()
	if r := a.relay(familyOf(peer.Addr())); r != nil && a.permitted(peer.Addr(), now) {
		r.send(data, peer, r.destination(peer), whole, now)
	}
}

// fromPeer sends to the client what a peer has sent (RFC 8656, 11.3; RFC 8656, 12.7). b is what a udp.Handler was given. It tells whether that was allowed.
func (a *allocation) fromPeer(b []byte, peer netip.AddrPort, now time.Duration) bool {
	for _, c := range load(&a.channels) {
		if c.peer == peer {
			if c.until.Load() <= int64(now) {
				break
			}
			if c.permission.until.Load() <= int64(now) {
				return false
			}
			frame := udp.Before(b, channelHeader)
			binary.BigEndian.PutUint16(frame, c.number)
			binary.BigEndian.PutUint16(frame[2:], uint16(len(b)))
			a.c.send(frame)
			return true
		}
	}
	if !a.permitted(peer.Addr(), now) {
		return false
	}
	var id [stun.TransactionIDSize]byte
	binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	a.c.send(putIndication(udp.Before(b[:len(b):cap(b)], indicationRoom), len(b), peer, id))
	return true
}

// drop ends the relay of one family, its permissions and channels; without the last one the allocation is over.
func (a *allocation) drop(r *relay) {
	a.mu.Lock()
	family := familyOf(r.Public)
	store(&a.channels, slices.DeleteFunc(slices.Clone(load(&a.channels)), func(c *channel) bool { return c.relay == r }))
	store(&a.permissions, slices.DeleteFunc(slices.Clone(load(&a.permissions)), func(p *permission) bool { return familyOf(p.addr) == family }))
	a.mu.Unlock()
	r.close()
	if a.relay(familyIPv4) == nil && a.relay(familyIPv6) == nil {
		a.end()
	}
}

// end ends it; it may be called twice.
func (a *allocation) end() {
	a.c.release(a)
	for _, r := range a.relays {
		if r != nil {
			r.close()
		}
	}
	a.s.remove(a)
}

// expire drops what is past its time.
func (a *allocation) expire(now time.Duration) {
	for _, r := range a.relays {
		if r != nil && r.alive() && r.until.Load() <= int64(now) {
			a.drop(r)
		}
	}
}
