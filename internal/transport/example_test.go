package transport_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/coder/websocket"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// pong answers every request 200.
type pong struct{}

func (pong) ReceiveRequest(f transport.Flow, req *wire.Request) {
	_ = f.Send(wire.Append(nil, wire.NewResponse(req, 200, "", wire.NewTag())))
}

func (pong) ReceiveResponse(transport.Flow, *wire.Response)    {}
func (pong) ReceiveUnreachable(netip.AddrPort, string, string) {}

// SIP over WebSocket in a web server of one's own: pages of this server and of https://app.example.org may connect.
func ExampleTransport_WebSocket() {
	t, err := transport.New(transport.Config{})
	if err != nil {
		panic(err)
	}
	t.Start(pong{})
	mux := http.NewServeMux()
	mux.Handle("/sip", t.WebSocket(transport.Origins{Allowed: []string{"https://app.example.org"}}))
	web := httptest.NewServer(mux)
	defer web.Close()
	ctx := context.Background()
	defer t.Close(ctx)

	c, res, err := websocket.Dial(ctx, web.URL+"/sip", &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	fmt.Println(res.StatusCode, c.Subprotocol())
	options := "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1\r\nFrom: <sip:alice@example.org>;tag=1\r\n" +
		"To: <sip:example.org>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\r\n"
	_ = c.Write(ctx, websocket.MessageText, []byte(options))
	_, answer, _ := c.Read(ctx)
	fmt.Printf("%.14s\n", answer)
	// Output:
	// 101 sip
	// SIP/2.0 200 OK
}
