package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/internal/console"
)

// authority signs client certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue signs a certificate with a URI.
func (a *authority) issue(uri string) tls.Certificate {
	a.t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		a.t.Fatal(err)
	}
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// ask sends one request over TLS and returns the first line of the answer.
func ask(t *testing.T, conn *tls.Conn, text string) string {
	t.Helper()
	if _, err := conn.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := textproto.NewReader(bufio.NewReader(conn))
	line, err := r.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadMIMEHeader(); err != nil {
		t.Fatal(err)
	}
	return line
}

// Client certificates name devices: by a URI of the client CA's, or by fingerprint. They need no password then, speak for nobody else, and nobody
// comes without. RFC 3261, 26.3.2
func TestDeviceCertificates(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "clients.pem"), ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, dir, "udp = \"\"\ntcp = \"\"\nhttps = \"\"\ntls = \"127.0.0.1:0\"\n[tls]\nclient_ca = \"clients.pem\"\n")
	client := newControlClient(dir)
	defer client.Close()
	door, other := ca.issue("sip:door@example.org"), ca.issue("sip:camera@example.org")
	file := filepath.Join(dir, "camera.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	sum, err := fingerprint(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, certificate := range map[string]string{"door": "ca", "camera": sum, "gate": "ca"} {
		if err := client.DeviceAdd(t.Context(), console.NewDevice{Device: name, Kind: "iot", Certificate: certificate}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, test := range []struct {
		name, from string
		with       []tls.Certificate
		want       string
	}{
		{"named by URI", "door", []tls.Certificate{door}, "SIP/2.0 200 OK"},
		{"named by fingerprint", "camera", []tls.Certificate{other}, "SIP/2.0 200 OK"},
		{"somebody else's", "door", []tls.Certificate{other}, "SIP/2.0 401 Unauthorized"},
		{"beginning of its name", "doo", []tls.Certificate{door}, "SIP/2.0 401 Unauthorized"},
		{"none", "door", nil, "SIP/2.0 401 Unauthorized"},
	} {
		conn, err := tls.Dial("tcp", p.address("tls"), &tls.Config{InsecureSkipVerify: true, Certificates: test.with})
		if err != nil {
			t.Fatal(err)
		}
		n++
		head := "Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK%[1]d\nMax-Forwards: 70\nFrom: <sip:%[2]s@example.org>;tag=a\nCall-ID: c%[1]d\n"
		got := ask(t, conn, fmt.Sprintf("REGISTER sip:example.org SIP/2.0\n"+head+
			"To: <sip:%[2]s@example.org>\nCSeq: 1 REGISTER\nContact: <sip:%[2]s@127.0.0.1:5061;transport=tls>\nContent-Length: 0\n\n", n, test.from))
		if got != test.want {
			t.Errorf("%s: REGISTER: %s, want %s", test.name, got, test.want)
		}
		// A device that is registered, but offline here: what counts is that nobody asks for a password.
		want := "SIP/2.0 480 Temporarily Unavailable"
		if strings.Contains(test.want, "401") {
			want = "SIP/2.0 407 Proxy Authentication Required"
		}
		n++
		got = ask(t, conn, fmt.Sprintf("MESSAGE sip:gate@example.org SIP/2.0\n"+head+"To: <sip:gate@example.org>\nCSeq: 1 MESSAGE\nContent-Length: 0\n\n", n, test.from))
		if got != want {
			t.Errorf("%s: MESSAGE: %s, want %s", test.name, got, want)
		}
		conn.Close()
	}
	// A certificate of another CA does not even get a connection.
	stranger := newAuthority(t).issue("sip:door@example.org")
	conn, err := tls.Dial("tcp", p.address("tls"), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{stranger}})
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}
	if err == nil {
		t.Error("a certificate that anybody signed is taken")
	}
}
