package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"signalbox/internal/wire"
)

func testCA(t testing.TB) *LocalCA {
	t.Helper()
	ca, err := OpenLocalCA(t.TempDir(), []string{"example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// dialTLS connects as a phone that trusts the CA.
func dialTLS(ca *LocalCA, a netip.AddrPort, name string) (net.Conn, error) {
	return tls.Dial("tcp", a.String(), &tls.Config{RootCAs: ca.Pool(), ServerName: name})
}

// RFC 3261, 26.3.1: TLS, with a certificate of our domains.
func TestTLSRequest(t *testing.T) {
	ca := testCA(t)
	tr, r := begin(t, Config{TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate, ClientAuth: tls.RequestClientCert})
	cert, err := ca.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []*tls.Certificate{{}, cert} {
		c, err := tls.Dial("tcp", addr(tr, 0).String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "example.org", Certificates: []tls.Certificate{*own}})
		if err != nil {
			t.Fatal(err)
		}
		p := newPhone(t, c)
		p.say(request("SIP/2.0/TLS phone.invalid;branch=z9hG4bK1", "1") + "\r\n\r\n")
		if got := p.message(); status(got) != "200" {
			t.Errorf("got %q", got)
		}
		h := r.next(t)
		if h.flow.ID().Proto != wire.TLS || h.req.Via.Received != "127.0.0.1" {
			t.Errorf("flow %v, Via %s", h.flow.ID(), h.req.Via.Raw)
		}
		if got := PeerCertificates(h.flow); len(got) != len(own.Certificate) {
			t.Errorf("%d peer certificates, shown %d", len(got), len(own.Certificate))
		}
	}
}

// TLS 1.2 is the floor.
func TestTLSFloor(t *testing.T) {
	ca := testCA(t)
	tr, _ := begin(t, Config{TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate})
	c, err := tls.Dial("tcp", addr(tr, 0).String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		c.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

// authority issues certificates of any kind.
type authority struct {
	t  *testing.T
	ca *LocalCA
}

func (a authority) issue(change func(*x509.Certificate)) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial(), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca.cert, key.Public(), a.ca.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func sipURI(s string) *url.URL {
	scheme, rest, _ := strings.Cut(s, ":")
	return &url.URL{Scheme: scheme, Opaque: rest}
}

// RFC 5922, 7.1 step 1: SIP URIs without a user are identities, DNS names only if there are none; RFC 5922, 7.1 step 2: a common name never is. RFC 5922, 7.2: whole names, no wildcards.
// hardening 74: another name, an expired and a self-signed certificate are refused.
// RFC 5922, 7.1 and 7.3: as a client we look for the domain that we called, and hang up before anything is sent when it is not there.
func TestDialTLSVerifies(t *testing.T) {
	ca := testCA(t)
	a := authority{t, ca}
	uris := func(dns string, list ...string) *tls.Certificate {
		return a.issue(func(c *x509.Certificate) {
			for _, s := range list {
				c.URIs = append(c.URIs, sipURI(s))
			}
			if dns != "" {
				c.DNSNames = []string{dns}
			}
		})
	}
	for _, tt := range []struct {
		name, domain string
		cert         *tls.Certificate
		good         bool
	}{
		{"SIP URI", "example.org", uris("", "sip:example.org"), true},
		{"any case", "Example.ORG.", uris("", "SIP:EXAMPLE.org"), true},
		{"second URI", "example.org", uris("", "sip:example.net", "sip:example.org"), true},
		{"DNS name", "example.org", uris("example.org"), true},
		{"DNS name beside a URI of another kind", "example.org", uris("example.org", "https://example.net/"), true},
		{"DNS name beside a URI with a user", "example.org", uris("example.org", "sip:alice@example.org"), true},
		{"DNS name overruled by a SIP URI", "example.org", uris("example.org", "sip:example.net"), false},
		{"URI with a user", "example.org", uris("", "sip:alice@example.org"), false},
		{"sips URI", "example.org", uris("", "sips:example.org"), false},
		{"other name", "example.org", uris("example.net"), false},
		{"wildcard", "sip.example.org", uris("*.example.org"), false},
		{"suffix", "example.org", uris("sip.example.org"), false},
		{"common name", "example.org", a.issue(func(c *x509.Certificate) { c.Subject.CommonName = "example.org" }), false},
		{"expired", "example.org", a.issue(func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"example.org"}, time.Now().Add(-time.Minute)
		}), false},
		{"for clients only", "example.org", a.issue(func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{"example.org"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), false},
		{"unknown CA", "example.org", authority{t, testCA(t)}.issue(func(c *x509.Certificate) { c.DNSNames = []string{"example.org"} }), false},
		{"address", "", a.issue(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }), true},
		{"other address", "", a.issue(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)} }), false},
		{"a name for an address", "", uris("example.org"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, _ := begin(t, Config{TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate, Roots: ca.Pool()})
			names := make(chan string, 1)
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				names <- h.ServerName
				return tt.cert, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			f, err := tr.Dial(wire.Hop{Proto: wire.TLS, Addr: netip.MustParseAddrPort(l.Addr().String()), Name: tt.domain})
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan error, 1)
			f.OnClose(func(err error) { told <- err })
			if err := f.Send([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			b := make([]byte, 5)
			_, err = io.ReadFull(c, b)
			if got := err == nil && string(b) == "hello"; got != tt.good {
				t.Errorf("delivered: %v (%v)", got, err)
			}
			if name := <-names; name != strings.TrimSuffix(tt.domain, ".") {
				t.Errorf("SNI %q", name)
			}
			if !tt.good {
				if err := <-told; !errors.Is(err, errHandshake) {
					t.Errorf("told %v", err)
				}
			}
		})
	}
}

