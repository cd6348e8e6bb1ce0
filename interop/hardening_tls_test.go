package interop

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// names writes a certificate for host names: base.crt and base.key.
func (a *authority) names(t *testing.T, base string, names ...string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(nil, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, base+".crt", "CERTIFICATE", der)
	writePEM(t, base+".key", "PRIVATE KEY", pkcs8)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// talk shakes hands and has a request answered; in TLS 1.3 a server refuses a client's certificate only after the client believes itself connected.
func talk(addr string, c *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", addr, c)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	_, err = greetSIP(0, conn)
	return conn.ConnectionState(), err
}

// TLS from outside: TLS 1.2 is the floor, sessions are resumed, the certificate is chosen by the name that is asked for (RFC 6066, 3), and read again when it has been renewed.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := newVictim(t, "", "")
	other := filepath.Join(s.dir, "other")
	s.ca.names(t, other, "other.test", "*.other.test")
	s.stop()
	conf, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, swap := range [][2]string{{`cert = "server.crt"`, `cert = ["server.crt", "other.crt"]`}, {`key = "server.key"`, `key = ["server.key", "other.key"]`}} {
		conf = replaceOnce(t, conf, swap[0], swap[1])
	}
	s.file("signalbox.toml", string(conf))
	s.start()
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.cert)

	for _, name := range []string{domain, "other.test", "phones.other.test"} {
		st, err := talk(s.tls, &tls.Config{RootCAs: pool, ServerName: name}) // verifies the name
		if err != nil || st.Version != tls.VersionTLS13 {
			t.Errorf("%s: %v, version %x", name, err, st.Version)
		}
	}
	st, err := talk(s.tls, &tls.Config{RootCAs: pool, ServerName: "stranger.test", InsecureSkipVerify: true})
	if err != nil || st.PeerCertificates[0].Subject.CommonName != domain {
		t.Errorf("a name that is not ours: %v", err)
	}
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		if _, err := talk(s.tls, &tls.Config{RootCAs: pool, ServerName: domain, MinVersion: version, MaxVersion: version}); (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := &tls.Config{RootCAs: pool, ServerName: domain, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for _, again := range []bool{false, true} {
			if st, err := talk(s.tls, c); err != nil || st.DidResume != again {
				t.Errorf("%s: resumed %v, want %v (%v)", tls.VersionName(version), st.DidResume, again, err)
			}
		}
	}
	s.ca.names(t, filepath.Join(s.dir, "server"), domain, "renewed.test")
	for range 50 {
		if _, err = talk(s.tls, &tls.Config{RootCAs: pool, ServerName: "renewed.test"}); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("the renewed certificate is not in use: %v", err)
}

// Certificates of clients: asked for or required, and only those of the operator's CA count. RFC 3261, 26.3.1
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		auth                   string
		without, ours, foreign bool
	}{
		{"", true, true, false},
		{"client_auth = \"optional\"\n", true, true, false},
		{"client_auth = \"required\"\n", false, true, false},
	} {
		s := newVictim(t, "client_ca = \"ca.crt\"\n"+tt.auth, "")
		pool := x509.NewCertPool()
		pool.AddCert(s.ca.cert)
		ours := s.ca.names(t, filepath.Join(s.dir, "phone"), "phone.test")
		stranger := newAuthority(t, t.TempDir())
		foreign := stranger.names(t, filepath.Join(s.dir, "foreign"), "phone.test")
		for _, shown := range []struct {
			name string
			cert *tls.Certificate
			ok   bool
		}{{"none", nil, tt.without}, {"of our CA", &ours, tt.ours}, {"of another", &foreign, tt.foreign}} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				asked := false
				c := &tls.Config{RootCAs: pool, ServerName: domain, MaxVersion: version, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					asked = true
					if shown.cert == nil {
						return &tls.Certificate{}, nil
					}
					return shown.cert, nil
				}}
				_, err := talk(s.tls, c)
				if (err == nil) != shown.ok || !asked {
					t.Errorf("%q, certificate %s, %s: %v, asked %v", tt.auth, shown.name, tls.VersionName(version), err, asked)
				}
			}
		}
		if err := s.served("tcp"); err != nil {
			t.Error(err)
		}
	}
}
