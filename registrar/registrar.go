package registrar

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/auth"
	"signalbox/internal/gruu"
	"signalbox/internal/policy"
	"signalbox/internal/transaction"
	"signalbox/internal/wire"
	"signalbox/location"
)

// Auth proves who sent a request.
type Auth interface {
	Verify(req *wire.Request, scope auth.Scope, realm string, from wire.FlowID) (auth.Identity, *wire.Error)
	Age(id auth.Identity) time.Duration
	Moved(id auth.Identity, from wire.FlowID) bool
	Again(req *wire.Request, scope auth.Scope, realm string, from wire.FlowID) *wire.Error
}

// Location keeps the bindings.
type Location interface {
	Lookup(aor wire.AOR) []location.Binding
	Update(aor wire.AOR, fn func(now []location.Binding) ([]location.Binding, error), done func(after []location.Binding, err error))
	All(yield func(aor wire.AOR, b []location.Binding) bool)
	Change(aor wire.AOR, why location.Reason, fn func(now []location.Binding) ([]location.Binding, error), done func(after []location.Binding, err error))
}

// Local knows our own listeners.
type Local interface {
	IsLocal(host string, port int) bool
}

// Metrics are called on the owner of a transaction and must not block. Nil fields are silent.
type Metrics struct {
	Changed func(contacts int) // bindings were changed; so many remain
	Queried func()             // bindings were asked for
}

// Config is what New needs. Zero intervals and limits mean the defaults in limits.go.
type Config struct {
	Domains  *wire.Domains
	Auth     Auth
	Location Location
	Local    Local
	GRUU     *gruu.Maker // nil: none are given out

	// Network, Timers and Layer keep the way open to phones behind NAT, and find out which flows are dead; nil: nobody does.
	Network Network
	Timers  *transaction.Owner
	Layer   Layer

	Tokens Tokens                // for phones that ask for one; nil: none are given out
	Logins Logins                // devices that somebody added, and who is on them; nil: there are none
	Policy func() *policy.Policy // the one that holds now; nil: none

	MinExpires, DefaultExpires, MaxExpires time.Duration // of a binding, whole seconds
	MaxContacts                            int           // bindings of an address

	Metrics Metrics
}

// Validate reports what is missing or wrong.
func (c *Config) Validate() error {
	switch {
	case c.Domains == nil, c.Auth == nil, c.Location == nil, c.Local == nil:
		return errors.New("registrar: Domains, Auth, Location and Local are needed")
	case c.MinExpires < time.Second || c.MinExpires > time.Hour:
		return errors.New("registrar: the shortest registration is not 1 s to 1 h") // RFC 3261, 10.3 step 7
	case c.DefaultExpires < c.MinExpires || c.MaxExpires < c.DefaultExpires:
		return errors.New("registrar: the default registration is not between the shortest and the longest")
	case c.MaxContacts < 1 || c.MaxContacts > location.MaxBindings:
		return errors.New("registrar: the limit of contacts is out of range")
	}
	return nil
}

// Registrar answers REGISTER. It implements transaction.Handler.
type Registrar struct {
	Config
	flows flows
	pings keepAlive
	watch flowWatch
	date  date

	replaced replaced
}

