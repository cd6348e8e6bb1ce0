package transaction

import (
	"strconv"
	"sync/atomic"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// admits tells whether there is room and time for one more server transaction. What ends calls or belongs to them has a share of its own, and is never refused for want
// of time: only new work is. A request with credentials is the second half of something begun, and refused later.
func (l *Layer) admits(req *wire.Request, cancels bool) bool {
	alive := int(l.aliveServers.Load() + l.aliveClients.Load())
	limit := l.config.Limits.Transactions
	if alive >= limit {
		return false
	}
	if alive < limit-limit/reservedShare {
		if lag := l.excess(); lag == 0 || lag <= begunLag && hasCredentials(req) {
			return true
		}
	}
	return cancels || l.knows(req)
}

// knows tells what is within a dialog from what only says so. It is asked when there is too much of everything.
func (l *Layer) knows(req *wire.Request) bool {
	return req.To.Tag != "" && (l.config.Knows == nil || l.config.Knows(req))
}

func hasCredentials(req *wire.Request) bool {
	return wire.Has(req, "Authorization") || wire.Has(req, "Proxy-Authorization")
}

// overload is what is known about being too slow.
type overload struct {
	since atomic.Int64 // when the lag rose above newLag, in nanoseconds from the wheel's begin; 0: it is below
	until atomic.Int64 // overload is remembered until then; 0: there is none
}

// excess is how far we lag behind if we are overloaded, else 0. A lag counts that has not once been below newLag for lagPatience: a stall of the machine passes by itself, and
// whoever has waited so long is better served. From then on, every lag counts, until there was none for lagMemory.
func (l *Layer) excess() time.Duration {
	o := &l.overload
	lag := l.wheel.behind()
	if l.config.Lag != nil {
		lag = max(lag, l.config.Lag())
	}
	since, until := o.since.Load(), o.until.Load()
	if lag <= newLag {
		if since != 0 {
			o.since.Store(0)
		}
		if until != 0 && int64(time.Since(l.wheel.begin)) > until && o.until.CompareAndSwap(until, 0) {
			l.log.Info("overload is over", "refused_so_far", l.refused.Load())
		}
		return 0
	}
	now := 1 + int64(time.Since(l.wheel.begin))
	if since == 0 {
		since = now
		o.since.Store(now)
	}
	if remembered := until >= now; !remembered && now-since < int64(lagPatience) {
		return 0
	}
	if o.until.CompareAndSwap(until, now+int64(lagMemory)) && until == 0 {
		l.log.Warn("overload: new requests get 503", "lag", lag)
	}
	return lag
}

// refuse answers 503 with Retry-After and keeps nothing (RFC 3261, 21.5.4). Tag and seconds come from the request, so that a retransmission gets the same
// answer (RFC 3261, 8.2.7).
func (l *Layer) refuse(f transport.Flow, req *wire.Request) {
	l.refused.Add(1)
	wire.LendResponse(req, 503, "", l.refusalTag(req), func(res *wire.Response) {
		h := l.refusalHash(req)
		wire.Add(res, "Retry-After", strconv.FormatUint(retryAfterLeast+h%retryAfterSpread, 10))
		_ = f.Send(l.encode(res)) // a refusal that is lost is asked for again
	})
}
