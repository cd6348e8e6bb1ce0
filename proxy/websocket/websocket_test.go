package websocket_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	client "github.com/coder/websocket"

	"signalbox/proxy/websocket"
)

// The Example runs in a module that is not ours: what it needs can be imported from outside.
func TestOutsideModule(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	// What we require is what it requires, and us: so nothing has to be looked up.
	_, requires, _ := strings.Cut(read(filepath.Join(root, "go.mod")), "\n")
	files := map[string]string{
		"go.mod":          "module example.org/outside\n" + requires + "\nrequire signalbox v0.0.0\n\nreplace signalbox => " + root + "\n",
		"go.sum":          read(filepath.Join(root, "go.sum")),
		"example_test.go": read("example_test.go"),
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	test := exec.Command("go", "test", "-vet=off", "-v", ".")
	test.Dir = dir
	test.Env = append(os.Environ(), "GOFLAGS=", "GOPROXY=off", "GOWORK=off")
	out, err := test.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: Example") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What New refuses.
func TestConfig(t *testing.T) {
	receive := func(websocket.Conn, []byte) {}
	for name, c := range map[string]websocket.Config{
		"nobody receives":     {},
		"an origin is a path": {Receive: receive, Origins: []string{"https://example.org/app"}},
		"a limit below zero":  {Receive: receive, PerAddress: -1},
	} {
		if h, err := websocket.New(c); err == nil {
			t.Errorf("%s: accepted", name)
			_ = h.Close(t.Context())
		}
	}
}

// Two messages of one page come with the same Conn, a request of ours is answered, a response to another's Via is dropped, and the end of the connection is told.
func TestConversation(t *testing.T) {
	type received struct {
		c websocket.Conn
		m string
	}
	got := make(chan received, 10)
	ended := make(chan error, 1)
	h, err := websocket.New(websocket.Config{Names: []string{"sip.example.org"}, Receive: func(c websocket.Conn, m []byte) { got <- received{c, string(m)} }})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(h)
	defer web.Close()
	page, _, err := client.Dial(t.Context(), web.URL, &client.DialOptions{
		Subprotocols: []string{"sip"}, Host: "sip.example.org", HTTPHeader: http.Header{"Origin": {"http://sip.example.org"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer page.CloseNow()
	say := func(m string) {
		t.Helper()
		if err := page.Write(t.Context(), client.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	const names = "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.org>;tag=2\r\nCall-ID: 1\r\n"
	options := func(seq string) string {
		return "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK" + seq + "\r\n" + names + "CSeq: " + seq + " OPTIONS\r\nMax-Forwards: 70\r\n\r\n"
	}
	say(options("1"))
	say(options("2"))
	first, second := <-got, <-got
	if first.c != second.c || !strings.Contains(first.m, ";received=127.0.0.1") || !strings.HasPrefix(second.m, "OPTIONS ") || !strings.Contains(second.m, "CSeq: 2 OPTIONS") {
		t.Errorf("came:\n%s%s", first.m, second.m)
	}
	if from := first.c.Remote().Addr(); !from.IsLoopback() {
		t.Errorf("the page is at %s", from)
	}
	first.c.OnClose(func(err error) { ended <- err })

	via := "Via: " + first.c.Via() + ";branch=z9hG4bKours\r\n"
	if err := first.c.Send([]byte("MESSAGE sip:alice@df7jal23ls0d.invalid SIP/2.0\r\n" + via + names + "CSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, m, err := page.Read(t.Context()); err != nil || !strings.HasPrefix(string(m), "MESSAGE ") {
		t.Fatalf("%s %v", m, err)
	}
	say("SIP/2.0 200 OK\r\nVia: SIP/2.0/WS 192.0.2.1:9999;branch=z9hG4bKtheirs\r\n" + names + "CSeq: 1 MESSAGE\r\n\r\n")
	say("SIP/2.0 200 OK\r\n" + via + names + "CSeq: 1 MESSAGE\r\n\r\n")
	if m := (<-got).m; !strings.Contains(m, "z9hG4bKours") {
		t.Errorf("came:\n%s", m)
	}

	if err := h.Close(context.Background()); err != nil {
		t.Error(err)
	}
	<-ended
	if err := first.c.Send([]byte(options("3"))); err == nil {
		t.Error("a closed connection takes messages")
	}
	after, err := http.DefaultClient.Do(upgrade(t, web.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer after.Body.Close()
	if text, _ := io.ReadAll(after.Body); after.StatusCode != 503 {
		t.Errorf("after Close: %s %s", after.Status, text)
	}
}

func upgrade(t *testing.T, url string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Protocol": {"sip"}}
	return r
}