// A connection is used again for the same name only (hardening 74, CVE-2020-15260); sessions are resumed, and verified again.
func TestDialTLSReuse(t *testing.T) {
	ca := testCA(t)
	cert := authority{t, ca}.issue(func(c *x509.Certificate) { c.DNSNames = []string{"example.org", "example.net"} })
	tr, _ := begin(t, Config{TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate, Roots: ca.Pool()})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := func(name string) wire.Hop {
		return wire.Hop{Proto: wire.TLS, Addr: netip.MustParseAddrPort(l.Addr().String()), Name: name}
	}
	// accept takes the connection, reads what was sent and answers, so that the session ticket is read too.
	accept := func(f Flow) (*phone, bool) {
		t.Helper()
		pong := make(chan struct{})
		if err := f.Send([]byte("\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p := newPhone(t, c)
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(p.r, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = p.Write([]byte("\r\n\r\n"))
			_, _ = io.ReadFull(p.r, make([]byte, 2)) // our pong to its ping
			close(pong)
		}()
		<-pong
		return p, c.(*tls.Conn).ConnectionState().DidResume
	}
	f, err := tr.Dial(to("example.org"))
	if err != nil {
		t.Fatal(err)
	}
	p, resumed := accept(f)
	if resumed {
		t.Error("resumed what never was")
	}
	if again, _ := tr.Dial(to("example.org")); again != f {
		t.Error("not used again")
	}
	g, err := tr.Dial(to("example.net"))
	if err != nil || g == f {
		t.Error("used for another name", err)
	}
	accept(g)
	told := make(chan error, 1)
	f.OnClose(func(err error) { told <- err })
	p.Close()
	<-told
	h, err := tr.Dial(to("example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if _, resumed := accept(h); !resumed {
		t.Error("the session was not resumed")
	}
}

// A TLS peer that does not read blocks nobody either.
func TestSlowTLSReader(t *testing.T) {
	ca := testCA(t)
	tr, r := begin(t, Config{TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate})
	c, err := dialTLS(ca, addr(tr, 0), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	p := newPhone(t, c)
	p.say(request("SIP/2.0/TLS phone.invalid;branch=z9hG4bK1", "1"))
	f := r.next(t).flow
	told := make(chan error, 1)
	f.OnClose(func(err error) { told <- err })
	for range 1000 {
		if err = f.Send(make([]byte, 1<<16)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("Send: %v", err)
	}
	if err := <-told; !errors.Is(err, ErrFull) {
		t.Errorf("told %v", fmt.Sprint(err))
	}
}
