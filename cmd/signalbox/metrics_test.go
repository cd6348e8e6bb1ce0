package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Prometheus reads the metrics where [observe] says, and nothing else is there.
func TestMetrics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	p := startProcess(t, t.TempDir(), "udp = \"127.0.0.1:0\"\ntcp = \"\"\ntls = \"\"\nhttps = \"\"\nhttp = \"127.0.0.1:0\"\n[turn]\nudp = \"\"\ntcp = \"\"\ntls = \"\"\n[observe]\nmetrics = \""+at+"\"\n")
	p.importUsers("alice", "bob")
	get := func(method, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+at+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	code, text := get("GET", "/metrics")
	for _, want := range []string{"signalbox_users 2\n", "# TYPE signalbox_media_calls gauge\nsignalbox_media_calls 0\n", "signalbox_media_packets_total{direction=\"sent\"} 0\n"} {
		if code != 200 || !strings.Contains(text, want) {
			t.Errorf("%d: no %q in\n%s", code, want, text)
		}
	}
	if code, _ := get("POST", "/metrics"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", code)
	}
	if code, _ := get("GET", "/v1/users"); code != http.StatusNotFound {
		t.Errorf("the API is open over TCP: %d", code)
	}
	// A port that is taken stops the start, and the line of the file is shown.
	file := filepath.Join(t.TempDir(), "signalbox.toml")
	if err := os.WriteFile(file, []byte("domain = \"example.org\"\n[listen]\nudp = \"127.0.0.1:0\"\ntcp = \"\"\ntls = \"\"\nhttps = \"\"\n[observe]\nmetrics = \""+at+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := program("serve", "--config", file).CombinedOutput(); err == nil || !strings.Contains(string(out), "signalbox.toml:8:11: observe.metrics:") {
		t.Errorf("%v: %s", err, out)
	}
}
