// Package websocket lets any Go program take SIP from web pages (RFC 7118): an http.Handler for its own web server, the same that signalbox serves at /sip.
//
// The handler demands the subprotocol sip (RFC 7118, 4.1) and looks at the page's origin (RFC 6455, 10.2). It puts fragments together, answers pings, keep-alives
// and what is no SIP, drops responses to what we did not send, and hands every other message to Config.Receive. Nothing is authenticated and nothing is remembered of a page but its
// connection: that is for the program.
//
// What bounds it: Config.Connections and Config.PerAddress; the deadlines, the size of a message and what may wait for a page that does not read stand in
// internal/transport/limits.go.
package websocket

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// Config is what New needs; Receive alone is required.
type Config struct {
	// Receive takes a whole message, whose headers and size have been checked; the bytes are the program's to keep. A request carries received and rport in its top Via
	// (RFC 3261, 18.2.1; RFC 3581, 4). Messages of one connection come one at a time, in order, on the goroutine that reads it: Receive must not block.
	Receive func(c Conn, message []byte)

	// Origins are pages that may connect beside those this web server has sent itself: "https://example.org", "https://example.org:8443", "https://example.org:*", "null"
	// (a page opened from a file), or "*". Who shows no origin is no browser, and may connect.
	Origins []string
	// Names are the host names of this web server. They are needed where pages come without TLS: any name can be made to lead here. Addresses and localhost need none.
	Names []string
	// Refused is told of each request that was answered 403 for its origin: a browser keeps the reason from its user.
	Refused func(r *http.Request)
	// Proxies are web servers in front of this one. Of a connection of theirs the request's RemoteAddr must say where it comes from.
	Proxies []netip.Prefix

	Connections int // in all; 0 is 15,000
	PerAddress  int // of one IPv4 address, or IPv6 /64; 0 is 1,024

	Logger *slog.Logger // nil is silent
}

// Handler is the http.Handler. It answers 400 without the subprotocol, 403 to pages from elsewhere, 426 to what asks for no WebSocket, and 503 once it is closed.
type Handler struct {
	transport *transport.Transport
	http.Handler
}

// New makes a handler. It needs no listener: its connections are those of the web server it is mounted in.
func New(c Config) (*Handler, error) {
	if c.Receive == nil {
		return nil, errors.New("websocket: nobody receives")
	}
	for _, origin := range c.Origins {
		if err := transport.ParseOrigin(origin); err != nil {
			return nil, err
		}
	}
	if c.Connections < 0 || c.PerAddress < 0 {
		return nil, errors.New("websocket: a limit below zero")
	}
	t, err := transport.New(transport.Config{
		Proxies: c.Proxies, Logger: c.Logger, Limits: transport.Limits{Connections: c.Connections, PerAddress: c.PerAddress},
	})
	if err != nil {
		return nil, err
	}
	t.Start(receiver(c.Receive))
	known := func(host string) bool {
		return slices.ContainsFunc(c.Names, func(name string) bool { return strings.EqualFold(name, host) })
	}
	return &Handler{t, t.WebSocket(transport.Origins{Allowed: c.Origins, Known: known, Refused: c.Refused})}, nil
}

// Close sends what waits, as far as ctx allows, and ends all connections; a web server's own Shutdown does not know of them.
func (h *Handler) Close(ctx context.Context) error { return h.transport.Close(ctx) }

// Conn is the connection of a page. It is comparable: two are equal if they are the same connection. All methods may be called at any time, from anywhere.
type Conn struct{ flow transport.Flow }

// Send queues one message, in one WebSocket frame, and never blocks. The bytes must not be changed afterwards. An error means that the connection is closed.
func (c Conn) Send(message []byte) error { return c.flow.Send(message) }

// OnClose has fn called once, with the reason, when the connection ends: at once if it has. fn must not block; stop forgets it.
func (c Conn) OnClose(fn func(error)) (stop func()) { return c.flow.OnClose(fn) }

// Remote is where the page is, as far as is known.
func (c Conn) Remote() netip.AddrPort { return c.flow.ID().Remote }

// Via begins the Via of a request to the page, "SIP/2.0/WSS 192.0.2.1:443": a branch must follow. Responses with another one are dropped (RFC 3261, 18.1.2).
func (c Conn) Via() string {
	return "SIP/2.0/" + c.flow.ID().Proto.String() + " " + c.flow.SentBy().String()
}

// receiver hands on what the transport has read.
type receiver func(c Conn, message []byte)

func (r receiver) ReceiveRequest(f transport.Flow, req *wire.Request) {
	r(Conn{f}, wire.Append(nil, req))
}
func (r receiver) ReceiveResponse(f transport.Flow, res *wire.Response) {
	r(Conn{f}, wire.Append(nil, res))
}
func (r receiver) ReceiveUnreachable(netip.AddrPort, string, string) {}
