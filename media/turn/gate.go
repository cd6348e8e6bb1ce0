package turn

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
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

// admit tells what a frame is; isBad is not to be answered.
func (g *gate) admit(b []byte, from netip.Addr) kind {
	k := classify(b)
	switch {
	case k == isBad:
		g.s.config.Metrics.refused(BadFrame)
	case k == isRequest && !charge(g.debt(from), g.s.clock.now(), requestCost, debtLimit):
		g.s.config.Metrics.refused(TooManyRequests)
		return isBad
	}
	return k
}

// wrong charges a wrong password to the address that sent it, whatever it owes already: it would not have been heard if that were too much.
func (g *gate) wrong(from netip.Addr) {
	debt := g.debt(from)
	for {
		old := debt.Load()
		if debt.CompareAndSwap(old, max(old, int64(g.s.clock.now()))+int64(wrongCost)) {
			return
		}
	}
}
