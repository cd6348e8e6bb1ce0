package transport

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

// hardening 4, 5: frames that lie about their length, that are not masked, too large, too many, never ending: the connection ends with the code of RFC 6455, 7.4.1, and the next one is
// served. RFC 6455, 5.2: lengths, masks, opcodes and reserved bits. RFC 6455, 5.5: control frames are short and whole. RFC 6455, 5.5.1: a close is answered. RFC 6455, 8.1: text is UTF-8.
func TestWebSocketHardening(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{}, func(tr *Transport) {
		tr.times.message, tr.times.linger = 500*time.Millisecond, 100*time.Millisecond
	})
	for _, tt := range []struct {
		name  string
		codes []int
		send  func(say func(string) error)
	}{
		{"hardening 4: length with the top bit", []int{1009}, func(say func(string) error) { say("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00") }},
		{"hardening 4: negative length", []int{1009}, func(say func(string) error) { say("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00") }},
		{"hardening 4: 126 and nothing more", []int{1008}, func(say func(string) error) { say("\x81\xfe\xff\xff\x00\x00\x00\x00") }},
		{"hardening 5: control frame that is too long", []int{1002}, func(say func(string) error) { say(clientFrame(frameFin|opPing, strings.Repeat("x", 126))) }},
		{"hardening 5: fragmented control frame", []int{1002}, func(say func(string) error) { say(clientFrame(opPing, "x")) }},
		{"hardening 5: not masked", []int{1002}, func(say func(string) error) { say("\x81\x02\r\n") }},
		{"hardening 5: reserved bit", []int{1002}, func(say func(string) error) { say(clientFrame(frameFin|0x40|opText, "x")) }},
		{"hardening 5: unknown opcode", []int{1002}, func(say func(string) error) { say(clientFrame(frameFin|0x3, "x")) }},
		{"hardening 5: continuation of nothing", []int{1002}, func(say func(string) error) { say(clientFrame(frameFin, "x")) }},
		{"hardening 5: text that is not UTF-8", []int{1007}, func(say func(string) error) { say(clientFrame(frameFin|opText, request(wsVia, "\xff"))) }},
		{"hardening 5: message too large", []int{1009}, func(say func(string) error) {
			say(clientFrame(frameFin|opText, strings.Repeat("x", wire.MaxMessage+1)))
		}},
		{"hardening 5: one byte a fragment", []int{1008, 1009}, func(say func(string) error) {
			_ = say(clientFrame(opText, "x"))
			for i := 0; i < 2*wire.MaxMessage && say(strings.Repeat(clientFrame(0, "x"), 512)) == nil; i += 512 {
			}
		}},
		{"hardening 5: empty fragments without end", []int{1008, 0}, func(say func(string) error) {
			_ = say(clientFrame(opText, ""))
			for i := 0; i < 1000 && say(strings.Repeat(clientFrame(0, ""), 512)) == nil; i++ {
			}
		}},
		{"hardening 5: a flood of pings", []int{1008, 0}, func(say func(string) error) {
			for i := 0; i < 1000 && say(strings.Repeat(clientFrame(frameFin|opPing, "x"), 512)) == nil; i++ {
			}
		}},
		{"not SIP", []int{1008}, func(say func(string) error) { say(clientFrame(frameFin|opText, "hello")) }},
		{"a panic in a room above", []int{1008}, func(say func(string) error) { say(clientFrame(frameFin|opText, request(wsVia, "panic"))) }},
		{"good-bye", []int{1000}, func(say func(string) error) { say(clientFrame(frameFin|opClose, "\x03\xe8")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := rawWS(t, tr)
			go tt.send(func(s string) error { _, err := io.WriteString(p, s); return err })
			if code := p.closeCode(); !slices.Contains(tt.codes, code) {
				t.Errorf("closed with %d, want one of %d", code, tt.codes)
			}
			good := dialWS(t, tr, nil)
			good.send(websocket.MessageText, request(wsVia, "good"))
			if h := r.next(t); h.req.CallID != "good" {
				t.Errorf("came %s", h.req.CallID)
			}
		})
	}
}

// An unparsable message is answered, and costs nothing else: the next one is in a frame of its own. RFC 3261, 8.2; hardening 1
func TestWebSocketUnparsable(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := dialWS(t, tr, nil)
	inner := request(wsVia, "inner")
	for _, length := range []string{"4294967328", "18446744073709551616", "-999", "5 5", "2147483648"} {
		p.send(websocket.MessageText, strings.Replace(request(wsVia, "outer"), "Content-Length: 0", "Content-Length: "+length, 1)+inner)
		if _, got := p.read(); status(got) != "400" && status(got) != "513" && status(got) != "413" || callID(got) != "outer" {
			t.Errorf("%s: got\n%s", length, got)
		}
	}
	p.send(websocket.MessageText, request(wsVia, "next"))
	if h := r.next(t); h.req.CallID != "next" {
		t.Errorf("came %s", h.req.CallID)
	}
}

// A peer that does not read holds up nobody, and is let go when its backlog is full.
func TestWebSocketSlowReader(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	deaf, good := rawWS(t, tr), dialWS(t, tr, nil)
	deaf.say(clientFrame(frameFin|opText, request(wsVia, "deaf")))
	flow := r.next(t).flow
	gone := make(chan error, 1)
	flow.OnClose(func(err error) { gone <- err })
	long := []byte(strings.Repeat("x", 32<<10))
	var err error
	for i := 0; i < 10_000 && err == nil; i++ {
		err = flow.Send(long)
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("Send: %v", err)
	}
	good.send(websocket.MessageText, request(wsVia, "good"))
	if h := r.next(t); h.req.CallID != "good" {
		t.Errorf("came %s", h.req.CallID)
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Error("it is still there")
	}
}

// Who sends faster than we read is read more slowly; nothing is lost.
func TestWebSocketRate(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := rawWS(t, tr)
	go func() { // what comes back must be read
		for {
			if _, _, err := p.frame(); err != nil {
				return
			}
		}
	}()
	const n = wsBurst + 50
	for range n {
		p.say(clientFrame(frameFin|opText, request(wsVia, "many")))
	}
	for range n {
		r.next(t)
	}
}

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