// New makes a registrar.
func New(c Config) (*Registrar, error) {
	if c.MinExpires == 0 {
		c.MinExpires = MinExpires
	}
	if c.DefaultExpires == 0 {
		c.DefaultExpires = DefaultExpires
	}
	if c.MaxExpires == 0 {
		c.MaxExpires = MaxExpires
	}
	if c.MaxContacts == 0 {
		c.MaxContacts = MaxContacts
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := &Registrar{Config: c, pings: keepAlive{network: c.Network, timers: c.Timers}, watch: flowWatch{timers: c.Timers}}
	for aor, bindings := range c.Location.All {
		r.keepOpen(aor, bindings)
	}
	return r, nil
}

// registration is one REGISTER under way.
type registration struct {
	*Registrar
	tx       *transaction.Server
	req      *wire.Request
	domain   string
	identity auth.Identity
	aor      wire.AOR
	options  options
	vias     int // proxies it came by, and the phone
	path     []string
	all      bool // Contact: *

	named      int            // so many values has Contact
	addresses  []wire.Address // these, unless they are too many
	oneAddress [1]wire.Address

	contacts []contact
	few      [2]location.Binding // room for what becomes of the bindings
	met      atomic.Bool         // of the two that finish a change, one was there
	after    []location.Binding  // what became of the bindings
	failed   error               // why nothing did
	outbound bool                // reg-id counts, and the phone knows outbound (RFC 5626, 6)
	terms    terms
	door     door
}

// registrations are those that nobody works at: more than a kilobyte each, twice for every refresh.
var registrations = sync.Pool{New: func() any { return new(registration) }}

// end is the last that happens to a registration.
func (g *registration) end() {
	*g = registration{}
	registrations.Put(g)
}

// ServeSIP processes one REGISTER (RFC 3261, 8.2.5) in the eight steps of RFC 3261, 10.3. An error it returns is the final response.
func (r *Registrar) ServeSIP(tx *transaction.Server) error {
	g := registrations.Get().(*registration)
	g.Registrar, g.tx, g.req, g.terms = r, tx, tx.Request, r.usualTerms()
	for _, step := range [...]func(*registration) error{
		(*registration).inspect,         // RFC 3261, 8.2.1 and 8.2.2.2
		(*registration).findDomain,      // RFC 3261, 10.3 step 1
		(*registration).checkExtensions, // RFC 3261, 10.3 step 2
		(*registration).authenticate,    // RFC 3261, 10.3 step 3
		(*registration).findAOR,         // RFC 3261, 10.3 step 5, first, because step 4 asks whose it is
		(*registration).authorize,       // RFC 3261, 10.3 step 4
		(*registration).readPath,        // RFC 3327, 5.3
		(*registration).readContacts,    // RFC 3261, 10.3 step 6
		(*registration).readFlows,       // RFC 5626, 6
	} {
		if err := step(g); err != nil {
			g.end()
			return err
		}
	}
	g.update() // RFC 3261, 10.3 step 7; step 8 follows in answer
	return nil
}

// inspect does what every UAS does first.
// RFC 3261, 8.2.3: not done, nothing in a REGISTER depends on its body, and no phone shall fail to register for one
func (g *registration) inspect() error {
	if g.req.Method != sip.REGISTER {
		return wire.Errorf(405, "", "registrar: %s", g.req.Method).With("Allow", "REGISTER") // RFC 3261, 8.2.1
	}
	if !g.req.To.URI.IsSIP() { // RFC 3261, 10.2: the address-of-record is a SIP URI; RFC 4475, 3.3.4
		return wire.Errorf(400, "To Is No SIP URI", "registrar: %q", g.req.To.URI.Raw)
	}
	values := wire.List(g.req, "Contact")
	g.named, g.addresses = len(values), g.oneAddress[:0]
	for _, value := range values { // what cannot be read is refused before anybody is asked for a password: RFC 4475, 3.1.2.13
		a, err := wire.ParseAddress(value)
		if err != nil {
			return wire.Errorf(400, "Bad Contact", "registrar: contact %q: %w", value, err)
		}
		if len(values) <= g.MaxContacts { // else it is refused anyway
			g.addresses = append(g.addresses, a)
		}
	}
	// RFC 3261, 8.2.2.2. What has no credentials changes nothing, however often it comes; and clients that do not count CSeq on when they answer
	// the challenge, as RFC 3261, 22.1 wants, must not be taken for merged requests.
	if wire.Has(g.req, "Authorization") && g.tx.Merged() {
		return wire.Errorf(482, "", "registrar: merged request")
	}
	return nil
}

// findDomain finds the domain that the Request-URI means.
func (g *registration) findDomain() error {
	uri := g.req.URI
	if !uri.IsSIP() {
		return wire.Errorf(416, "", "registrar: scheme %q", uri.Scheme) // RFC 3261, 8.2.2.1
	}
	domain, ours := g.Domains.Domain(uri.Host)
	if !ours {
		return wire.Errorf(404, "", "registrar: %q is no domain of ours", uri.Host)
	}
	g.domain = domain
	return nil
}

// authenticate finds out who sends the request.
func (g *registration) authenticate() error {
	if g.Logins != nil && g.showsCertificate() {
		return nil
	}
	id, refused := g.Auth.Verify(g.req, auth.Registrar, g.domain, g.tx.Flow.ID())
	if refused != nil {
		return refused
	}
	g.identity = id
	return nil
}

// findAOR brings the To address into its canonical form.
func (g *registration) findAOR() error {
	aor, ours := g.Domains.AOR(g.req.To.URI)
	if !ours || aor.Host != g.domain || aor.User == "" {
		return wire.Errorf(404, "", "registrar: %q is no address in %s", g.req.To.URI.Raw, g.domain)
	}
	g.aor = aor
	return nil
}

// authorize lets users change their own registrations only, and devices those of users that they may log in. From is who asks (RFC 3261, 10.2 From): it must be
// the one who was proven.
func (g *registration) authorize() error {
	from, ours := g.Domains.AOR(g.req.From.URI)
	user := wire.AOR{User: g.identity.User, Host: g.identity.Realm}
	if ours && from == user && g.Logins != nil {
		return g.findDoor(user)
	}
	if g.aor != user || !ours || from != user {
		return wire.Errorf(403, "", "registrar: %s as %q for %s", user, g.req.From.URI.Raw, g.aor)
	}
	return nil
}
