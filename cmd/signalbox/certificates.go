package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"signalbox/internal/transport"
)

// certificates gives the transport its certificates, the operator's files or one of a CA of our own in the data directory, and whom it trusts.
func (s *server) certificates(c *transport.Config) (err error) {
	if err := s.config.tryCertificates(); err != nil {
		return err
	}
	for _, doubt := range s.config.doubtfulCertificates(time.Now()) {
		s.log.Warn(doubt.message, "file", doubt.file, "line", doubt.line)
	}
	if c.Roots, err = certPool(s.config.ca); err != nil {
		return err
	}
	if c.ClientCAs, err = certPool(s.config.clientCA); err != nil {
		return err
	}
	if c.ClientCAs != nil {
		c.ClientAuth = tls.VerifyClientCertIfGiven
		if s.config.clientRequired {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	switch {
	case len(s.config.certs) > 0:
		if s.certificate, err = openCertificates(s.config.certs, s.log); err != nil {
			return err
		}
	case len(s.config.tls)+len(s.config.https) > 0:
		ca, err := transport.OpenLocalCA(filepath.Join(s.config.dataDir(), "tls"), slices.Concat(s.config.domains, s.config.aliases))
		if err != nil {
			return err
		}
		s.certificate, s.localCA = ca.Certificate, ca
	}
	c.Certificate = s.certificate
	return nil
}

// certPool reads the certificates of a PEM file; no file is no pool.
func certPool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return pool, nil
}

// pair is a certificate's two files.
type pair struct{ cert, key string }

// openCertificates serves the first certificate that fits the name a client asks for (RFC 6066, 3), or else the first one of all.
func openCertificates(pairs []pair, log *slog.Logger) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	var all []*transport.CertFiles
	for _, p := range pairs {
		files, err := transport.NewCertFiles(p.cert, p.key, log)
		if err != nil {
			return nil, err
		}
		all = append(all, files)
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello != nil && hello.ServerName != "" {
			for _, files := range all {
				if cert, err := files.Certificate(hello); err == nil && cert.Leaf.VerifyHostname(hello.ServerName) == nil {
					return cert, nil
				}
			}
		}
		return all[0].Certificate(hello)
	}, nil
}

// tryCertificates reads the files of [tls] and blames the line that names one which cannot be used. Only who serves with them does so, and config check.
func (c *config) tryCertificates() error {
	var all []error
	for i, p := range c.certs {
		if _, err := tls.LoadX509KeyPair(p.cert, p.key); err != nil {
			all = append(all, c.places.errorf(c.places.item("tls.cert", i), "with key %s: %v", p.key, err))
		}
	}
	for _, one := range []struct{ key, file string }{{"tls.ca", c.ca}, {"tls.client_ca", c.clientCA}} {
		if _, err := certPool(one.file); err != nil {
			all = append(all, c.places.errorf(one.key, "%v", err))
		}
	}
	return errors.Join(all...)
}

// doubtfulCertificates finds what phones that look at the certificate will refuse: RFC 5922, 7.3.
func (c *config) doubtfulCertificates(now time.Time) (all []*configError) {
	covered := map[string]bool{}
	for i, p := range c.certs {
		pair, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			continue // found by tryCertificates
		}
		key := c.places.item("tls.cert", i)
		switch leaf := pair.Leaf; {
		case now.After(leaf.NotAfter):
			all = append(all, c.places.errorf(key, "expired on %s", leaf.NotAfter.Format(time.DateOnly)))
		case now.Before(leaf.NotBefore):
			all = append(all, c.places.errorf(key, "not valid before %s", leaf.NotBefore.Format(time.DateOnly)))
		}
		for _, domain := range c.domains {
			covered[domain] = covered[domain] || pair.Leaf.VerifyHostname(domain) == nil
		}
	}
	for _, domain := range c.domains {
		if len(covered) > 0 && !covered[domain] {
			all = append(all, c.places.errorf("tls.cert", "no certificate is for %s: phones that check it will not connect", domain))
		}
	}
	return all
}

// tls checks the [tls] table.
func (k *checker) tls(c *config, f *configFile) {
	certs, keys := k.list("tls.cert", f.TLS.Cert), k.list("tls.key", f.TLS.Key)
	if len(certs) != len(keys) {
		key := "tls.cert"
		if len(certs) < len(keys) {
			key = "tls.key"
		}
		k.bad(key, "cert and key go together: give both files, or neither for a local CA")
		return
	}
	if len(certs) > 0 && f.TLS.Local {
		k.bad("tls.local", "either the files cert and key, or local = true")
	}
	for i := range certs {
		c.certs = append(c.certs, pair{k.readable(certs[i]), k.readable(keys[i])})
	}
	c.ca = k.readable(item{"tls.ca", f.TLS.CA})
	c.clientCA = k.readable(item{"tls.client_ca", f.TLS.ClientCA})
	if f.TLS.ClientAuth != "" && c.clientCA == "" {
		k.bad("tls.client_auth", "needs client_ca: the file with the CA that has signed the clients' certificates")
		return
	}
	auth := "optional"
	k.choice("tls.client_auth", f.TLS.ClientAuth, &auth, "optional", "required")
	c.clientRequired = auth == "required"
}

// readable is the path of a file that is there.
func (k *checker) readable(file item) string {
	if file.value == "" {
		return ""
	}
	path := k.path(file.value)
	if _, err := os.Stat(path); err != nil {
		k.bad(file.key, "%v", err)
	}
	return path
}
