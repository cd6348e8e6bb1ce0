package regevent

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// begin prepares a NOTIFY: its numbers go to disk first, unless they are there.
func (s *subscription) begin() {
	s.busy = true
	if s.ended == "" {
		if s.ended = s.objection(); s.ended != "" {
			if s.ended == "rejected" {
				s.full, s.changes = false, nil // not for these eyes any more
			}
			s.forget(s.ended)
		}
	}
	if s.reserved || s.ended != "" {
		s.send()
		return
	}
	s.reserve()
	// A disk that fails costs exact numbers after a restart, not the NOTIFY.
	s.save(func(error) { s.owner.Do(s.send) })
}

// objection is why the subscription must not go on. RFC 6665, 4.1.3
func (s *subscription) objection() string {
	switch {
	case !s.n.Users.Exists(s.aor.User, s.aor.Host):
		return "noresource" // the account was removed
	case !s.n.Users.Exists(s.watcher.User, s.watcher.Host), !s.n.allowed(s.watcher, s.aor), s.loggedOut():
		return "rejected"
	}
	return ""
}

// loggedOut: the device subscribed in the name of a user who is not there any more.
func (s *subscription) loggedOut() bool {
	return s.device != (wire.AOR{}) && !slices.ContainsFunc(s.n.Location.Lookup(s.watcher), func(b location.Binding) bool { return b.Device == s.device })
}

// reserve counts on for the next NOTIFY.
func (s *subscription) reserve() {
	if !s.reserved {
		s.seq++
		s.version++
		s.reserved = true
	}
}

// send sends the NOTIFY that is prepared, if there is a way. Nobody to be reached is no end: the phone comes back on another connection. RFC 6665, 4.2.2
func (s *subscription) send() {
	flow, ok := s.way()
	s.prompt = false
	if !ok {
		s.busy, s.stranded, s.full, s.changes = false, true, true, nil
		if s.ended != "" {
			s.detach()
			return
		}
		s.next()
		return
	}
	if !s.reserved { // the last one
		s.reserve()
	}
	req, flow := s.notify(flow)
	s.reserved, s.last = false, s.ended != ""
	s.notBefore = time.Now().Add(pace)
	s.n.Layer.Start(s.owner, req, flow, s)
}

// notify builds the NOTIFY, and takes what it tells out of what waits. One that is too large for a datagram goes over TCP to a phone that listens there, or may; else in a
// datagram all the same: what is full state is never cut. RFC 6665, 4.2.2; RFC 3261, 18.1.1
func (s *subscription) notify(flow transport.Flow) (*wire.Request, transport.Flow) {
	req := s.head(flow)
	if !s.full && len(s.changes) == 0 {
		return req, flow
	}
	room := maxBody
	if !flow.ID().Proto.Reliable() {
		room = maxDatagram - len(wire.Append(nil, req))
	}
	body := s.body(room)
	if len(body) > room {
		if stream, ok := s.overTCP(); ok {
			flow, req = stream, s.head(stream)
		}
	}
	wire.Add(req, "Content-Type", mediaType)
	req.SetBody(body)
	return req, flow
}

// head builds the NOTIFY without what it tells. RFC 3261, 12.2.1.1
func (s *subscription) head(flow transport.Flow) *wire.Request {
	target, routes := s.target, s.routes
	if len(routes) > 0 {
		if first, err := wire.ParseAddress(routes[0]); err == nil {
			if _, loose := first.URI.Param("lr"); !loose {
				routes = append(slices.Clone(routes[1:]), "<"+target.Raw+">")
				target = first.URI
			}
		}
	}
	req := wire.NewRequest("NOTIFY", target)
	wire.Add(req, "Via", "SIP/2.0/"+flow.ID().Proto.String()+" "+flow.SentBy().String()+";branch="+wire.NewBranch())
	for _, route := range routes {
		wire.Add(req, "Route", route)
	}
	wire.Add(req, "Max-Forwards", "70")
	wire.Add(req, "From", s.from)
	wire.Add(req, "To", s.to)
	wire.Add(req, "Call-ID", s.dialog.callID)
	wire.Add(req, "CSeq", strconv.FormatUint(uint64(s.seq), 10)+" NOTIFY")
	wire.Add(req, "Contact", contactOn(flow, s.secure))
	wire.Add(req, "Event", s.event)
	wire.Add(req, "Subscription-State", s.state())
	return req
}

// state is the value of Subscription-State. RFC 6665, 8.2.3 and 4.1.3
func (s *subscription) state() string {
	if s.ended != "" {
		return "terminated;reason=" + s.ended
	}
	left := time.Until(s.expires).Round(time.Second) / time.Second
	return "active;expires=" + seconds(int(max(left, 0)))
}

