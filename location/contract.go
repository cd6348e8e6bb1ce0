// Package location is the location service: the bindings of every address-of-record (RFC 3261, 10.2.1, 10.3) ...
package location

import (
	"context"
	"database/sql"
	"time"

	"signalbox/internal/wire"
)

// Binding is one contact of an address-of-record. A Binding in the service is immutable.
type Binding struct {
	Contact    wire.URI // as registered
	Params     string   // contact parameters other than q and expires, raw with the leading ';' (feature tags, +sip.instance, reg-id)
	Q          int      // 0..1000, thousandths; 1000 when absent
	CallID     string
	CSeq       uint32
	Expires    time.Time // wall clock, persisted
	Created    time.Time // first registration of this contact
	Updated    time.Time
	Flow       wire.FlowID // where the REGISTER came from
	Behind     bool        // behind NAT: requests go to Flow, not to Contact's host
	Path       []string    // RFC 3327 values, in order
	InstanceID string      // +sip.instance without quotes; "" when absent
	RegID      int         // RFC 5626; 0 when absent
	UserAgent  string
}

// Service answers from memory; the store behind it makes it durable.
type Service struct{}

// Open loads the bindings that have not expired and starts the committer and the expiry wheel.
func Open(db *sql.DB, c Config) (*Service, error) { return nil, nil }

type Config struct {
	Changed func(aor wire.AOR, before, after []Binding, why Reason) // after every commit and expiry; must not block; nil is silent
}

type Reason string

const (
	Registered Reason = "registered"
	Expired    Reason = "expired"
	Removed    Reason = "removed"
)

// Lookup returns the live bindings, highest q first, most recently updated first among equals. The slice is shared: do not change it. It allocates nothing.
func (s *Service) Lookup(aor wire.AOR) []Binding { return nil }

// Update changes the bindings of one AOR, all or nothing (RFC 3261, 10.3 step 7): fn gets the live ones, pending updates of the same AOR included, and returns the new set, or an
// error that leaves everything as it was. done is called exactly once: after the commit (synchronous=FULL) with the new set, or with fn's or the store's error. fn may
// run on any goroutine; neither may block. Order per AOR is the order of calls. If fn returns the same set changed in nothing, done follows at once.
func (s *Service) Update(aor wire.AOR, fn func(now []Binding) ([]Binding, error), done func(after []Binding, err error)) {
}

// All calls yield for every AOR with live bindings until it returns false (reg list).
func (s *Service) All(yield func(aor wire.AOR, b []Binding) bool) {}

// Len is the number of live bindings.
func (s *Service) Len() int { return 0 }

// Close commits what is pending.
func (s *Service) Close(ctx context.Context) error { return nil }
