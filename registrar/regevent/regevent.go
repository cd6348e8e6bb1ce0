package regevent

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/auth"
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

// Location knows the bindings.
type Location interface {
	Lookup(aor wire.AOR) []location.Binding
}

// Layer starts client transactions: the transaction layer.
type Layer interface {
	NewOwner() *transaction.Owner
	Start(o *transaction.Owner, req *wire.Request, to transport.Flow, u transaction.User) *transaction.Client
}

// Store keeps subscriptions over restarts. Its methods do not block.
type Store interface {
	// Save calls done when the subscription is on disk, or cannot be.
	Save(id string, expires time.Time, data []byte, done func(error))
	Remove(id string)
}

// GRUU is the pair of addresses of a binding (RFC 5627): "" where there is none.
type GRUU struct {
	Public, Temporary string
	FirstCSeq         uint32 // of the REGISTER that got the oldest temporary one that is still valid
}

// Config is what New needs.
type Config struct {
	Domains  *wire.Domains
	Users    Users
	Auth     Auth
	Location Location
	Network  transport.Network
	Layer    Layer
	Store    Store // nil: a restart forgets all subscriptions

	// Allow tells who may watch the registrations of others. nil: nobody may; one's own everybody may. RFC 3680, 4.6
	Allow func(watcher, aor wire.AOR) bool
	// Vouches tells whether a device may use From on a flow: the one that was proven, or (the zero value) that a client certificate names. nil: none may.
	Vouches func(flow transport.Flow, proven, from wire.AOR) bool
	// GRUUs gives the addresses of a binding for an address-of-record; nil: there are none.
	GRUUs func(aor wire.AOR, b *location.Binding) GRUU
	// RetryAfter tells when a phone may come back whose binding was put on probation; nil: after five minutes. RFC 3680, 5.1
	RetryAfter func(aor wire.AOR, b *location.Binding) time.Duration
	// Happened hears of subscriptions that begin and end; nil is silent. It must not block.
	Happened func(Happening)
	Logger   *slog.Logger // nil is slog.Default()
}

// Happening is the begin or end of a subscription.
type Happening struct {
	AOR, Watcher wire.AOR
	Flow         wire.FlowID
	Began        bool
	Reason       string // of the end, as in Subscription-State, or the response that a NOTIFY got
}

// Validate reports what is missing.
func (c *Config) Validate() error {
	if c.Domains == nil || c.Users == nil || c.Auth == nil || c.Location == nil || c.Network == nil || c.Layer == nil {
		return errors.New("regevent: Domains, Users, Auth, Location, Network and Layer are needed")
	}
	return nil
}

// Notifier serves SUBSCRIBE and sends NOTIFY (RFC 6665, 3.1 and 3.2). It implements transaction.Handler.
type Notifier struct {
	Config
	table table
}

// New makes a notifier without subscriptions.
func New(c Config) (*Notifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.RetryAfter == nil {
		c.RetryAfter = func(wire.AOR, *location.Binding) time.Duration { return probation }
	}
	n := &Notifier{Config: c}
	n.table.init()
	return n, nil
}

// Serves tells whether a SUBSCRIBE is for this notifier: the request is within one of its dialogs, or asks about registrations of our domains, or asks
// the server itself. All others are for phones. RFC 6665, 3.1.2
func (n *Notifier) Serves(req *wire.Request) bool {
	if req.Method != sip.SUBSCRIBE || !req.URI.IsSIP() {
		return false
	}
	if req.To.Tag != "" && (n.table.find(dialogOf(req)) != nil || n.isContact(req.URI)) {
		return true
	}
	aor, ours := n.Domains.AOR(req.URI)
	if _, maddr := req.URI.Param("maddr"); !ours || maddr {
		return false
	}
	name, _ := cutEvent(wire.First(req, "Event"))
	return name == packageName || strings.HasPrefix(name, packageName+".") || aor.User == "" && req.To.Tag == "" // templates of our package are ours to refuse
}

// Owns tells whether a request is within a dialog of ours.
func (n *Notifier) Owns(req *wire.Request) bool { return n.table.find(dialogOf(req)) != nil }

// isContact tells whether a URI is the remote target of our dialogs.
func (n *Notifier) isContact(u wire.URI) bool {
	return u.User == "" && n.Network.IsLocal(u.Host, u.Port)
}

// Len is the number of subscriptions.
func (n *Notifier) Len() int { return n.table.len() }
