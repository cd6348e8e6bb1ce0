package location

import (
	"cmp"
	"slices"
	"time"

	"signalbox/internal/wire"
)

// Binding is one contact of an address-of-record. A Binding in the service is immutable. Times are kept in whole milliseconds.
type Binding struct {
	Contact    wire.URI // as registered
	Params     string   // contact parameters other than q and expires, raw with the leading ';' (feature tags, +sip.instance, reg-id)
	Q          int      // 0..1000, thousandths; 1000 when absent
	CallID     string
	CSeq       uint32
	Expires    time.Time // the wall clock is persisted, the monotonic clock decides while the process runs
	Created    time.Time // first registration of this contact
	Updated    time.Time
	Flow       wire.FlowID // where the REGISTER came from
	Behind     bool        // behind NAT: requests go to Flow, not to Contact's host
	Lost       time.Time   // when Flow died and took the only way to the phone with it; zero while there is one
	Path       []string    // RFC 3327 values, in order
	InstanceID string      // +sip.instance without quotes, in canonical form; "" when absent
	RegID      int         // RFC 5626: the flow of the instance that this binding stands for; 0 when the binding is one of RFC 3261
	Epoch      uint32      // of the instance: its temporary GRUUs of other epochs are void (RFC 5627, 5.1)
	EpochCSeq  uint32      // CSeq of the REGISTER that began the epoch (RFC 5628, 5); 0 when it is not known
	UserAgent  string
	Session    uint32   // serial number of the newest session token that the phone has shown; 0 when it never did
	Device     wire.AOR // the device somebody added on which the user is logged in with it; the zero value for a phone of the user's own
	Certified  bool     // the REGISTER came over a connection whose client certificate names its sender
}

// Usable tells whether a request can reach the phone by this binding. One whose flow has died stays until it expires or the phone comes back, so that the
// phone's GRUUs stay valid (RFC 5627, 5.4); nothing is sent by it (RFC 5626, 7).
func (b *Binding) Usable() bool { return b.Lost.IsZero() }

// DependsOnFlow tells whether the phone can be reached over Flow only, so that the binding is lost with it: a connection of a phone behind NAT, or of one that knows outbound (RFC 5626, 7), or
// whose Contact names the very port it comes from, where nobody listens once it is gone. A phone that listens elsewhere is connected to again, and an edge proxy where its Path says
// (RFC 3327, 5.4).
func (b *Binding) DependsOnFlow() bool {
	return b.Flow.Proto.Reliable() && len(b.Path) == 0 &&
		(b.Behind || b.RegID != 0 || b.Contact.Port == int(b.Flow.Remote.Port()) && b.Contact.Transport() == b.Flow.Proto)
}

// Stamp changes with every REGISTER that refreshes the binding, and outlives a restart: it tells temporary GRUUs apart (RFC 5627, 5.1). The most recent one of
// an instance is made from the stamp of its most recently updated binding.
func (b *Binding) Stamp() uint64 {
	return uint64(b.Updated.UnixMilli())<<20 ^ uint64(b.CSeq)<<8 ^ uint64(b.RegID)
}

// Newest is the most recently updated binding of an instance; nil if it has none.
func Newest(bs []Binding, instance string) (newest *Binding) {
	for i := range bs {
		if bs[i].InstanceID == instance && (newest == nil || bs[i].Updated.After(newest.Updated)) {
			newest = &bs[i]
		}
	}
	return newest
}

// byPreference puts the highest q first, and the most recently updated first among equals. RFC 3261, 16.6 leaves the order within one q to us.
func byPreference(a, b Binding) int {
	return cmp.Or(cmp.Compare(b.Q, a.Q), b.Updated.Compare(a.Updated))
}

// ordered returns the bindings by preference; bs itself is not changed.
func ordered(bs []Binding) []Binding {
	if slices.IsSortedFunc(bs, byPreference) {
		return bs
	}
	bs = slices.Clone(bs)
	slices.SortStableFunc(bs, byPreference)
	return bs
}
