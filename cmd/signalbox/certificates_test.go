package main

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pemPair writes a certificate for names, valid from one time to another, and its key: name.crt and name.key.
func (a *authority) pemPair(base string, from, until time.Time, names ...string) {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(3), NotBefore: from, NotAfter: until, DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(base+name, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

// What is wrong with the files of [tls] is said before a phone finds it: what cannot be used at all, and what phones that look closely refuse. RFC 5922, 7.3
func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t)
	day, now := 24*time.Hour, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	ca.pemPair(filepath.Join(dir, "good"), now.Add(-day), now.Add(day), "example.org")
	ca.pemPair(filepath.Join(dir, "net"), now.Add(-day), now.Add(day), "*.example.net", "example.net")
	ca.pemPair(filepath.Join(dir, "old"), now.Add(-2*day), now.Add(-day), "example.org")
	ca.pemPair(filepath.Join(dir, "new"), now.Add(day), now.Add(2*day), "example.org")
	for _, tt := range []struct{ name, tls, want string }{
		{"good", `cert = "good.crt", key = "good.key"`, ""},
		{"key of another", `cert = "good.crt", key = "net.key"`, `sb.toml:2:16: tls.cert: with key net.key: tls: private key does not match public key`},
		{"changed places", `cert = "good.key", key = "good.crt"`, `sb.toml:2:16: tls.cert: with key good.crt: tls: failed to find certificate PEM data`},
		{"the second one", `cert = ["good.crt", "net.crt"], key = ["good.key", "good.key"]`, `sb.toml:2:29: tls.cert[1]: with key good.key: tls: private key`},
		{"roots without any", `ca = "good.key"`, `sb.toml:2:14: tls.ca: good.key: no certificate in it`},
		{"client CA without any", `client_ca = "good.key"`, `sb.toml:2:21: tls.client_ca: good.key: no certificate in it`},
		{"expired", `cert = "old.crt", key = "old.key"`, `sb.toml:2:16: tls.cert: expired on 2026-01-30`},
		{"too early", `cert = "new.crt", key = "new.key"`, `sb.toml:2:16: tls.cert: not valid before 2026-02-01`},
		{"for another domain", `cert = "net.crt", key = "net.key"`, `sb.toml:2:16: tls.cert: no certificate is for example.org: phones that check it will not connect`},
		{"one for each", `cert = ["net.crt", "good.crt"], key = ["net.key", "good.key"]`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, "sb.toml")
			if err := os.WriteFile(path, fmt.Appendf(nil, "domain = \"example.org\"\ntls = { %s }\n", tt.tls), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := loadConfig(path, serveDefaults())
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			if err := c.tryCertificates(); err != nil {
				found = append(found, err.Error())
			}
			for _, doubt := range c.doubtfulCertificates(now) {
				found = append(found, doubt.Error())
			}
			got := strings.ReplaceAll(strings.Join(found, "\n"), dir+"/", "")
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}
