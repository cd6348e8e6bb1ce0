package regevent

import (
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/auth"
	"signalbox/internal/transaction"
	"signalbox/internal/wire"
)

// request is one SUBSCRIBE under way.
type request struct {
	*Notifier
	tx       *transaction.Server
	req      *wire.Request
	sub      *subscription // the one it is within; nil for a new one
	aor      wire.AOR
	watcher  wire.AOR
	device   wire.AOR // that somebody added, on which the watcher is logged in and which subscribes in his name
	identity auth.Identity
	event    string
	contact  wire.Address // without URI if there is none
	interval time.Duration
}

// ServeSIP processes one SUBSCRIBE (RFC 6665, 4.2.1). An error it returns is the final response.
func (n *Notifier) ServeSIP(tx *transaction.Server) error {
	r := &request{Notifier: n, tx: tx, req: tx.Request}
	for _, step := range [...]func(*request) error{
		(*request).inspect,      // RFC 3261, 8.2
		(*request).findDialog,   // RFC 3261, 12.2.2
		(*request).checkPackage, // RFC 6665, 4.2.1.1
		(*request).authenticate, // RFC 6665, 4.2.1.3
		(*request).authorize,
		(*request).readContact, // RFC 3261, 12.1.1
	} {
		if err := step(r); err != nil {
			return err
		}
	}
	var err error
	if r.interval, err = readExpires(r.req); err != nil {
		return err
	}
	if r.sub != nil {
		r.refresh()
		return nil
	}
	return r.subscribe()
}

// inspect does what every UAS does first. A CANCEL of a SUBSCRIBE never comes here: the transaction layer answers it, and it changes nothing. RFC 6665, 4.6
func (r *request) inspect() error {
	if r.req.Method != sip.SUBSCRIBE {
		return wire.Errorf(405, "", "regevent: %s", r.req.Method).With("Allow", "SUBSCRIBE") // RFC 3261, 8.2.1
	}
	// RFC 3261, 8.2.2.2; the first request, without credentials, changes nothing.
	if r.req.To.Tag == "" && wire.Has(r.req, "Authorization") && r.tx.Merged() {
		return wire.Errorf(482, "", "regevent: merged request")
	}
	if required := wire.List(r.req, "Require"); len(required) > 0 { // RFC 3261, 8.2.2.3
		tags := strings.Join(required, ", ")
		return wire.Errorf(420, "", "regevent: Require: %s", tags).With("Unsupported", tags)
	}
	for _, name := range [...]string{r.req.CallID, r.req.From.Raw, r.req.To.Raw} {
		if len(name) > maxField {
			return wire.Errorf(403, "Header Field Too Long", "regevent: %d bytes", len(name))
		}
	}
	return nil
}

// findDialog finds the subscription that a request within a dialog belongs to.
func (r *request) findDialog() error {
	if r.req.To.Tag == "" {
		return nil
	}
	if r.sub = r.table.find(dialogOf(r.req)); r.sub == nil {
		return wire.Errorf(481, "Subscription Does Not Exist", "regevent: no dialog %s", r.req.CallID)
	}
	return nil
}

// checkPackage: the event package is ours, we can write what the subscriber reads, and understand what it sends.
func (r *request) checkPackage() (err error) {
	if r.event, err = readEvent(r.req); err != nil {
		return err
	}
	if r.sub != nil && r.event != r.sub.event {
		return wire.Errorf(403, "Dialog Sharing Not Supported", "regevent: Event %s in a dialog of %s", r.event, r.sub.event) // RFC 6665, 4.5.2
	}
	if !accepts(r.req) {
		return wire.Errorf(406, "", "regevent: Accept %q", wire.Get(r.req, "Accept")).With("Accept", mediaType) // RFC 6665, 4.1.2.1
	}
	// RFC 3261, 8.2.3: no filter is understood (RFC 3680, 4.3), and a body that may be ignored says so.
	if len(r.req.Body()) > 0 && !strings.Contains(strings.ToLower(wire.Get(r.req, "Content-Disposition")), "handling=optional") {
		return wire.Errorf(415, "", "regevent: body of type %q", wire.Get(r.req, "Content-Type")).With("Accept", "")
	}
	return nil
}

// authenticate finds out who subscribes: as a UAS, by 401. From is who asks. RFC 6665, 4.2.1.3
func (r *request) authenticate() error {
	from, ours := r.Domains.AOR(r.req.From.URI)
	realm := from.Host
	if !ours {
		realm = r.Domains.Primary()
	} else if r.Vouches != nil && r.Vouches(r.tx.Flow, wire.AOR{}, from) && (r.sub == nil || r.sub.watcher == from) {
		r.watcher, r.device = from, r.deviceOf(from)
		return nil
	}
	id, refused := r.Auth.Verify(r.req, auth.Registrar, realm, r.tx.Flow.ID())
	if refused != nil {
		return refused
	}
	user := wire.AOR{User: id.User, Host: id.Realm}
	if ours && from != user && r.Vouches != nil && r.Vouches(r.tx.Flow, user, from) {
		user, r.device = from, r.deviceOf(from)
	}
	if !ours || from != user || r.sub != nil && r.sub.watcher != user {
		return wire.Errorf(403, "", "regevent: %s sent From %s", user, r.req.From.URI.Raw)
	}
	r.watcher, r.identity = user, id
	return nil
}

