package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// RFC 6455, 10.2; hardening 73: a page that may not connect is named in the log, with what lets it in: once, and not without end.
func TestRefusedPageIsNamed(t *testing.T) {
	var log bytes.Buffer
	s := &server{config: &config{}, domains: wire.NewDomains([]string{"example.org"}, nil), log: slog.New(slog.NewTextHandler(&log, nil))}
	ask := func(origin string) {
		r := httptest.NewRequest("GET", "http://192.0.2.1:8080/sip", nil)
		r.Header.Set("Origin", origin)
		if o := s.pages(); o.Allows(r) {
			t.Errorf("%s may connect", origin)
		}
	}
	for range 3 {
		ask("http://localhost:5173")
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), `[web] origins = [\"http://localhost:5173\"]`) {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	ask("null")
	if !strings.Contains(log.String(), "opened from a file") {
		t.Errorf("%s", log.String())
	}
	for i := range 100 {
		ask(fmt.Sprintf("https://%d.example", i))
	}
	if n := strings.Count(log.String(), "\n"); n != maxNamedOnce {
		t.Errorf("%d lines", n)
	}
}
