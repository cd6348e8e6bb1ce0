package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"signalbox/internal/wire"
)

// Config is what New needs. The zero value listens nowhere.
type Config struct {
	// UDP, TCP and TLS are the addresses to listen on: "192.0.2.1:5060", "[2001:db8::1]:5060", ":5060" (all addresses, IPv4 and IPv6), ":0" (any port, see Addrs).
	UDP, TCP, TLS []string
	// WS and WSS are the addresses of the http and https listeners that SIP over WebSocket comes by (RFC 7118). They are bound here and served by the
	// caller's web server: see Web and WebSocket.
	WS, WSS []string
	// Proxies are web servers in front of ours, whose connections are many users': the limit of one address is not for them.
	Proxies []netip.Prefix
	// Advertise are the public addresses (at most one of each family) of a machine behind a one-to-one NAT, as in most clouds: they stand in Via and
	// Record-Route in place of the machine's own.
	Advertise []netip.Addr

	// Certificate is our server certificate, and what we show when a peer that we connect to asks for one: CertFiles.Certificate or LocalCA.Certificate.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ClientAuth says whether clients are asked for certificates (tls.NoClientCert is the default); ClientCAs verify them.
	ClientAuth tls.ClientAuthType
	ClientCAs  *x509.CertPool
	// Roots verify the servers we connect to; nil means the system's.
	Roots *x509.CertPool

	// KeptAlive hears of keep-alives over UDP (RFC 5626, 4.4.2). It tells whether the flow is still good for anything, and must not block. nil: all are.
	KeptAlive func(id wire.FlowID) bool

	// Trace sees every message, whole, as it comes (in) and goes. It must not keep b, nor block. nil is silent.
	Trace   func(in bool, id wire.FlowID, b []byte)
	Logger  *slog.Logger // nil is silent
	Metrics Metrics
	Limits  Limits
}

// Metrics are called as things happen; they must not block. nil fields are silent.
type Metrics struct {
	Received func(p wire.Proto)             // a message was parsed
	Sent     func(p wire.Proto)             // a message was queued
	Dropped  func(p wire.Proto, why Reason) // a message, or what was to be one, was dropped
	Opened   func(p wire.Proto)             // a connection is there
	Closed   func(p wire.Proto)             // and gone
}

// Reason says why something was dropped.
type Reason string

const (
	Unparsable  Reason = "unparsable"   // and answered, where an answer is due
	ForeignVia  Reason = "foreign-via"  // a response that is not ours (RFC 3261, 18.1.2)
	Panicked    Reason = "panic"        // the receiver panicked
	QueueFull   Reason = "queue-full"   // to be sent
	Unreachable Reason = "unreachable"  // the kernel refused to send it
	Refused     Reason = "refused"      // a connection over the limit
	Evicted     Reason = "evicted"      // a connection that said nothing made room for a new one
	RateLimited Reason = "rate-limited" // no answer to an unparsable request

	ForeignOrigin Reason = "foreign-origin" // a WebSocket of a page from elsewhere (RFC 6455, 10.2)
)

// Validate checks what can be checked without binding.
func (c *Config) Validate() error {
	for _, l := range [][]string{c.UDP, c.TCP, c.TLS, c.WS, c.WSS} {
		for _, s := range l {
			if _, err := parseListen(s); err != nil {
				return err
			}
		}
	}
	if len(c.TLS) > 0 && c.Certificate == nil {
		return errors.New("transport: listening on TLS needs a certificate")
	}
	var v4, v6 int
	for _, a := range c.Advertise {
		if !a.IsValid() || a.IsUnspecified() || a.Is4In6() {
			return fmt.Errorf("transport: cannot advertise %s", a)
		}
		if a.Is4() {
			v4++
		} else {
			v6++
		}
	}
	if v4 > 1 || v6 > 1 {
		return errors.New("transport: one advertised address of each family at most")
	}
	return nil
}
