package phone

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func handler() http.Handler {
	return Handler(Config{
		Domain: "example.org", HTTPS: 8443, TURN: true, Echo: "echo",
		Ready: func() []Account { return []Account{{"alice", "secret"}} },
	})
}

func get(h http.Handler, target string, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, fn := range change {
		fn(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The page keeps to a strict policy: nothing inline, no other origin, no frame around it. A Host is not copied into the policy as it comes.
func TestPolicy(t *testing.T) {
	h := handler()
	res := get(h, "https://sip.example.org/phone")
	policy := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "connect-src 'self' wss://sip.example.org;", "base-uri 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Error(policy)
	}
	page := body(t, res)
	if regexp.MustCompile(`<style|<script[^>]*>[^<]|style=|onclick=`).MatchString(page) {
		t.Errorf("something is inline:\n%s", page)
	}
	for _, host := range []string{"a.org; script-src *", "a.org'", "a.org\n", ""} {
		res := get(h, "https://sip.example.org/phone", func(r *http.Request) { r.Host = host })
		if p := res.Header.Get("Content-Security-Policy"); !strings.Contains(p, "connect-src 'self' ;") {
			t.Errorf("host %q: %s", host, p)
		}
	}
}

// What the page asks for is there, may be kept for ever by its hash, and is asked for again without it.
func TestAssets(t *testing.T) {
	h := handler()
	page := body(t, get(h, "/phone"))
	paths := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(paths) != 3 {
		t.Fatalf("%d files in\n%s", len(paths), page)
	}
	for _, m := range append(paths, []string{"", "/sip-phone.js"}, []string{"", "/phone/licenses.txt"}) {
		res := get(h, m[1])
		text := body(t, res)
		if res.StatusCode != 200 || len(text) < 100 || res.Header.Get("Content-Type") == "" {
			t.Fatalf("%s: %d, %d bytes, %s", m[1], res.StatusCode, len(text), res.Header.Get("Content-Type"))
		}
		if forever := strings.Contains(res.Header.Get("Cache-Control"), "immutable"); forever != strings.Contains(m[1], "?") {
			t.Errorf("%s: %s", m[1], res.Header.Get("Cache-Control"))
		}
		if again := get(h, m[1], func(r *http.Request) { r.Header.Set("If-None-Match", res.Header.Get("ETag")) }); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %d", m[1], again.StatusCode)
		}
		packed := get(h, m[1], func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip, br") })
		z, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		if plain, _ := io.ReadAll(z); string(plain) != text {
			t.Errorf("%s: packed it is another file", m[1])
		}
	}
	for path, code := range map[string]int{"/phone/": 301, "/phone/page.html": 404, "/phone/../phone.go": 404, "/phone/dist/phone.js": 404} {
		if res := get(h, path); res.StatusCode != code {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, code)
		}
	}
	if res := get(h, "/sip-phone.js"); res.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("other pages cannot embed the element")
	}
}

// Ready accounts, with their passwords, are told to a page that this machine shows itself, and to nobody else.
func TestReadyAccounts(t *testing.T) {
	for _, tt := range []struct {
		name, host, from, header, value string
		want                            int
	}{
		{"at home", "localhost:8443", "127.0.0.1:1000", "", "", 1},
		{"by address", "127.0.0.1:8443", "127.0.0.1:1000", "", "", 1},
		{"by IPv6", "[::1]:8443", "[::1]:1000", "", "", 1},
		{"from the network", "localhost:8443", "192.0.2.7:1000", "", "", 0},
		{"a name made to lead here", "evil.example.net:8443", "127.0.0.1:1000", "", "", 0},
		{"another page", "localhost:8443", "127.0.0.1:1000", "Origin", "https://evil.example.net", 0},
		{"through a proxy", "localhost:8443", "127.0.0.1:1000", "X-Forwarded-For", "192.0.2.7", 0},
	} {
		res := get(handler(), "/phone/config.json", func(r *http.Request) {
			r.Host, r.RemoteAddr = tt.host, tt.from
			if tt.header != "" {
				r.Header.Set(tt.header, tt.value)
			}
		})
		var c told
		if err := json.NewDecoder(res.Body).Decode(&c); err != nil {
			t.Fatal(err)
		}
		if len(c.Ready) != tt.want || c.Domain != "example.org" || !c.TURN || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
	refuse := Handler(Config{Pages: func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return false }})
	if res := get(refuse, "/phone/config.json"); res.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page: %d", res.StatusCode)
	}
}
