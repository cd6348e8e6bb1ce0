package transport

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalbox/internal/wire"
)

// beginWeb is begin, with a web server on the listeners of Web.
func beginWeb(t testing.TB, c Config, o Origins, change ...func(*Transport)) (*Transport, *recorder) {
	t.Helper()
	tr, r := begin(t, c, change...)
	mux := http.NewServeMux()
	mux.Handle("/sip", tr.WebSocket(o))
	for _, l := range tr.Web() {
		srv := &http.Server{Handler: mux, ReadHeaderTimeout: patience, TLSConfig: &tls.Config{GetCertificate: c.Certificate}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if l.Proto == wire.WSS {
				_ = srv.ServeTLS(l, "", "")
			} else {
				_ = srv.Serve(l)
			}
		}()
		t.Cleanup(func() { _ = srv.Close(); <-done })
	}
	return tr, r
}

// wsPhone is a peer over WebSocket.
type wsPhone struct {
	t testing.TB
	*websocket.Conn
}

func dialWS(t testing.TB, tr *Transport, client *http.Client, change ...func(*websocket.DialOptions)) *wsPhone {
	t.Helper()
	scheme := "ws://"
	if tr.Addrs()[0].Proto == wire.WSS {
		scheme = "wss://"
	}
	if client == nil {
		// The default client would offer a connection that it has kept, to a server of an earlier test that had the same port.
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	o := &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPClient: client}
	for _, fn := range change {
		fn(o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, scheme+addr(tr, 0).String()+"/sip", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &wsPhone{t, c}
}

func (p *wsPhone) send(typ websocket.MessageType, s string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Write(ctx, typ, []byte(s)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *wsPhone) read() (websocket.MessageType, string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	typ, b, err := p.Read(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return typ, string(b)
}

// reason reads until the connection ends and returns the code it ends with.
func (p *wsPhone) reason() websocket.StatusCode {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if _, _, err := p.Read(ctx); err != nil {
			if ctx.Err() != nil {
				p.t.Fatal("the connection does not end")
			}
			return websocket.CloseStatus(err)
		}
	}
}

// rawWS is a peer that writes its frames itself.
func rawWS(t testing.TB, tr *Transport) *phone {
	t.Helper()
	p := dialPhone(t, "tcp", addr(tr, 0))
	p.say("GET /sip HTTP/1.1\r\nHost: " + addr(tr, 0).String() + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
	if head := p.message(); !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Fatal(head)
	}
	return p
}

// clientFrame is a masked frame; its key is 0, so the payload stands there as it is.
func clientFrame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return string(append(b, 0, 0, 0, 0)) + payload
}

// frame reads one frame of the server.
func (p *phone) frame() (first byte, payload string, err error) {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, "", err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(p.r, b[:]); err != nil {
			return 0, "", err
		}
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(p.r, b[:]); err != nil {
			return 0, "", err
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	b := make([]byte, n)
	_, err = io.ReadFull(p.r, b)
	return head[0], string(b), err
}

// closeCode reads frames until the server takes leave or hangs up, and returns the code it gave, 0 for none.
func (p *phone) closeCode() int {
	p.t.Helper()
	for {
		first, payload, err := p.frame()
		switch {
		case err != nil && errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatal("the connection is still open")
		case err != nil:
			return 0
		case first == frameFin|opClose && len(payload) >= 2:
			return int(binary.BigEndian.Uint16([]byte(payload)))
		}
	}
}

const wsVia = "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks"

// RFC 7118, 4.2: text and binary frames are accepted; what is UTF-8 goes out as text, the rest as binary. RFC 7118, 5.3: received is allowed.
func TestWebSocketFrames(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := dialWS(t, tr, nil)
	for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		p.send(typ, request(wsVia+";rport", typ.String()))
		h := r.next(t)
		if h.flow.ID().Proto != wire.WS || h.req.CallID != typ.String() {
			t.Errorf("%v: came as %v of %v", typ, h.req.CallID, h.flow.ID())
		}
		back, res := p.read()
		if back != websocket.MessageText || status(res) != "200" || !strings.Contains(res, ";received=127.0.0.1") {
			t.Errorf("%v: got %v:\n%s", typ, back, res)
		}
		if err := h.flow.Send([]byte("MESSAGE \xff\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if back, res := p.read(); back != websocket.MessageBinary || res != "MESSAGE \xff\r\n\r\n" {
			t.Errorf("not UTF-8: got %v %q", back, res)
		}
	}
}

// RFC 7118, 5: Content-Length is not necessary.
func TestWebSocketNoLength(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := dialWS(t, tr, nil)
	p.send(websocket.MessageText, strings.Replace(request(wsVia, "none"), "Content-Length: 0\r\n", "", 1)+"body")
	if h := r.next(t); string(h.req.Body()) != "body" {
		t.Errorf("body %q", h.req.Body())
	}
}

// A page that was opened from a file has the origin null (RFC 6455, 10.2): it may connect where that is listed, and nobody else by it.
func TestNullOrigin(t *testing.T) {
	var refused []string
	o := Origins{Allowed: []string{"null"}, Refused: func(r *http.Request) { refused = append(refused, r.Header.Get("Origin")) }}
	for origin, want := range map[string]bool{"null": true, "https://null": false, "null://": false, "": true} {
		r := httptest.NewRequest("GET", "http://192.0.2.1/sip", nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if got := o.Allows(r); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
	if slices.Sort(refused); !slices.Equal(refused, []string{"https://null", "null://"}) {
		t.Errorf("refused: %q", refused)
	}
}

// RFC 7118, 4.1: sip must be asked for. RFC 6455, 10.2 and hardening 73: foreign origins are refused.
func TestWebSocketHandshake(t *testing.T) {
	tr, _ := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{
		Allowed: []string{"https://app.example.org", "http://dev.example.org:*"},
		Known:   func(host string) bool { return host == "sip.example.org" },
	})
	here := addr(tr, 0).String()
	port := here[strings.LastIndexByte(here, ':'):]
	for _, tt := range []struct {
		name, host string
		header     []string // of the request, "-Name" takes one away
		want       int
	}{
		{"no origin: not a browser", here, nil, 101},
		{"own origin", here, []string{"Origin: http://" + here}, 101},
		{"own origin by name", "localhost" + port, []string{"Origin: http://localhost" + port}, 101},
		{"own origin behind a TLS proxy", "sip.example.org", []string{"Origin: https://sip.example.org"}, 101},
		{"default port written out", "sip.example.org:443", []string{"Origin: https://sip.example.org"}, 101},
		{"allowed", here, []string{"Origin: https://app.example.org"}, 101},
		{"allowed, any port", here, []string{"Origin: http://dev.example.org:5173"}, 101},
		{"several subprotocols", here, []string{"-Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: msrp, sip"}, 101},
		{"compression is not agreed to (hardening 5)", here, []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"}, 101},
		{"foreign", here, []string{"Origin: https://evil.example"}, 403},
		{"null", here, []string{"Origin: null"}, 403},
		{"name below ours", here, []string{"Origin: http://" + here + ".evil.example"}, 403},
		{"other port of ours", here, []string{"Origin: http://127.0.0.1:1"}, 403},
		{"other scheme of an allowed one", here, []string{"Origin: http://app.example.org"}, 403},
		{"other port of an allowed one", here, []string{"Origin: https://app.example.org:8443"}, 403},
		{"two origins", here, []string{"Origin: http://" + here, "Origin: https://evil.example"}, 403},
		{"a name that was made to lead here", "evil.example" + port, []string{"Origin: http://evil.example" + port}, 403},
		{"not a web page", here, []string{"Origin: file:///etc/passwd"}, 403},
		{"no subprotocol", here, []string{"-Sec-WebSocket-Protocol"}, 400},
		{"other subprotocol", here, []string{"-Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: sip2, msrp"}, 400},
		{"old version", here, []string{"-Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"}, 400},
		{"no key", here, []string{"-Sec-WebSocket-Key"}, 400},
		{"bad key", here, []string{"-Sec-WebSocket-Key", "Sec-WebSocket-Key: abc"}, 400},
		{"no upgrade", here, []string{"-Upgrade"}, 426},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head := []string{"Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: sip"}
			for _, h := range tt.header {
				if name, take := strings.CutPrefix(h, "-"); take {
					head = slices.DeleteFunc(head, func(s string) bool { return strings.HasPrefix(s, name+":") })
					continue
				}
				head = append(head, h)
			}
			p := dialPhone(t, "tcp", addr(tr, 0))
			p.say("GET /sip HTTP/1.1\r\nHost: " + tt.host + "\r\n" + strings.Join(head, "\r\n") + "\r\n\r\n")
			if got := p.message(); !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", tt.want)) {
				t.Errorf("want %d, got\n%s", tt.want, got)
			} else if tt.want == 101 && (!strings.Contains(got, "Sec-Websocket-Protocol: sip\r\n") || strings.Contains(strings.ToLower(got), "extensions")) {
				t.Error(got)
			}
		})
	}
}

// RFC 6455, 5.2 and 5.4: a message may come in fragments, with control frames between them; a ping is answered with its own words (RFC 6455, 5.5.3). RFC 7118, 5: it is one SIP message.
func TestWebSocketFragments(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := rawWS(t, tr)
	msg := request(wsVia, "pieces")
	p.say(clientFrame(opText, msg[:20]) + clientFrame(frameFin|opPing, "now") + clientFrame(0, msg[20:40]) + clientFrame(frameFin, msg[40:]))
	if h := r.next(t); h.req.CallID != "pieces" {
		t.Errorf("came %s", h.req.CallID)
	}
	if first, payload, err := p.frame(); first != frameFin|0xa || payload != "now" {
		t.Errorf("want a pong, got %x %q %v", first, payload, err)
	}
	if first, payload, err := p.frame(); first != frameFin|opText || status(payload) != "200" {
		t.Errorf("want 200, got %x %q %v", first, payload, err)
	}
}

// RFC 7118, 6: the keep-alives of RFC 5626, 3.5.1 work here too; 4.4.1
func TestWebSocketCRLF(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := dialWS(t, tr, nil)
	p.send(websocket.MessageText, "\r\n\r\n")
	if _, got := p.read(); got != "\r\n" {
		t.Errorf("got %q", got)
	}
	p.send(websocket.MessageBinary, "\r\n") // the answer to a ping: no answer
	p.send(websocket.MessageText, "")
	p.send(websocket.MessageText, "\r\n"+request(wsVia, "after")) // RFC 3261, 7.5
	if h := r.next(t); h.req.CallID != "after" {
		t.Errorf("came %s", h.req.CallID)
	}
	if _, got := p.read(); status(got) != "200" {
		t.Errorf("got %q", got)
	}
}

// RFC 7118, 6: we ping; who answers stays, who does not is gone. RFC 6455, 5.5.2
func TestWebSocketPings(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{}, func(tr *Transport) { tr.times.ping = 20 * time.Millisecond })
	quiet, alive := rawWS(t, tr), dialWS(t, tr, nil)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _, _ = alive.Read(context.Background()) // answers pings until there is a message
	}()
	if first, _, err := quiet.frame(); first != frameFin|opPing {
		t.Errorf("want a ping, got %x %v", first, err)
	}
	if code := quiet.closeCode(); code != 1008 {
		t.Errorf("closed with %d", code)
	}
	alive.send(websocket.MessageText, request(wsVia, "alive"))
	if h := r.next(t); h.req.CallID != "alive" {
		t.Errorf("came %s", h.req.CallID)
	}
	<-answered
}
