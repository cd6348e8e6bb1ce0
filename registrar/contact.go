package registrar

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"signalbox/internal/wire"
)

// contact is what one Contact value asks for.
type contact struct {
	uri      wire.URI
	params   string        // all but q and expires, raw with the leading ';'
	q        int           // thousandths
	interval time.Duration // 0 removes
	instance string        // +sip.instance
	regID    int           // 0: a contact as in RFC 3261
	behind   bool
	device   wire.AOR // that somebody added, where a user logs in with it
}

// Errors of a Contact value, for the log.
var (
	errQ     = errors.New("registrar: q is not 0 to 1 with three digits")
	errTwice = errors.New("registrar: parameter stands twice")
	errRegID = errors.New("registrar: reg-id is not 1 to 2147483647")
)

// readContacts reads the Contact header field, if there is one.
func (g *registration) readContacts() error {
	if g.named > g.MaxContacts {
		return wire.Errorf(403, "Too Many Contacts", "registrar: %d contacts", g.named)
	}
	if len(g.req.CallID) > maxCallID {
		return wire.Errorf(403, "Call-ID Too Long", "registrar: Call-ID of %d bytes", len(g.req.CallID))
	}
	for i := range g.addresses {
		if g.addresses[i].Raw == "*" {
			return g.readStar()
		}
	}
	if g.named == 0 {
		return nil
	}
	g.contacts = make([]contact, 0, g.named)
	for i := range g.addresses {
		c, err := g.readContact(&g.addresses[i])
		if err != nil {
			return err
		}
		for i := range g.contacts {
			if g.contacts[i].uri.Equal(c.uri) {
				return wire.Errorf(400, "Contact Stands Twice", "registrar: contact %q twice", c.uri.Raw)
			}
		}
		g.contacts = append(g.contacts, c)
	}
	return nil
}

// readStar: "*" stands alone, with an Expires of zero (RFC 3261, 10.3 step 6).
func (g *registration) readStar() error {
	expires, ok := deltaSeconds(wire.Get(g.req, "Expires"))
	if g.named != 1 || !ok || expires != 0 {
		return wire.Errorf(400, "Invalid Request", "registrar: Contact * with %d contacts and Expires %q", g.named, wire.Get(g.req, "Expires"))
	}
	g.all = true
	return nil
}

// readContact checks whether what one value asks for can be granted.
func (g *registration) readContact(address *wire.Address) (contact, error) {
	value := address.Raw
	if len(value) > maxContact {
		return contact{}, wire.Errorf(403, "Contact Too Long", "registrar: contact of %d bytes", len(value))
	}
	c := contact{uri: address.URI, q: 1000}
	if !c.uri.IsSIP() {
		// RFC 3261, 10.2.1 lets phones ask for any scheme; we would answer 200 and never be able to call it.
		return contact{}, wire.Errorf(403, "Contact Scheme Not Supported", "registrar: contact %q", value)
	}
	if g.leadsToUs(c.uri) {
		return contact{}, wire.Errorf(403, "Contact Is This Server", "registrar: contact %q", value)
	}
	requested, err := c.readParams(address.Params)
	if err != nil {
		return contact{}, wire.Errorf(400, "Bad Contact", "registrar: contact %q: %w", value, err)
	}
	c.behind = len(g.path) > 0 || g.isBehind(c.uri)
	if err := g.consult(&c, requested); err != nil {
		return contact{}, err
	}
	if c.interval, err = g.grant(requested); err != nil {
		return contact{}, err
	}
	return c, g.staysWithin(&c)
}

// readParams takes q and expires out of the parameters and returns the value of the latter, "" if there is none.
func (c *contact) readParams(params string) (expires string, err error) {
	c.params = params
	seenQ := false
	for rest := params; rest != ""; {
		var p string
		p, rest = wire.SplitParam(rest)
		name, value, _ := strings.Cut(p[1:], "=")
		value = wire.Unquote(strings.TrimSpace(value))
		switch name = strings.TrimSpace(name); {
		case strings.EqualFold(name, "expires"):
			if expires != "" {
				return "", errTwice
			}
			if expires = value; value == "" {
				expires = "malformed"
			}
			c.leaveOut(p, rest)
		case strings.EqualFold(name, "q"):
			if seenQ {
				return "", errTwice
			}
			seenQ = true
			var ok bool
			if c.q, ok = qvalue(value); !ok {
				return "", errQ
			}
			c.leaveOut(p, rest)
		case strings.EqualFold(name, "+sip.instance"):
			c.instance = canonicalInstance(value)
		case strings.EqualFold(name, "reg-id"):
			id, err := strconv.ParseUint(value, 10, 31)
			if err != nil || id == 0 {
				return "", errRegID
			}
			c.regID = int(id)
		case strings.EqualFold(name, "pub-gruu"), strings.EqualFold(name, "temp-gruu"):
			c.leaveOut(p, rest) // a phone cannot propose any (RFC 5627, 5.1)
		}
	}
	return expires, nil
}

// leaveOut takes a parameter, with its semicolon, out of those that are kept: they end with it and the rest.
func (c *contact) leaveOut(p, rest string) {
	before := c.params[:len(c.params)-len(p)-len(rest)]
	switch {
	case before == "":
		c.params = rest
	case rest == "":
		c.params = before
	default:
		c.params = before + rest
	}
}

// grant determines the interval of a contact from its expires parameter, else from the Expires header field, else by our own rule
// (RFC 3261, 10.3 step 7).
func (g *registration) grant(expires string) (time.Duration, error) {
	if expires == "" {
		if expires = wire.Get(g.req, "Expires"); expires == "" && !wire.Has(g.req, "Expires") {
			return g.terms.usual, nil
		}
	}
	seconds, ok := deltaSeconds(expires)
	if !ok {
		seconds = 3600 // RFC 3261, 10.2: what is malformed means an hour
	}
	interval := time.Duration(seconds) * time.Second
	if interval > 0 && interval < g.terms.least { // which is an hour at most
		least := strconv.FormatInt(int64((g.terms.least+time.Second-1)/time.Second), 10)
		return 0, wire.Errorf(423, "", "registrar: %v asked for", interval).With("Min-Expires", least)
	}
	return min(interval, g.terms.most), nil
}

// deltaSeconds reads 0 to 2**32-1 (RFC 3261, 20.19).
func deltaSeconds(s string) (uint32, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// qvalue reads 0 to 1 with at most three digits behind the point, in thousandths (RFC 3261, 25.1).
func qvalue(s string) (int, bool) {
	whole, digits, point := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || point && len(digits) > 3 {
		return 0, false
	}
	q := int(whole[0]-'0') * 1000
	for i, unit := 0, 100; i < len(digits); i, unit = i+1, unit/10 {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		q += int(digits[i]-'0') * unit
	}
	return q, q <= 1000
}
