package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	caLife = 10 * 365 * 24 * time.Hour // phones are told to trust it once
	// leafLife is below the 398 days that phones' systems accept. A third before its end it is renewed.
	leafLife = 90 * 24 * time.Hour
	// clockSkew is how far a phone's clock may be behind ours.
	clockSkew = time.Hour
)

// LocalCA is a certificate authority of our own, for networks without a public name: phones trust its ca.crt once. The server's certificate is made from it,
// in memory, and renewed before it ends.
type LocalCA struct {
	file  string
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	names []string
	now   func() time.Time

	mu   sync.Mutex
	leaf *tls.Certificate
}

// OpenLocalCA reads ca.crt and ca.key in the directory, or makes them on first use (ca.key is readable by its owner only). names are the domains and
// addresses that the server's certificate is for; localhost, 127.0.0.1 and ::1 are added.
func OpenLocalCA(dir string, names []string) (*LocalCA, error) {
	ca := &LocalCA{file: filepath.Join(dir, "ca.crt"), now: time.Now}
	ca.names = slices.Clone(names)
	for _, n := range []string{"localhost", "127.0.0.1", "::1"} {
		if !slices.Contains(ca.names, n) {
			ca.names = append(ca.names, n)
		}
	}
	keyFile := filepath.Join(dir, "ca.key")
	err := ca.load(keyFile)
	if errors.Is(err, os.ErrNotExist) {
		err = ca.create(dir, keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("transport: local CA in %s: %w", dir, err)
	}
	return ca, nil
}

// File is the certificate to give to phones.
func (ca *LocalCA) File() string { return ca.file }

// Pool trusts this CA and no other.
func (ca *LocalCA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// Certificate is for Config.Certificate.
func (ca *LocalCA) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if ca.leaf == nil || ca.leaf.Leaf.NotAfter.Sub(ca.now()) < leafLife/3 {
		leaf, err := ca.issue()
		if err != nil {
			return nil, err
		}
		ca.leaf = leaf
	}
	return ca.leaf, nil
}

// load reads both files; os.ErrNotExist only if neither is there: half a CA is an error, not a reason to make phones trust another one.
func (ca *LocalCA) load(keyFile string) error {
	certPEM, err := os.ReadFile(ca.file)
	keyPEM, keyErr := os.ReadFile(keyFile)
	switch {
	case err == nil && keyErr == nil:
	case errors.Is(err, os.ErrNotExist) != errors.Is(keyErr, os.ErrNotExist):
		return fmt.Errorf("one of ca.crt and ca.key is missing: %v", errors.Join(err, keyErr))
	default:
		return errors.Join(err, keyErr)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return errors.New("ca.crt is not a CA with an ECDSA key")
	}
	if ca.now().After(pair.Leaf.NotAfter) {
		return fmt.Errorf("ca.crt has expired on %s: remove ca.crt and ca.key to get a new one", pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	ca.cert, ca.key = pair.Leaf, key
	return nil
}

// create makes the CA. The certificate is written last: a crash between the two leaves a key without it, and load says so.
func (ca *LocalCA) create(dir, keyFile string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := ca.now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Signalbox local CA " + now.UTC().Format(time.DateOnly)},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(keyFile, 0o600, "PRIVATE KEY", keyDER); err != nil {
		return err
	}
	if err := writePEM(ca.file, 0o644, "CERTIFICATE", der); err != nil {
		return err
	}
	ca.key = key
	ca.cert, err = x509.ParseCertificate(der)
	return err
}

// writePEM never overwrites: two servers that start at once must not end with the key of one and the certificate of the other.
func writePEM(file string, mode os.FileMode, kind string, der []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	return errors.Join(err, f.Sync(), f.Close())
}

// issue makes the server's certificate: DNS names, addresses, and the domains as SIP identities (RFC 5922, 7.1).
func (ca *LocalCA) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := ca.now()
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: ca.names[0]},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     earlier(now.Add(leafLife), ca.cert.NotAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		// A proxy is a TLS client too (RFC 3261, 26.3.1).
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, n := range ca.names {
		if ip := net.ParseIP(strings.Trim(n, "[]")); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, n)
		template.URIs = append(template.URIs, &url.URL{Scheme: "sip", Opaque: n})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
