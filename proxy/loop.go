package proxy

import (
	"hash/maphash"
	"strconv"
	"strings"

	"signalbox/internal/wire"
)

// loopMark is the second part of our branch parameters: 16 hexadecimal digits after a dot. It depends on what decides where a request goes, and
// on what tells one transaction from another, but not on the method, nor on credentials, which change nothing of the way.
// RFC 3261, 16.6 step 8; RFC 5393, 4.2.1
type loopMark [17]byte

func (c *call) loopMark() (mark loopMark) {
	var h maphash.Hash
	h.SetSeed(c.p.seed)
	write := func(s string) {
		h.WriteString(s)
		h.WriteByte('\n') // occurs in none of them
	}
	write(c.req.CallID)
	write(c.req.From.Tag)
	write(c.req.To.Tag)
	write(c.req.URI.Raw)
	var seq [10]byte
	h.Write(strconv.AppendUint(seq[:0], uint64(c.req.CSeq.Seq), 10))
	if c.facts&hasRoute != 0 {
		for _, route := range wire.List(c.req, "Route") {
			write(route)
		}
	}
	if c.facts&hasProxyRequire != 0 {
		write(wire.Get(c.req, "Proxy-Require"))
	}
	const digits = "0123456789abcdef"
	mark[0] = '.'
	sum := h.Sum64()
	for i := range mark[1:] {
		mark[1+i] = digits[sum>>(60-4*i)&0xf]
	}
	return mark
}

// looped tells whether this very request has been here before: a Via of ours carries its mark. One that carries another mark of ours is a
// spiral, which is legal. RFC 3261, 16.3 step 4; RFC 5393, 4.2.2
func (c *call) looped() bool {
	if c.vias < 2 || !c.marked() {
		return false
	}
	for _, value := range wire.List(c.req, "Via") {
		via, err := wire.ParseVia(value)
		if err == nil && strings.HasSuffix(via.Branch, string(c.mark[:])) && c.p.Network.IsLocal(via.Host, via.Port) {
			return true
		}
	}
	return false
}

// marked is the quick look before: the mark's text occurs in some Via.
func (c *call) marked() bool {
	for _, h := range c.req.Headers() {
		if name := h.Name(); isVia(name) && strings.Contains(h.Value(), string(c.mark[:])) {
			return true
		}
	}
	return false
}

func isVia(name string) bool {
	return len(name) == 3 && strings.EqualFold(name, "Via") || len(name) == 1 && name[0]|0x20 == 'v'
}
