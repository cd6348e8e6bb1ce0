package main

import (
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
)

// dispatcher gives every request to its room.
type dispatcher struct {
	domains          *wire.Domains
	registrar, proxy transaction.Handler
	draining         atomic.Bool
}

var errDraining = errors.New("the server is stopping")

// ServeSIP is one if: REGISTER for a domain of ours goes to the registrar, the rest to the proxy. RFC 3261, 10.3 and 16.2
func (d *dispatcher) ServeSIP(tx *transaction.Server) error {
	if d.draining.Load() && !ofDialog(tx.Request) {
		// RFC 3261, 21.5.4
		return (&wire.Error{Code: 503, Err: errDraining}).With("Retry-After", strconv.Itoa(drainRetryAfter))
	}
	if tx.Request.Method == sip.REGISTER {
		if _, ours := d.domains.Domain(tx.Request.URI.Host); ours {
			return d.registrar.ServeSIP(tx)
		}
	}
	return d.proxy.ServeSIP(tx)
}

// ofDialog tells whether a request belongs to a call that is up: it is let through while draining, because ending calls is what we wait for.
func ofDialog(req *wire.Request) bool {
	return req.To.Tag != "" && req.Method != sip.REGISTER
}
