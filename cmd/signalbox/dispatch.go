package main

import (
	"strconv"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
	"signalbox/media/echo"
	"signalbox/proxy"
	"signalbox/registrar"
	"signalbox/registrar/regevent"
)

// dispatcher gives every request to its room.
type dispatcher struct {
	domains   *wire.Domains
	registrar *registrar.Registrar
	proxy     *proxy.Proxy
	events    *regevent.Notifier
	echo      *echo.Service // nil without media
	local     func(host string, port int) bool
	strayed   func(domain string, from wire.FlowID) // nil: nobody is told
	draining  atomic.Bool
}

// ServeSIP tells three kinds apart: REGISTER for a domain of ours goes to the registrar, SUBSCRIBE to the state of registrations to their notifier, the rest to the
// proxy. RFC 3261, 10.3 and 16.2; RFC 6665, 4.2
func (d *dispatcher) ServeSIP(tx *transaction.Server) error {
	if d.draining.Load() && !ofDialog(tx.Request) {
		refuse(tx)
		return nil
	}
	if tx.Request.Method == sip.REGISTER {
		if _, ours := d.domains.Domain(tx.Request.URI.Host); ours {
			return d.registrar.ServeSIP(tx)
		}
		if err := d.stray(tx); err != nil {
			return err
		}
	}
	if tx.Request.Method == sip.SUBSCRIBE && d.events.Serves(tx.Request) {
		return d.events.ServeSIP(tx)
	}
	if d.echo != nil && d.echo.Owns(tx.Request) {
		return d.echo.ServeSIP(tx)
	}
	return d.proxy.ServeSIP(tx)
}

// knows tells a request within a dialog, ours or one that goes through us, from one that only says so.
func (d *dispatcher) knows(req *wire.Request) bool {
	return d.proxy.Member(req) || d.events.Owns(req) || d.echo != nil && d.echo.Owns(req)
}

// refuse answers while draining: the client should try another server, or us later. RFC 3261, 21.5.4
func refuse(tx *transaction.Server) {
	if tx.Request.Method == sip.ACK {
		return
	}
	res := wire.NewResponse(tx.Request, 503, "", wire.NewTag())
	wire.Add(res, "Retry-After", strconv.Itoa(drainRetryAfter))
	tx.Respond(res)
}

// ofDialog tells whether a request belongs to a call that is up: it is let through while draining, because ending calls is what we wait for.
func ofDialog(req *wire.Request) bool {
	return req.To.Tag != "" && req.Method != sip.REGISTER
}
