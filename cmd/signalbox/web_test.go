package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// browserOf is an HTTP client that trusts what /ca of the server gives it.
func browserOf(t *testing.T, p *process) *http.Client {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(p.dir, "tls", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(file)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// The pages: what they are, and what they tell the browser not to do.
func TestWebPages(t *testing.T) {
	p := startProcess(t, t.TempDir(), "udp = \"\"\ntcp = \"\"\ntls = \"\"\nhttps = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n")
	client := browserOf(t, p)
	https, plain := "https://"+p.address("https"), "http://"+p.address("http")
	for _, tt := range []struct {
		method, url string
		code        int
		body        string
	}{
		{"GET", https + "/", 200, "wss://" + p.address("https") + "/sip"},
		{"GET", plain + "/", 200, "ws://" + p.address("http") + "/sip"},
		{"HEAD", https + "/", 200, ""},
		{"GET", https + "/ca", 200, "BEGIN CERTIFICATE"},
		{"GET", https + "/sip", 426, "subprotocol sip"},
		{"POST", https + "/sip", 426, ""},
		{"POST", https + "/ca", 405, ""},
		{"GET", https + "/nothing", 404, ""},
		{"GET", https + "/../../etc/passwd", 404, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.method, tt.url, err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != tt.code || !strings.Contains(string(body), tt.body) {
			t.Errorf("%s %s: %s\n%s", tt.method, tt.url, res.Status, body)
		}
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		} {
			if got := res.Header.Get(header); !strings.HasPrefix(got, want) {
				t.Errorf("%s %s: %s: %q", tt.method, tt.url, header, got)
			}
		}
		if strings.HasPrefix(tt.url, "https") && res.ProtoMajor != 2 {
			t.Errorf("%s: %s", tt.url, res.Proto)
		}
	}
	// What /ca gives is the CA that has signed the certificate in use, and no secret.
	res, err := client.Get(https + "/ca")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	block, rest := pem.Decode(body)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		t.Fatalf("%s", body)
	}
	if ca, err := x509.ParseCertificate(block.Bytes); err != nil || !ca.IsCA {
		t.Errorf("%v", err)
	}
}

// strange sends a SIP message over a WebSocket that nobody has signed in on, and returns the answer.
func strange(t *testing.T, url, message string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), "SIP/2.0 1") {
			return string(b)
		}
	}
}

// RFC 3261, 22.3: nobody calls without saying who they are; pages are asked in MD5 with qop auth, which is all they know (RFC 7616, 3.3).
func TestWebSocketStranger(t *testing.T) {
	p := startProcess(t, t.TempDir(), "udp = \"\"\ntcp = \"\"\ntls = \"\"\nhttps = \"\"\nhttp = \"127.0.0.1:0\"\n")
	p.importUsers("alice", "bob")
	for i, path := range []string{"/sip", "/ws", "/"} { // RFC 7118, 4.1 leaves the path to the server
		for method, code := range map[string]string{"INVITE": "407", "MESSAGE": "407", "SUBSCRIBE": "407", "REGISTER": "401"} {
			uri := "sip:bob@example.org"
			if method == "REGISTER" {
				uri = "sip:example.org"
			}
			got := strange(t, "ws://"+p.address("http")+path, method+" "+uri+" SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK"+strconv.Itoa(i)+"\r\n"+
				"From: <sip:alice@example.org>;tag=1\r\nTo: <"+uri+">\r\nCall-ID: "+method+path+"\r\nCSeq: 1 "+method+"\r\nMax-Forwards: 70\r\n"+
				"Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws>\r\nEvent: presence\r\n\r\n")
			if !strings.HasPrefix(got, "SIP/2.0 "+code) || strings.Count(got, "-Authenticate: ") != 1 || !strings.Contains(got, "algorithm=MD5") || !strings.Contains(got, `qop="auth"`) {
				t.Errorf("%s at %s:\n%s", method, path, got)
			}
		}
	}
}

