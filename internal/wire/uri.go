package wire

import "net/netip"

// URI is a SIP, SIPS or other URI (RFC 3261, 19.1 and 25.1) as substrings of Raw: parsing allocates nothing.
type URI struct {
	Raw            string // as it stood on the wire, and as it is written
	Scheme         string // lower case: "sip", "sips", "tel" ...; for schemes other than sip and sips only Raw and Scheme are set
	User, Password string // still escaped
	Host           string // lower case; an IPv6 reference without its brackets
	Port           int    // 0 when absent
	Params         string // raw with the leading ';', e.g. ";transport=tcp;lr"
	Headers        string // raw with the leading '?'
}

// ParseURI is strict: a URI it accepts is written back byte for byte and means one thing to everybody.
func ParseURI(s string) (URI, error) { panic("wire.ParseURI") }

func (u URI) String() string { return u.Raw }

// IsSIP tells whether the scheme is sip or sips.
func (u URI) IsSIP() bool { return u.Scheme == "sip" || u.Scheme == "sips" }

// Param returns a uri-parameter (name in lower case; names compare without case).
func (u URI) Param(name string) (value string, ok bool) { panic("wire.URI.Param") }

// Addr returns the host as an IP address if it is a numeric one (strict dotted quad or IPv6 reference; no octal, no short forms).
func (u URI) Addr() (netip.Addr, bool) { panic("wire.URI.Addr") }

// Equal compares per RFC 3261, 19.1.4.
func (u URI) Equal(v URI) bool { panic("wire.URI.Equal") }

// Address is a name-addr or addr-spec with header parameters: From, To, Contact, Route, Record-Route, Path (RFC 3261, 20.10).
type Address struct {
	Raw     string
	Display string // still quoted as on the wire
	URI     URI
	Params  string // header parameters, raw with the leading ';'
	Tag     string // the tag parameter, "" when absent
}

// ParseAddress reads one value (no comma list). "*" is accepted as a URI with Raw "*" and no scheme, for Contact.
func ParseAddress(s string) (Address, error) { panic("wire.ParseAddress") }

// Param returns a header parameter (name in lower case); quoted values come unquoted.
func (a Address) Param(name string) (value string, ok bool) { panic("wire.Address.Param") }

// Via is one via-parm (RFC 3261, 20.42, with RFC 3581's rport).
type Via struct {
	Raw       string
	Transport string // upper case: UDP TCP TLS WS WSS ...
	Host      string // sent-by host, lower case, no brackets
	Port      int    // 0 when absent
	Params    string // raw with the leading ';'
	Branch    string
	Received  string
	RPort     int  // value, 0 when absent or empty
	HasRPort  bool // the parameter is there, with or without a value
}

// ParseVia reads one via-parm.
func ParseVia(s string) (Via, error) { panic("wire.ParseVia") }

// Param returns a parameter from a raw ";a=b;c" string: the shared helper behind URI.Param and Address.Param.
func Param(params, name string) (value string, ok bool) { panic("wire.Param") }
