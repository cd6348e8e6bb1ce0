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
	Path       []string    // RFC 3327 values, in order
	InstanceID string      // +sip.instance without quotes; "" when absent
	RegID      int         // RFC 5626; 0 when absent
	UserAgent  string
	Device     wire.AOR // the device that registered it, when that was not the user himself; the zero value otherwise
	Certified  bool     // the REGISTER came over a connection whose client certificate names its sender
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
