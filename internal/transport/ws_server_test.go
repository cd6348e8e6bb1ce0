package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalbox/internal/wire"
)

// Connections of the web server count: who has said nothing makes room, who has not stays.
func TestWebSocketLimits(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}, Limits: Limits{PerAddress: 2}}, Origins{})
	first := dialWS(t, tr, nil)
	first.send(websocket.MessageText, request(wsVia, "first"))
	flow := r.next(t).flow
	first.read()
	silent := dialPhone(t, "tcp", addr(tr, 0))
	silent.say("GET /sip HT")
	second := dialWS(t, tr, nil)
	silent.closed()
	second.send(websocket.MessageText, request(wsVia, "second"))
	r.next(t)
	second.read()                                                    // the answer goes out when it is no newcomer any more
	if c, err := net.Dial("tcp", addr(tr, 0).String()); err == nil { // it may be closed before it is open for us
		newPhone(t, c).closed()
	}
	if found, ok := tr.Find(flow.ID()); !ok || found != flow {
		t.Error("the first one is gone")
	}
	// When the page goes, its place is free and its flow is dead.
	gone := make(chan error, 1)
	flow.OnClose(func(err error) { gone <- err })
	first.CloseNow()
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the flow of a page that has gone lives on")
	}
	if _, ok := tr.Find(flow.ID()); ok {
		t.Error("a dead flow is found")
	}
	dialWS(t, tr, nil)
}

// Connections that a web server in front of us passes on are many users': no limit of one address, and each flow comes from where its user is.
func TestWebSocketPassedOn(t *testing.T) {
	tr, r := begin(t, Config{Limits: Limits{PerAddress: 1}, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	handler := tr.WebSocket(Origins{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.RemoteAddr = req.Header.Get("From-Address")
		handler.ServeHTTP(w, req)
	}))
	defer srv.Close()
	for _, user := range []string{"192.0.2.1:1", "192.0.2.2:2", "[2001:db8::1]:3", "nowhere"} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPHeader: http.Header{"From-Address": {user}}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		(&wsPhone{t, c}).send(websocket.MessageText, request(wsVia, "passed"))
		h := r.next(t)
		want := netip.MustParseAddr("127.0.0.1")
		if a, err := netip.ParseAddrPort(user); err == nil {
			want = a.Addr()
		}
		if got := h.flow.ID().Remote.Addr(); got != want || h.req.Via.Received != want.String() {
			t.Errorf("%s came from %s, Via says %s", user, got, h.req.Via.Received)
		}
		if found, ok := tr.Find(h.flow.ID()); !ok || found != h.flow {
			t.Errorf("%s is not found", user)
		}
	}
	// A stranger's word for it counts nothing.
	other, r2 := begin(t, Config{})
	plain := other.WebSocket(Origins{})
	direct := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.RemoteAddr = "192.0.2.1:1"
		plain.ServeHTTP(w, req)
	}))
	defer direct.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, direct.URL, &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	(&wsPhone{t, c}).send(websocket.MessageText, request(wsVia, "direct"))
	if got := r2.next(t).flow.ID().Remote.Addr(); got != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("came from %s", got)
	}
}

// WSS, and the good-bye of a server that stops.
func TestWebSocketSecure(t *testing.T) {
	ca, err := OpenLocalCA(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tr, r := beginWeb(t, Config{WSS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate}, Origins{})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}}
	defer client.CloseIdleConnections()
	p := dialWS(t, tr, client, func(o *websocket.DialOptions) {
		o.HTTPHeader = http.Header{"Origin": {"https://" + addr(tr, 0).String()}}
	})
	body := strings.Repeat("long ", 8000) // several TLS records
	p.SetReadLimit(wire.MaxMessage)
	p.send(websocket.MessageText, strings.Replace(request("SIP/2.0/WSS a.invalid;branch=z9hG4bK1", "secure"), "Content-Length: 0", fmt.Sprint("Content-Length: ", len(body)), 1)+body)
	h := r.next(t)
	if h.flow.ID().Proto != wire.WSS || string(h.req.Body()) != body {
		t.Errorf("%v, %d bytes", h.flow.ID(), len(h.req.Body()))
	}
	p.read()
	if err := h.flow.Send([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if _, got := p.read(); got != body {
		t.Error("a long message came back changed")
	}
	if !tr.IsLocal("127.0.0.1", int(addr(tr, 0).Port())) {
		t.Error("our own listener is not local")
	}
	end(t, tr)
	if code := p.reason(); code != websocket.StatusGoingAway {
		t.Errorf("closed with %d", code)
	}
}

// The handler works in any web server; what it does not have of ours costs a goroutine while it writes.
func TestWebSocketEmbedded(t *testing.T) {
	for _, secure := range []bool{false, true} {
		tr, r := begin(t, Config{})
		srv := httptest.NewUnstartedServer(tr.WebSocket(Origins{}))
		if secure {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		defer srv.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		p := &wsPhone{t, c}
		p.send(websocket.MessageText, request(wsVia, "embedded"))
		h := r.next(t)
		if want := map[bool]wire.Proto{false: wire.WS, true: wire.WSS}[secure]; h.flow.ID().Proto != want {
			t.Errorf("proto %v", h.flow.ID().Proto)
		}
		if _, got := p.read(); status(got) != "200" {
			t.Errorf("got %q", got)
		}
		at := srv.Listener.Addr().(*net.TCPAddr)
		if !tr.IsLocal(at.IP.String(), at.Port) || h.flow.SentBy().Port() != uint16(at.Port) {
			t.Errorf("%v is not ours, or not said to be", at)
		}
		end(t, tr)
		if code := p.reason(); code != websocket.StatusGoingAway {
			t.Errorf("closed with %d", code)
		}
	}
}
