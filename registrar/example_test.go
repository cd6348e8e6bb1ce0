package registrar_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"

	"signalbox/internal/auth"
	"signalbox/internal/database"
	"signalbox/internal/transaction"
	"signalbox/internal/wire"
	"signalbox/location"
	"signalbox/registrar"
)

// A registrar for example.org, with one user and bindings in memory, on a flow that prints what is sent.
func Example() {
	bindings, _ := location.Open(nil, location.Config{Volatile: true})
	defer bindings.Close(context.Background())
	verifier, _ := auth.NewVerifier(auth.Config{Users: users{}, Key: []byte(rand.Text() + rand.Text())[:32]})

	r, err := registrar.New(registrar.Config{
		Domains:  wire.NewDomains([]string{"example.org"}, nil),
		Auth:     verifier,
		Location: bindings,
		Local:    here{},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	layer := transaction.New(transaction.Config{Handler: r})
	defer layer.Close()

	request, _ := wire.Parse([]byte(strings.ReplaceAll(`REGISTER sip:example.org SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa
Max-Forwards: 70
From: <sip:alice@example.org>;tag=a
To: <sip:alice@example.org>
Call-ID: c1
CSeq: 1 REGISTER
Contact: <sip:alice@192.0.2.1>
Content-Length: 0

`, "\n", "\r\n")))
	layer.ReceiveRequest(printer{}, request.(*wire.Request))
	// Output: SIP/2.0 401 Unauthorized
}

// users has one user.
type users struct{}

func (users) HA1(name, realm string) (md5, sha256 string, ok bool) {
	md5, sha256 = database.HA1("alice", realm, "secret")
	return md5, sha256, name == "alice"
}

// here is a server at one address.
type here struct{}

func (here) IsLocal(host string, port int) bool {
	return host == "192.0.2.7" && (port == 0 || port == 5060)
}

// printer is a flow that prints the first line of what is sent.
type printer struct{}

func (printer) ID() wire.FlowID {
	return wire.FlowID{Proto: wire.UDP, Local: printer{}.SentBy(), Remote: netip.MustParseAddrPort("192.0.2.1:5060")}
}
func (printer) SentBy() netip.AddrPort            { return netip.MustParseAddrPort("192.0.2.7:5060") }
func (printer) OnClose(func(error)) (stop func()) { return func() {} }

func (printer) Send(b []byte) error {
	line, _, _ := strings.Cut(string(b), "\r\n")
	fmt.Println(line)
	return nil
}