// deviceOf is the device on which a user is logged in over the flow of the request.
func (r *request) deviceOf(user wire.AOR) wire.AOR {
	for _, b := range r.Location.Lookup(user) {
		if b.Flow == r.tx.Flow.ID() {
			return b.Device
		}
	}
	return wire.AOR{}
}

// authorize lets users watch their own registrations, and others where the policy allows it. Who may not, does not learn who exists. RFC 3680, 4.6
func (r *request) authorize() error {
	if r.sub != nil {
		r.aor = r.sub.aor
	} else {
		aor, ours := r.Domains.AOR(r.req.URI)
		if !ours || aor.User == "" {
			return wire.Errorf(404, "", "regevent: %q is no address of ours", r.req.URI.Raw)
		}
		r.aor = aor
	}
	if !r.allowed(r.watcher, r.aor) {
		return wire.Errorf(403, "", "regevent: %s may not watch %s", r.watcher, r.aor)
	}
	if !r.Users.Exists(r.aor.User, r.aor.Host) {
		return wire.Errorf(404, "", "regevent: no user %s", r.aor)
	}
	return nil
}

func (n *Notifier) allowed(watcher, aor wire.AOR) bool {
	return watcher == aor || n.Allow != nil && n.Allow(watcher, aor)
}

// readContact reads where NOTIFY shall go: exactly one SIP URI when the dialog begins, at most one later (a target refresh). RFC 3261, 12.1.1 and 12.2.2
func (r *request) readContact() error {
	values := wire.List(r.req, "Contact")
	if len(values) == 0 && r.sub != nil {
		return nil
	}
	if len(values) != 1 {
		return wire.Errorf(400, "One Contact Needed", "regevent: %d contacts", len(values))
	}
	a, err := wire.ParseAddress(values[0])
	switch {
	case err != nil || !a.URI.IsSIP() || len(values[0]) > maxField:
		return wire.Errorf(400, "Bad Contact", "regevent: contact %q", values[0])
	case r.req.URI.Scheme == "sips" && a.URI.Scheme != "sips":
		return wire.Errorf(400, "SIPS Contact Needed", "regevent: contact %q", values[0]) // RFC 5630, 3.1.3
	}
	r.contact = a
	return nil
}

// subscribe makes the subscription and its dialog. It is answered when it is on disk; the NOTIFY follows. RFC 6665, 4.2.1.1 and 4.2.1.2
func (r *request) subscribe() error {
	routes := wire.List(r.req, "Record-Route")
	if len(routes) > maxRoutes || len(strings.Join(routes, "")) > maxField*4 {
		return wire.Errorf(403, "Too Many Routes", "regevent: %d routes", len(routes))
	}
	s := r.newSubscription(routes)
	if err := r.table.add(s); err != nil {
		return err
	}
	s.owner.Do(func() { s.accept(r) })
	return nil
}

// refresh extends or ends a subscription. RFC 6665, 3.1, 4.2.1.4 and 4.1.2.3
func (r *request) refresh() {
	r.sub.owner.Do(func() { r.sub.accept(r) })
}

// answer sends the 200, or what went wrong, as the owner of the transaction; then, as that of the subscription, what follows.
func (r *request) answer(err error, then func()) {
	s := r.sub
	interval := int(r.interval / time.Second)
	r.tx.Owner().Do(func() {
		if err != nil {
			r.tx.Fail(err)
		} else {
			r.tx.Respond(s.response(r, interval))
		}
		s.owner.Do(then)
	})
}

// response is the 200, never a 202. RFC 6665, 4.2.1.1 and 8.3.1; RFC 3261, 12.1.1
func (s *subscription) response(r *request, interval int) *wire.Response {
	res := wire.NewResponse(r.req, 200, "", s.dialog.local)
	if r.req.To.Tag == "" {
		for _, route := range s.routes {
			wire.Add(res, "Record-Route", route)
		}
		wire.Add(res, "Allow-Events", packageName) // RFC 6665, 4.4.4
	}
	wire.Add(res, "Contact", contactOn(r.tx.Flow, s.secure))
	wire.Add(res, "Expires", seconds(interval))
	if r.identity.Info != "" {
		wire.Add(res, "Authentication-Info", r.identity.Info) // RFC 7616, 3.5
	}
	return res
}
