package turn

import "sync/atomic"

// ports is a set of port numbers, read without a lock.
type ports [1 << 16 / 32]atomic.Uint32

func (p *ports) add(n uint16)      { p[n/32].Or(1 << (n % 32)) }
func (p *ports) remove(n uint16)   { p[n/32].And(^uint32(1 << (n % 32))) }
func (p *ports) has(n uint16) bool { return p[n/32].Load()&(1<<(n%32)) != 0 }
