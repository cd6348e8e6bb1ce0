package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"signalbox/internal/console"
)

// dataPage is a page without a SIP stack: a data channel, and frames of JSON.
type dataPage struct {
	t      *testing.T
	pc     *webrtc.PeerConnection
	dc     *webrtc.DataChannel
	frames chan map[string]any
	closed chan struct{}
}

func newDataPage(t *testing.T) *dataPage {
	t.Helper()
	e := webrtc.SettingEngine{}
	e.SetIncludeLoopbackCandidate(true)
	e.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	e.SetICEMulticastDNSMode(1)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &dataPage{t: t, pc: pc, frames: make(chan map[string]any, 100), closed: make(chan struct{})}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	protocol := "sip-message"
	if p.dc, err = pc.CreateDataChannel("sip-message", &webrtc.DataChannelInit{Protocol: &protocol}); err != nil {
		t.Fatal(err)
	}
	p.dc.OnMessage(func(m webrtc.DataChannelMessage) {
		frame := map[string]any{}
		if err := json.Unmarshal(m.Data, &frame); err != nil || !m.IsString {
			t.Errorf("frame %q", m.Data)
		}
		p.frames <- frame
	})
	p.dc.OnClose(func() { close(p.closed) })
	return p
}

func (p *dataPage) offer() string {
	p.t.Helper()
	d, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.pc.SetLocalDescription(d); err != nil {
		p.t.Fatal(err)
	}
	return d.SDP
}

func (p *dataPage) accept(answer string) {
	p.t.Helper()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		p.t.Fatalf("%v\n%s", err, answer)
	}
}

