package transport

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// pipe is the response of a web server whose connection is in memory.
type pipe struct {
	http.ResponseWriter
	conn   net.Conn
	in     *bufio.Reader
	status int // of the answer
}

func (p *pipe) Header() http.Header         { return http.Header{} }
func (p *pipe) WriteHeader(status int)      { p.status = status }
func (p *pipe) Write(b []byte) (int, error) { return len(b), nil }
func (p *pipe) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return p.conn, bufio.NewReadWriter(p.in, bufio.NewWriter(p.conn)), nil
}

// Whatever frames a peer sends, the handler returns when the peer has gone, nothing panics, and what reaches the rooms above is a SIP message that
// came whole in one WebSocket message. hardening 4, 5
func FuzzWebSocketFrames(f *testing.F) {
	msg := request(wsVia, "fuzz")
	for _, seed := range []string{
		clientFrame(frameFin|opText, msg), clientFrame(opText, msg[:9]) + clientFrame(frameFin|opPing, "") + clientFrame(frameFin, msg[9:]),
		clientFrame(frameFin|opText, "\r\n\r\n"), clientFrame(frameFin|opClose, "\x03\xe8"), clientFrame(frameFin|opBinary, "\xff"),
		"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", "\x81\xfe\xff\xff\x00\x00\x00\x00", "\x81\x02\r\n", clientFrame(frameFin|0x40|opText, "x"),
	} {
		f.Add([]byte(seed), 7)
	}
	tr, _ := begin(f, Config{}, func(tr *Transport) { tr.times.linger, tr.times.message = time.Millisecond, 50*time.Millisecond })
	handler := tr.WebSocket(Origins{})
	f.Fuzz(func(t *testing.T, frames []byte, early int) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(handshake)))
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		// Some of it may have been read by the web server already.
		early = max(0, min(early, len(frames), 64))
		in := bufio.NewReader(io.MultiReader(bytes.NewReader(frames[:early]), ours))
		_, _ = in.Peek(early)
		go func() {
			defer close(done)
			handler.ServeHTTP(&pipe{conn: ours, in: in}, r)
		}()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		_ = theirs.SetWriteDeadline(time.Now().Add(patience))
		_, _ = theirs.Write(frames[early:])
		_ = theirs.Close()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("the handler does not return")
		}
	})
}

const handshake = "GET /sip HTTP/1.1\r\nHost: 192.0.2.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"

// Whatever a handshake says, it is answered, and no page of a foreign origin gets through.
func FuzzWebSocketHandshake(f *testing.F) {
	f.Add(handshake)
	f.Add(strings.Replace(handshake, "Host", "Origin: https://192.0.2.1\r\nHost", 1))
	f.Add(strings.Replace(handshake, "Host", "Origin: null\r\nHost", 1))
	f.Add(strings.Replace(handshake, "192.0.2.1", "[::1%25eth0]:0", 1))
	f.Add(strings.Replace(handshake, "Host", "Origin: https://evil.example\r\nHost", 1))
	f.Add(strings.Replace(handshake, "Host", "Origin: http://example.net:5173\r\nHost", 1))
	tr, _ := begin(f, Config{}, func(tr *Transport) { tr.times.linger = time.Millisecond })
	handler := tr.WebSocket(Origins{Allowed: []string{"https://example.org", "http://example.net:*"}})
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		ours, theirs := net.Pipe()
		_ = theirs.Close()
		w := &pipe{conn: ours, in: bufio.NewReader(ours)}
		handler.ServeHTTP(w, r)
		origins := r.Header.Values("Origin")
		switch {
		case w.status == 0:
			t.Error("no answer")
		case w.status == http.StatusSwitchingProtocols && len(origins) > 0:
			origin, err := url.Parse(origins[0])
			here, bad := url.Parse("//" + r.Host)
			if len(origins) > 1 || err != nil || origin.Hostname() != "example.org" && origin.Hostname() != "example.net" && (bad != nil || !strings.EqualFold(origin.Hostname(), here.Hostname())) {
				t.Errorf("origin %q gets through at host %q", origins, r.Host)
			}
		}
	})
}

// The heads of frames are followed however the bytes are cut.
func FuzzFrameHeads(f *testing.F) {
	f.Add([]byte(clientFrame(opText, "ab")+clientFrame(frameFin, "")), 3)
	f.Add([]byte("\x81\xfe\x01\x00\x00\x00\x00\x00"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var whole, parts heads
		ok := whole.pass(b)
		same := true
		for rest := b; len(rest) > 0 && same; {
			n := min(max(1, cut%16), len(rest))
			same = parts.pass(rest[:n])
			rest = rest[n:]
		}
		if ok != same || ok && whole != parts {
			t.Errorf("whole %v %+v, in parts %v %+v", ok, whole, same, parts)
		}
	})
}

// BenchmarkWebSocketEcho is BenchmarkTCPEcho over one WebSocket: the difference is the frames.
func BenchmarkWebSocketEcho(b *testing.B) {
	const window = 16
	tr := benchEcho(b, Config{WS: []string{"127.0.0.1:0"}})
	tr.times.gap = 0
	srv := &http.Server{Handler: tr.WebSocket(Origins{})}
	go func() { _ = srv.Serve(tr.Web()[0]) }()
	defer srv.Close()
	p := rawWS(b, tr)
	requests := []byte(strings.Repeat(clientFrame(frameFin|opText, benchRequest), window))
	b.ReportAllocs()
	before := cpu(b)
	underWay, done := 0, 0
	for b.Loop() {
		if underWay < window {
			underWay++
			continue
		}
		if _, err := p.Write(requests); err != nil {
			b.Fatal(err)
		}
		for ; underWay > 0; underWay-- {
			if _, _, err := p.frame(); err != nil {
				b.Fatal(err)
			}
			done++
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(max(done, 1)), "cpu-ns/exchange")
}

// What it costs to send a message that is there already.
func BenchmarkWebSocketSend(b *testing.B) {
	tr, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer end(b, tr)
	msg := []byte(request(wsVia, "bench"))
	fr := &frames{Conn: nowhere{}, t: tr}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fr.Write(msg); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
