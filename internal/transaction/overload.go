package transaction

import (
	"hash/maphash"
	"strconv"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// admits tells whether there is room for one more server transaction. What ends calls or belongs to them has a share of its own.
func (l *Layer) admits(req *wire.Request, method string) bool {
	alive := int(l.aliveServers.Load() + l.aliveClients.Load())
	limit := l.config.Limits.Transactions
	if alive < limit-limit/reservedShare {
		return true
	}
	return alive < limit && (req.To.Tag != "" || method == "BYE" || method == "CANCEL")
}

// refuse answers 503 with Retry-After and keeps nothing (RFC 3261, 21.5.4). Tag and seconds come from the request, so that a retransmission gets the same
// answer (RFC 3261, 8.2.7).
func (l *Layer) refuse(f transport.Flow, req *wire.Request) {
	l.refused.Add(1)
	h := maphash.String(l.servers.seed, req.CallID)
	res := wire.NewResponse(req, 503, "", strconv.FormatUint(h, 36))
	wire.Add(res, "Retry-After", strconv.FormatUint(retryAfterLeast+h%retryAfterSpread, 10))
	_ = f.Send(l.encode(res)) // a refusal that is lost is asked for again
}
