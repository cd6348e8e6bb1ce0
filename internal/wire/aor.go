package wire

// AOR is a canonical address-of-record: scheme, escapes resolved, host in lower case, no parameters (RFC 3261, 10.3 step 5). Its own type, so
// that nobody looks up a raw URI.
type AOR struct {
	User string // unescaped
	Host string // one of our domains, in lower case
}

func (a AOR) String() string { panic("wire.AOR.String") } // "sip:alice@example.org"; User escaped again

// Domains are the domains we are responsible for. The zero value owns nothing.
type Domains struct {
	names   []string        // the first is the primary domain
	aliases map[string]bool // numeric addresses and host names that count as the primary domain
}

// NewDomains: names are our domains, aliases (our own addresses, "192.0.2.7", "2001:db8::1") count as names[0].
func NewDomains(names, aliases []string) *Domains { panic("wire.NewDomains") }

// Primary is the first domain.
func (d *Domains) Primary() string { return d.names[0] }

// Domain maps a host (any case, IPv6 without brackets) to the domain of ours it means.
func (d *Domains) Domain(host string) (string, bool) { panic("wire.Domains.Domain") }

// AOR canonicalises a sip or sips URI whose host is ours: ok is false for any other URI. A URI without user is ok with User "".
func (d *Domains) AOR(u URI) (a AOR, ok bool) { panic("wire.Domains.AOR") }
