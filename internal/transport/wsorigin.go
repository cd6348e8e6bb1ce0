package transport

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Origins says which web pages may connect (RFC 6455, 10.2): those that this server sent itself, and those listed. Who shows no origin is no browser.
type Origins struct {
	// Allowed are origins as browsers write them, "https://example.org" or "http://localhost:5173". "https://example.org:*" is any port, "null" a page
	// that was opened from a file, "*" any page.
	Allowed []string
	// Known tells whether a host name is this server's. Without TLS, where no certificate has proved it, only a page of such a name, or of an address
	// or localhost, counts as sent by this server: any name can be made to lead here.
	Known func(host string) bool
	// Refused is told of each request that is not let in; nil is silent. The page cannot tell its user why: a browser keeps that from it.
	Refused func(r *http.Request)
}

// ParseOrigin checks one element of Allowed.
func ParseOrigin(s string) error {
	if s == "*" || s == "null" {
		return nil
	}
	u, err := url.Parse(strings.TrimSuffix(s, ":*"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf(`%q is not the origin of a web page: want "https://HOST", "https://HOST:PORT", "https://HOST:*", "null" (a page opened from a file) or "*"`, s)
	}
	return nil
}

func (o *Origins) allow(r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	if u, err := url.Parse(values[0]); err == nil && len(values) == 1 && (o.listed(u) || o.own(u, r)) {
		return true
	}
	if o.Refused != nil {
		o.Refused(r)
	}
	return false
}

func (o *Origins) listed(u *url.URL) bool {
	for _, s := range o.Allowed {
		if s == "*" || s == "null" && u.String() == s { // the origin of who has none (RFC 6455, 10.2)
			return true
		}
		host, anyPort := strings.CutSuffix(s, ":*")
		a, err := url.Parse(host)
		if err != nil || !strings.EqualFold(a.Scheme, u.Scheme) || !strings.EqualFold(a.Hostname(), u.Hostname()) {
			continue
		}
		if anyPort || portOf(a) == portOf(u) {
			return true
		}
	}
	return false
}

// own: the page came from where it wants to connect to.
func (o *Origins) own(u *url.URL, r *http.Request) bool {
	// A proxy that ends TLS in front of us passes on https pages by http; never is it the other way round.
	if u.Scheme != "https" && (u.Scheme != "http" || r.TLS != nil) {
		return false
	}
	here := &url.URL{Scheme: u.Scheme, Host: r.Host}
	if u.Hostname() == "" || !strings.EqualFold(here.Hostname(), u.Hostname()) || portOf(here) != portOf(u) {
		return false
	}
	return r.TLS != nil || o.known(u.Hostname())
}

func (o *Origins) known(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") {
		return true
	}
	return o.Known != nil && o.Known(host)
}

// portOf is the port, written or meant.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