// hardening 50: who connects and says nothing, or speaks slowly, keeps nobody out.
func TestWebSlowClients(t *testing.T) {
	p := startProcess(t, t.TempDir(), "udp = \"\"\ntcp = \"\"\ntls = \"\"\nhttps = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n[limits]\nconnections_per_address = 200\n")
	client := browserOf(t, p)
	for i := range 400 {
		addr := p.address([]string{"http", "https"}[i%2])
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, []string{"", "GET /sip HTTP/1.1\r\nHost", "\x16\x03\x01\x02\x00", "GET / HT"}[i%4])
	}
	for _, url := range []string{"https://" + p.address("https"), "http://" + p.address("http")} {
		res, err := client.Get(url + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	strange(t, "ws://"+p.address("http")+"/sip", "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1\r\n"+
		"From: <sip:alice@example.org>;tag=1\r\nTo: <sip:example.org>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\r\n")
}

// A restart says good-bye to pages, and the end is clean while they are connected.
func TestWebDrain(t *testing.T) {
	p := startProcess(t, t.TempDir(), "udp = \"\"\ntcp = \"\"\ntls = \"\"\nhttps = \"\"\nhttp = \"127.0.0.1:0\"\n")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+p.address("http")+"/sip", &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	code := make(chan websocket.StatusCode, 1)
	go func() {
		_, _, err := c.Read(ctx)
		code <- websocket.CloseStatus(err)
	}()
	if err := p.stop(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if got := want(t, "the good-bye", code); got != websocket.StatusGoingAway {
		t.Errorf("closed with %d", got)
	}
}

// Where the port of the pages is taken and nobody has asked for it, the server serves its phones all the same.
func TestWebPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", ":8443")
	if err == nil { // else somebody else has it: the better
		defer l.Close()
	}
	dir := t.TempDir()
	p := &process{t: t, dir: dir, ended: make(chan error, 1)}
	file := writeFile(t, "signalbox.toml", fmt.Sprintf("domain = \"example.org\"\n[listen]\nudp = \"127.0.0.1:0\"\ntcp = \"\"\ntls = \"\"\n[store]\ndatabase = \"sqlite:%s/signalbox.db\"\n", dir))
	p.cmd = program("serve", "--config", file)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	lines := bufio.NewScanner(stderr)
	warned := false
	for lines.Scan() {
		warned = warned || strings.Contains(lines.Text(), "no web pages: their port is taken")
		if strings.Contains(lines.Text(), "msg=ready") {
			break
		}
	}
	if !warned || !strings.Contains(lines.Text(), "udp 127.0.0.1:") || strings.Contains(lines.Text(), "https") {
		t.Errorf("warned %v: %s", warned, lines.Text())
	}
}

// X-Forwarded-For is believed of the web servers in front of us only, and of it only what they have written.
func TestWebPassedOn(t *testing.T) {
	s := &server{config: &config{proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("192.0.2.128/25")}}}
	for _, tt := range []struct {
		from string
		said []string
		want string
	}{
		{"127.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1:1"},
		{"[::ffff:127.0.0.1]:1", []string{"203.0.113.1"}, "203.0.113.1:1"},
		{"127.0.0.1:1", []string{"10.0.0.1, 203.0.113.1"}, "203.0.113.1:1"}, // the first one was there before
		{"127.0.0.1:1", []string{"10.0.0.1", "2001:db8::1"}, "[2001:db8::1]:1"},
		{"127.0.0.1:1", []string{"203.0.113.1, 192.0.2.200"}, "203.0.113.1:1"}, // two of them in a row
		{"127.0.0.1:1", []string{"203.0.113.1, evil"}, "127.0.0.1:1"},
		{"127.0.0.1:1", []string{"", " "}, "127.0.0.1:1"},
		{"127.0.0.1:1", nil, "127.0.0.1:1"},
		{"203.0.113.9:1", []string{"127.0.0.1"}, "203.0.113.9:1"},
		{"203.0.113.9:1", []string{"192.0.2.1, 192.0.2.2"}, "203.0.113.9:1"},
	} {
		r := &http.Request{RemoteAddr: tt.from, Header: http.Header{"X-Forwarded-For": tt.said}}
		if got := s.passedOn(r).RemoteAddr; got != tt.want {
			t.Errorf("from %s, said to be %q: %s, want %s", tt.from, tt.said, got, tt.want)
		}
	}
}

// X-Forwarded-Proto likewise: only who stands in front of us can say that a request came by https.
func TestWebPassedOnByHTTPS(t *testing.T) {
	s := &server{config: &config{proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}
	for _, tt := range []struct {
		from string
		said []string
		want bool
	}{
		{"127.0.0.1:1", []string{"https"}, true},
		{"127.0.0.1:1", []string{"HTTPS"}, true},
		{"127.0.0.1:1", []string{"http, https"}, true},
		{"127.0.0.1:1", []string{"https", "http"}, false}, // the first one was there before
		{"127.0.0.1:1", []string{"wss"}, false},
		{"127.0.0.1:1", nil, false},
		{"203.0.113.9:1", []string{"https"}, false},
	} {
		r := &http.Request{RemoteAddr: tt.from, Header: http.Header{"X-Forwarded-Proto": tt.said}}
		if got := s.passedOn(r); (got.TLS != nil) != tt.want || r.TLS != nil {
			t.Errorf("from %s, said to be %q: by https %v, want %v", tt.from, tt.said, got.TLS != nil, tt.want)
		}
	}
}
