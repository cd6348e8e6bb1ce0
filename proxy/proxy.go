package proxy

import (
	"errors"
	"hash/maphash"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/auth"
	"signalbox/internal/gruu"
	"signalbox/internal/policy"
	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// Users tells which accounts exist.
type Users interface {
	Exists(user, domain string) bool
}

// Auth proves who sent a request.
type Auth interface {
	Verify(req *wire.Request, scope auth.Scope, realm string, from wire.FlowID) (auth.Identity, *wire.Error)
}

// Locator knows the contacts of an address-of-record, highest q first. RFC 3261, 16.5
type Locator interface {
	Lookup(aor wire.AOR) []location.Binding
}

// Resolver turns a URI into next hops (RFC 3263).
type Resolver interface {
	Resolve(u wire.URI, done func(hops []wire.Hop, err error))
	Failed(h wire.Hop)
}

// Starter starts client transactions: the transaction layer.
type Starter interface {
	Start(o *transaction.Owner, req *wire.Request, to transport.Flow, u transaction.User) *transaction.Client
}

// Inbound says which strangers, callers whose From is of a foreign domain, reach our users.
type Inbound string

const (
	Authenticated Inbound = "authenticated" // none: everybody authenticates
	Any           Inbound = "any"           // all: our users can be called from other domains
)

// Metrics are called on the owner of a call and must not block. Nil fields are silent.
type Metrics struct {
	Forwarded func(method string) // a request was sent to one target
	Looped    func()              // 482
	Forged    func()              // a Record-Route signature that is not ours
	Expired   func()              // Timer C fired
}

// Config is what New needs.
type Config struct {
	Domains  *wire.Domains
	Users    Users
	Auth     Auth
	Location Locator
	Resolver Resolver
	Network  transport.Network
	Layer    Starter

	Anchor   Anchor             // nil: no media is bridged
	Services map[string]Service // what answers to a name in our domains, unless a user has it: "echo"

	GRUU *gruu.Maker // the registrar's; nil: there are none

	FlowFailed func(id wire.FlowID) // hears that nobody is at the other end of a registered flow; nil: nobody listens

	Devices Devices               // nil: nobody added any
	Policy  func() *policy.Policy // the one that holds now; nil: none

	Edge *wire.Domains // whose edge proxy we are: others keep the registrations, we keep the flows; nil: nobody's

	Key     []byte  // 32 random bytes or more, persisted: signs Record-Route values, so that calls outlive a restart
	Inbound Inbound // "" means Authenticated

	// AllowPrivate lets requests go to other domains at loopback, private and link-local addresses. It is for operators who run several
	// SIP servers in one LAN; everybody else would open that LAN to their users.
	AllowPrivate bool

	Metrics Metrics
}

// Validate reports what is missing or wrong.
func (c *Config) Validate() error {
	switch {
	case c.Domains == nil, c.Users == nil, c.Auth == nil, c.Location == nil, c.Resolver == nil, c.Network == nil, c.Layer == nil:
		return errors.New("proxy: Domains, Users, Auth, Location, Resolver, Network and Layer are needed")
	case len(c.Key) < 32:
		return errors.New("proxy: Key needs at least 32 bytes")
	case c.Inbound != "" && c.Inbound != Authenticated && c.Inbound != Any:
		return errors.New(`proxy: inbound is "authenticated" or "any", not "` + string(c.Inbound) + `"`)
	}
	return nil
}

// Proxy is a stateful proxy (RFC 3261, 16.2). It implements transaction.Handler.
type Proxy struct {
	Config
	anchors anchors
	ringing ringing
	signer  *signer
	seed    maphash.Seed // of the loop marks; a loop does not outlive a restart
}

// New makes a proxy.
func New(c Config) (*Proxy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Proxy{Config: c, signer: newSigner(c.Key), seed: maphash.MakeSeed(), ringing: ringing{first: make(map[wire.AOR]*call)}}, nil
}

// ServeSIP processes one request. An error it returns is the final response.
func (p *Proxy) ServeSIP(tx *transaction.Server) error {
	c := p.newCall(tx)
	if tx.Request.Method == sip.ACK {
		return c.forwardACK()
	}
	c.preprocessRoute() // RFC 3261, 16.2 step 2, first, because step 1 asks who may be routed where
	if c.forUs() {
		return c.answer()
	}
	if err := c.validate(); err != nil { // RFC 3261, 16.2 step 1
		return err
	}
	if s := c.service(); s != nil {
		return s.ServeSIP(tx)
	}
	if err := c.findTargets(); err != nil { // RFC 3261, 16.2 step 3
		return err
	}
	if c.redirect() { // RFC 3841, 9.1
		return nil
	}
	c.forward() // RFC 3261, 16.2 step 4; step 5 follows in branch.ServeResponse
	return nil
}
