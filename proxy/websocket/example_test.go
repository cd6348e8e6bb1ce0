package websocket_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	client "github.com/coder/websocket"
	"github.com/emiago/sipgo/sip"

	"signalbox/proxy/websocket"
)

// A web server of one's own, with a SIP stack of one's own behind it: here sipgo's parser, which answers OPTIONS. Pages of this server and of
// https://app.example.org may connect, others may not.
func Example() {
	ctx := context.Background()
	handler, err := websocket.New(websocket.Config{
		Origins: []string{"https://app.example.org"},
		Receive: func(c websocket.Conn, message []byte) {
			m, err := sip.ParseMessage(message)
			if req, ok := m.(*sip.Request); ok && err == nil && req.Method == sip.OPTIONS {
				_ = c.Send([]byte(sip.NewResponseFromRequest(req, 200, "OK", nil).String()))
			}
		},
	})
	if err != nil {
		panic(err)
	}
	defer handler.Close(ctx)
	mux := http.NewServeMux()
	mux.Handle("/sip", handler)
	web := httptest.NewServer(mux)
	defer web.Close()

	from := func(origin string) *client.DialOptions {
		return &client.DialOptions{Subprotocols: []string{"sip"}, HTTPHeader: http.Header{"Origin": {origin}}}
	}
	page, _, err := client.Dial(ctx, web.URL+"/sip", from("https://app.example.org"))
	if err != nil {
		panic(err)
	}
	defer page.CloseNow()
	options := "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1\r\nFrom: <sip:alice@example.org>;tag=1\r\n" +
		"To: <sip:example.org>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\r\n"
	_ = page.Write(ctx, client.MessageText, []byte(options))
	_, answer, _ := page.Read(ctx)
	fmt.Printf("%.14s\n", answer)

	_, refused, _ := client.Dial(ctx, web.URL+"/sip", from("https://elsewhere.example.net"))
	fmt.Println(refused.Status)
	// Output:
	// SIP/2.0 200 OK
	// 403 Forbidden
}