func (p *dataPage) send(to, text, id string) {
	p.t.Helper()
	b, _ := json.Marshal(map[string]string{"to": to, "text": text, "id": id})
	if err := p.dc.SendText(string(b)); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for a frame with these values.
func (p *dataPage) expect(pairs ...any) {
	p.t.Helper()
	f := want(p.t, "a frame", p.frames)
	if len(f) != len(pairs)/2 {
		p.t.Errorf("frame %v, want %v", f, pairs)
	}
	for i := 0; i < len(pairs); i += 2 {
		if n, isNumber := pairs[i+1].(int); isNumber && f[pairs[i].(string)] == float64(n) {
			continue
		}
		if f[pairs[i].(string)] != pairs[i+1] {
			p.t.Errorf("frame %v, want %v", f, pairs)
		}
	}
}

// askMessages is POST /messages.
func askMessages(ctx context.Context, t *testing.T, client *http.Client, url, user, secret, kind, body string, headers ...string) (status int, answer string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if user != "" {
		r.SetBasicAuth(user, secret)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

// A page with nothing but a data channel chats with a phone, both ways; it is a device beside the user's phone, for MESSAGE only, and goes with its
// channel. RFC 3428, 4 and 7; RFC 3841, 7.2.2
func TestMessagesOfPages(t *testing.T) {
	p := startProcess(t, t.TempDir(), everyTransport)
	p.importUsers("alice", "bob")
	client, url := browserOf(t, p), "https://"+p.address("https")+"/messages"
	bob, desk := newPhone(t, "bob", "udp", p.address("udp"), nil), newPhone(t, "alice", "tcp", p.address("tcp"), nil)
	bob.register()
	desk.register()

	alice := newDataPage(t)
	status, answer, header := askMessages(t.Context(), t, client, url, "alice", "alice-secret", "application/sdp", alice.offer())
	if status != http.StatusCreated || header.Get("Content-Type") != "application/sdp" || !strings.Contains(answer, "a=ice-lite") || !strings.Contains(answer, "a=setup:passive") ||
		!strings.Contains(answer, "a=max-message-size:8192") {
		t.Fatalf("%d\n%s", status, answer)
	}
	alice.accept(answer)
	alice.expect("user", "sip:alice@example.org")
	p.waitFor("has three registrations", func(s console.Status) bool { return s.Registrations == 3 })

	alice.send("sip:bob@example.org", "grüß dich <☎>", "1")
	alice.expect("id", "1", "status", 200, "reason", "OK")
	if got := want(t, "a text", bob.texts); got != "grüß dich <☎>" {
		t.Errorf("bob reads %q", got)
	}
	if res := bob.text("sip:alice@example.org", "hello \"you\""); res.StatusCode != 200 {
		t.Errorf("to alice: %s", statusLine(res))
	}
	alice.expect("from", "sip:bob@example.org", "text", "hello \"you\"")
	if got := want(t, "a text", desk.texts); got != "hello \"you\"" {
		t.Errorf("alice's phone reads %q", got)
	}

	alice.send("sip:nobody@example.org", "x", "2")
	alice.expect("id", "2", "status", 404, "reason", "Not Found")
	alice.send("tel:1", "x", "3")
	alice.expect("id", "3", "status", 416, "reason", "Unsupported URI Scheme")
	alice.send("sip:bob@example.org", strings.Repeat("x", 1300), "4") // RFC 3428, 8
	alice.expect("id", "4", "status", 413, "reason", "Request Entity Too Large")

	out, err := program("reg", "list", "--config", p.dir+"/signalbox.toml", "-o", "wide").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "data channel") {
		t.Errorf("%v\n%s", err, out)
	}
	_ = alice.dc.Close()
	p.waitFor("forgets the page", func(s console.Status) bool { return s.Registrations == 2 })
	want(t, "the end of the channel", alice.closed)

	// The account is the page's licence.
	again := newDataPage(t)
	if status, answer, _ = askMessages(t.Context(), t, client, url, "alice", "alice-secret", "application/sdp", again.offer()); status != http.StatusCreated {
		t.Fatalf("%d\n%s", status, answer)
	}
	again.accept(answer)
	again.expect("user", "sip:alice@example.org")
	if out, err := program("user", "rm", "alice", "--config", p.dir+"/signalbox.toml").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want(t, "the end of the channel", again.closed)
	// The server stops: its pages hear of it.
	last := newDataPage(t)
	if status, answer, _ = askMessages(t.Context(), t, client, url, "bob", "bob-secret", "application/sdp", last.offer()); status != http.StatusCreated {
		t.Fatalf("%d\n%s", status, answer)
	}
	last.accept(answer)
	last.expect("user", "sip:bob@example.org")
	if err := p.stop(); err != nil {
		t.Errorf("exit: %v", err)
	}
	want(t, "the end of the channel", last.closed)
}

// Who may not, and what is no offer, is told so. hardening 73
func TestMessagesRefused(t *testing.T) {
	p := startProcess(t, t.TempDir(), everyTransport)
	p.importUsers("alice")
	client, url := browserOf(t, p), "https://"+p.address("https")+"/messages"
	offer := newDataPage(t).offer()
	video := strings.Replace(offer, "m=application", "m=video", 1)
	for name, tt := range map[string]struct {
		user, secret, kind, body string
		headers                  []string
		status                   int
	}{
		"nobody":         {"", "", "application/sdp", offer, nil, 401},
		"wrong password": {"alice", "wrong", "application/sdp", offer, nil, 401},
		"foreign origin": {"alice", "alice-secret", "application/sdp", offer, []string{"Origin", "https://example.com"}, 403},
		"own origin":     {"", "", "application/sdp", offer, []string{"Origin", "https://" + p.address("https")}, 401},
		"no SDP":         {"alice", "alice-secret", "application/json", "{}", nil, 415},
		"nothing":        {"alice", "alice-secret", "application/sdp", "", nil, 400},
		"noise":          {"alice", "alice-secret", "application/sdp", "v=0\r\nhello", nil, 400},
		"video":          {"alice", "alice-secret", "application/sdp", video, nil, 400},
		"large":          {"alice", "alice-secret", "application/sdp", offer + strings.Repeat("a=x\r\n", 10_000), nil, 413},
		"other domain":   {"alice", "alice-secret", "application/sdp", offer, []string{"domain", "example.com"}, 404},
	} {
		at := url
		if len(tt.headers) == 2 && tt.headers[0] == "domain" {
			at, tt.headers = url+"?domain="+tt.headers[1], nil
		}
		status, body, _ := askMessages(t.Context(), t, client, at, tt.user, tt.secret, tt.kind, tt.body, tt.headers...)
		if status != tt.status {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// The policy rules pages as it rules phones: whom they may send to, whether they may register, and when they have to prove themselves again.
func TestMessagesPolicy(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.toml"), []byte(`
[[rule]]
when = { action = ["call"], target = ["bob"], user = ["alice"] }
deny = { code = 403, reason = "Not To Bob" }
[[rule]]
when = { action = ["register"], user = ["bob"] }
deny = { code = 403, reason = "No Phones For Bob" }
[[rule]]
when = { action = ["register"], user = ["alice"] }
reauthenticate = "1h"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, dir, everyTransport+"[policy]\nfile = \"policy.toml\"\n")
	p.importUsers("alice", "bob")
	client, url := browserOf(t, p), "https://"+p.address("https")+"/messages"
	open := func(user string) *dataPage {
		page := newDataPage(t)
		status, answer, _ := askMessages(t.Context(), t, client, url, user, user+"-secret", "application/sdp", page.offer())
		if status != http.StatusCreated {
			t.Fatalf("%d\n%s", status, answer)
		}
		page.accept(answer)
		return page
	}
	alice, bob := open("alice"), open("bob")
	alice.expect("user", "sip:alice@example.org")
	bob.expect("status", 403, "reason", "No Phones For Bob")
	alice.send("sip:bob@example.org", "x", "1")
	alice.expect("id", "1", "status", 403, "reason", "Not To Bob")
	bob.send("sip:alice@example.org", "hello", "1")
	alice.expect("from", "sip:bob@example.org", "text", "hello")
	bob.expect("id", "1", "status", 200, "reason", "OK")
}