func seconds(n int) string { return strconv.Itoa(n) }

// body writes the document. Full state is whole, however large: what it leaves out would be gone for the subscriber (RFC 3680, 4.7.2). Of changes those that find no room wait
// for the next document. The subscriber's own contact comes first.
func (s *subscription) body(room int) []byte {
	bindings := s.n.Location.Lookup(s.aor)
	d := document{aor: s.aor, version: s.version - 1, full: s.full, now: time.Now(), gruus: s.n.GRUUs, retryAfter: s.n.RetryAfter}
	if s.watcher != s.aor {
		d.gruus = withoutTemporary(s.n.GRUUs)
	}
	switch {
	case len(bindings) > 0:
		d.state = "active"
	case s.full:
		d.state = "init"
	default:
		d.state = "terminated"
	}
	list := s.changes
	if s.full {
		list = make([]change, 0, len(bindings))
		for i := range bindings {
			b := &bindings[i]
			list = append(list, change{id: contactID(b), event: standing(b), binding: b})
		}
		slices.SortStableFunc(list, func(a, b change) int { return s.foreign(a) - s.foreign(b) })
	}
	text, n := d.write(list, room)
	if s.full && n < len(list) {
		text, n = d.write(list, maxBody)
	}
	s.full, s.changes = false, slices.Clone(list[n:])
	return text
}

// foreign is 0 for the subscriber's own contact.
func (s *subscription) foreign(c change) int {
	if c.binding.Contact.Equal(s.target) || s.sameInstance(c.binding) {
		return 0
	}
	return 1
}

// withoutTemporary leaves out the addresses that are for those who may register. RFC 5628, 5
func withoutTemporary(gruus func(wire.AOR, *location.Binding) GRUU) func(wire.AOR, *location.Binding) GRUU {
	if gruus == nil {
		return nil
	}
	return func(aor wire.AOR, b *location.Binding) GRUU { return GRUU{Public: gruus(aor, b).Public} }
}

// ServeResponse hears what the subscriber says to a NOTIFY. RFC 6665, 4.2.2
func (s *subscription) ServeResponse(_ *transaction.Client, res *wire.Response) {
	if res.StatusCode < 200 {
		return
	}
	s.busy = false
	switch code := res.StatusCode; {
	case s.last:
		s.detach()
		return
	case code < 300:
	case ends(code):
		s.terminate(strconv.Itoa(code))
		return
	default: // perhaps it did not read the document: the next one tells everything
		s.full, s.changes = true, nil
		s.hold(res)
		return
	}
	s.next()
}

// ends tells whether a response to NOTIFY ends the subscription. RFC 6665, 4.2.2; 408 is what a timeout counts as (RFC 3261, 8.1.3.1).
func ends(code int) bool {
	switch code {
	case 404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return true
	}
	return false
}

// hold waits after a refusal: for the next change or the next SUBSCRIBE, and at least as long as the subscriber asks for.
func (s *subscription) hold(res *wire.Response) {
	value, _, _ := strings.Cut(wire.Get(res, "Retry-After"), ";")
	if wait, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && wait > 0 {
		s.notBefore = time.Now().Add(min(time.Duration(wait)*time.Second, maxRetryAfter))
	}
	s.stranded = true
	s.next()
}

// ServeFailure hears that a NOTIFY was not answered. Silence ends the subscription (RFC 6665, 4.2.2); a connection that breaks does not.
func (s *subscription) ServeFailure(c *transaction.Client, err error) {
	s.busy = false
	switch {
	case s.last:
		s.detach()
	case errors.Is(err, transaction.ErrTimeout):
		s.terminate("408")
	case c.Flow.ID() == s.stream: // nobody listens there: RFC 3261, 18.1.1
		s.datagrams, s.full, s.changes, s.prompt = true, true, nil, true
		s.next()
	default:
		other, ok := s.moved()
		s.stranded = !ok || other.ID() == c.Flow.ID()
		s.full, s.changes = true, nil
		s.next()
	}
}

// contactOn is our remote target as a peer on this flow reaches it: an address that leads to this server and no other, and so has the property of a GRUU,
// which it says. RFC 6665, 4.5.1; RFC 5627, 4.3
func contactOn(flow transport.Flow, secure bool) string {
	b := []byte("<sip:")
	if secure {
		b = []byte("<sips:")
	}
	b = flow.SentBy().AppendTo(b)
	switch flow.ID().Proto {
	case wire.TCP:
		b = append(b, ";transport=tcp"...)
	case wire.TLS:
		if !secure {
			b = append(b, ";transport=tls"...)
		}
	case wire.WS, wire.WSS:
		b = append(b, ";transport=ws"...) // RFC 7118, 5.2
	}
	return string(append(b, ";gr=reg>"...))
}
