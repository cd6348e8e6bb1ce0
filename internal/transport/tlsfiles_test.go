package transport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair writes a new certificate for the name, and its key.
func writePair(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	ca, err := OpenLocalCA(t.TempDir(), []string{name})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if file == "" {
			continue
		}
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Certificate files are read again when they change, at most once a second; broken ones leave the old certificate in use, and say so once.
func TestCertFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	if _, err := NewCertFiles(cert, key, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), cert) {
		t.Errorf("missing files: %v", err)
	}
	writePair(t, cert, key, "one.example.org")
	var log bytes.Buffer
	f, err := NewCertFiles(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f.now = func() time.Time { return now }
	modified := now
	// renewed says that the files have another time of change, whatever the file system's resolution.
	renewed := func() {
		modified = modified.Add(time.Minute)
		for _, file := range []string{cert, key} {
			_ = os.Chtimes(file, modified, modified)
		}
	}
	serves := func(name string) {
		t.Helper()
		c, err := f.Certificate(nil)
		if err != nil || c.Leaf.VerifyHostname(name) != nil {
			t.Errorf("serves %v, want %s", c.Leaf.DNSNames, name)
		}
	}
	serves("one.example.org")

	writePair(t, cert, key, "two.example.org")
	renewed()
	now = now.Add(lookEvery / 2)
	serves("one.example.org") // not looked at yet
	now = now.Add(lookEvery)
	serves("two.example.org")

	writePair(t, cert, "", "three.example.org") // the key follows later
	renewed()
	for range 3 {
		now = now.Add(2 * lookEvery)
		serves("two.example.org")
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors logged:\n%s", n, log.String())
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * lookEvery)
	serves("two.example.org")
	writePair(t, cert, key, "four.example.org")
	renewed()
	now = now.Add(2 * lookEvery)
	serves("four.example.org")
}

// The local CA is made once, its key is for its owner only, and the server's certificate is renewed in time.
func TestLocalCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ca, err := OpenLocalCA(dir, []string{"example.org", "192.0.2.7", "2001:db8::7"})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("ca.key: %v, %v", info.Mode(), err)
	}
	again, err := OpenLocalCA(dir, nil)
	if err != nil || !again.cert.Equal(ca.cert) {
		t.Error("another CA after a restart", err)
	}
	now := time.Now()
	ca.now = func() time.Time { return now }
	get := func() *tls.Certificate {
		c, err := ca.Certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"example.org", "192.0.2.7", "2001:db8::7", "localhost", "127.0.0.1", "::1"} {
			if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: again.Pool(), DNSName: name, CurrentTime: now}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if ids := sipIdentities(c.Leaf); len(ids) != 2 || ids[0] != "example.org" {
			t.Errorf("SIP identities %v", ids)
		}
		return c
	}
	first := get()
	if get() != first {
		t.Error("another certificate though the first is good")
	}
	now = now.Add(leafLife / 2)
	if get() != first {
		t.Error("renewed too early")
	}
	now = now.Add(leafLife / 4)
	if get() == first {
		t.Error("not renewed")
	}
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLocalCA(dir, nil); err == nil {
		t.Error("a key without its certificate was taken for no CA")
	}
}
