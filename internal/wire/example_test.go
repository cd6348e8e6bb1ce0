package wire_test

import (
	"fmt"
	"strings"

	"signalbox/internal/wire"
)

// A stateless proxy in small: read, change, write (RFC 3261, 16.11).
func Example() {
	received := strings.ReplaceAll(`OPTIONS sip:bob@example.org SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK74bf9
Max-Forwards: 70
f: "Alice" <sip:alice@example.org>;tag=9fxced76sl
To: <sip:bob@example.org>
Call-ID: 38482762
CSeq: 1 OPTIONS
X-Unknown: passes,;as it is
Content-Length: 0

`, "\n", "\r\n")
	m, err := wire.Parse([]byte(received))
	if err != nil {
		fmt.Println(err)
		return
	}
	req := m.(*wire.Request).Clone()
	fmt.Println(req.Method, "from", req.From.URI.User, "by", req.Via.Host)

	target, _ := wire.ParseURI("sip:bob@192.0.2.20:5070")
	req.SetURI(target)
	req.SetMaxForwards(req.MaxForwards - 1)
	wire.Push(req, "Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1d32e")
	fmt.Print(strings.ReplaceAll(string(wire.Append(nil, req)), "\r\n", "\n"))
	// Output:
	// OPTIONS from alice by 192.0.2.10
	// OPTIONS sip:bob@192.0.2.20:5070 SIP/2.0
	// Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1d32e
	// Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK74bf9
	// Max-Forwards: 69
	// f: "Alice" <sip:alice@example.org>;tag=9fxced76sl
	// To: <sip:bob@example.org>
	// Call-ID: 38482762
	// CSeq: 1 OPTIONS
	// X-Unknown: passes,;as it is
	// Content-Length: 0
}
