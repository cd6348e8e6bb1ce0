package interop

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Behind a web server that ends TLS the phone page works over https, and what is logged and throttled is the user's address, not the web server's.
func TestBehindWebServer(t *testing.T) {
	startBrowser(t)
	t.Parallel()
	s := newServer(t, fmt.Sprintf("[web]\nproxies = \"127.0.0.1\"\n[turn]\nudp = %q\ntcp = \"\"\ntls = \"\"\n", freeAddr(t)), "alice")
	to := &url.URL{Scheme: "http", Host: s.http}
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
		r.Out.Header["X-Forwarded-For"] = []string{"203.0.113.77"}
	}})
	defer front.Close()
	_, port, err := net.SplitHostPort(front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := openPhone(t, s, "alice", "/phone")
	if err := chromedp.Do(p.ctx, chromedp.Navigate("https://localhost:"+port+"/phone")); err != nil {
		t.Fatal(err)
	}
	p.types("input[name=name]", "alice")
	p.types("input[name=password]", password("alice"))
	p.press("Sign in")
	p.sees("Ready")
	p.press("Echo test")
	p.sees("Connected")
	p.until("document.querySelector('signalbox-phone').line.call.quality?.received > 50")
	p.press("Hang up")
	if text := s.out.String(); !strings.Contains(text, "source=WS:203.0.113.77:") {
		t.Errorf("the log has not the user's address:\n%s", tail(text, 2000))
	}
	// A password may be sent as it is: it came by https. Without the web server's word for it, it may not.
	client := front.Client()
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	for proto, want := range map[string]int{"https": http.StatusOK, "http": http.StatusUnauthorized} {
		r, err := http.NewRequest(http.MethodGet, "http://"+s.http+"/turn", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("alice", password("alice"))
		r.Header.Set("X-Forwarded-For", "203.0.113.78")
		r.Header.Set("X-Forwarded-Proto", proto)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("by %s: %d, want %d", proto, res.StatusCode, want)
		}
	}
	results.passed(t, "Phone page in Chromium", "behind a web server that ends TLS", "TestBehindWebServer", "wss")
}
