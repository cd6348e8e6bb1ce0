package transport

import (
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"signalbox/internal/wire"
)

// reject answers a request that could not be parsed, without state (RFC 3261, 8.2.7), and says whether anything could be read of it.
// A response and an ACK are never answered, nor is a request over UDP that has no Via.
func (t *Transport) reject(in *incoming, msg wire.Message, e *wire.Error) (readable bool) {
	t.dropped(in.proto(), Unparsable)
	t.log.LogAttrs(t.ctx, slog.LevelDebug, "unparsable message", slog.Any("from", in.remote), slog.Any("error", e))
	switch m := msg.(type) {
	case *wire.Response:
		return m != nil
	case *wire.Request:
		if m == nil || m.Via.Host == "" && m.CallID == "" {
			return false // some other protocol
		}
		t.answer(in, m, e)
		return true
	}
	return false
}

// answer sends what e says.
func (t *Transport) answer(in *incoming, req *wire.Request, e *wire.Error) {
	if req.Method == "ACK" {
		return
	}
	if in.conn == nil && !wire.Has(req, "Via") {
		return
	}
	// The source of a datagram may be forged: whoever it belongs to must not get more of our answers than he can bear.
	if in.conn == nil && !t.rejects.allow(in.remote.Addr(), time.Now()) {
		t.dropped(wire.UDP, RateLimited)
		return
	}
	via := &req.Via
	if via.Host == "" {
		via = nil // unreadable: back to where it came from (RFC 4475, 3.1.2.1)
	} else {
		stampVia(req, in.remote)
	}
	res := wire.NewResponse(req, e.Code, e.Reason, t.statelessTag(req))
	for _, h := range e.Headers {
		res.AppendHeader(h)
	}
	_ = in.flow(via).Send(wire.Append(nil, res))
}

// statelessTag is the same for a request and its retransmissions (RFC 3261, 8.2.7).
func (t *Transport) statelessTag(req *wire.Request) string {
	var h maphash.Hash
	h.SetSeed(t.seed)
	for _, s := range []string{req.Via.Branch, req.From.Tag, req.CallID, req.CSeq.Method} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// rejectLimiter is a fixed table of token buckets that sources are hashed to: who shares a bucket with a flood gets no answer to unparsable requests.
type rejectLimiter struct {
	seed    maphash.Seed
	mu      sync.Mutex
	buckets [rejectTable]bucket
}

type bucket struct {
	at     int64 // unix nanoseconds of the last refill
	tokens float64
}

func (l *rejectLimiter) allow(source netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.buckets[maphash.Comparable(l.seed, network(source))%rejectTable]
	if b.at == 0 {
		b.tokens = rejectBurst
	} else if d := now.UnixNano() - b.at; d > 0 {
		b.tokens = min(rejectBurst, b.tokens+rejectRate*time.Duration(d).Seconds())
	}
	b.at = now.UnixNano()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// network is what counts as one source: an IPv4 address, or the IPv6 /64 that one customer has.
func network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
