package wire

// Bounds on what one message may be. They are constants: no operator has a reason to change what a phone may send.
const (
	// MaxMessage is the most bytes of one message, head and body: what a UDP datagram can hold, on streams too.
	MaxMessage = 64 << 10

	// MaxHeaders is the most header fields of one message. A message that crossed 70 hops with Via and Record-Route has about 160.
	MaxHeaders = 256

	// MaxHeaderValue is the most bytes of one header field's value. The longest seen in use are tokens of 4 to 8 KiB in Authorization.
	MaxHeaderValue = 16 << 10

	// MaxURI is the most bytes of a URI: above, a Request-URI gets 414.
	MaxURI = 4 << 10

	// MaxHost is the most bytes of a host name: a domain name has 253 and perhaps a dot at its end.
	MaxHost = 255

	// MaxMethod is the most bytes of a method: the longest registered one has 9, the torture test's 43.
	MaxMethod = 64

	// MaxParams is the most parameters of a URI or header value: comparing two URIs costs the product. A Contact with every
	// feature tag of RFC 3840 has about 30.
	MaxParams = 64

	// room is how many header fields can be added to a cloned message before its list is copied: two Record-Route, Via, Path.
	room = 4

	// keepBuffer is the most bytes of buffer that an idle stream keeps: 10,000 idle connections hold 20 MB.
	keepBuffer = 2 << 10
)
