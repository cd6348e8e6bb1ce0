package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"signalbox/internal/wire"
)

// tlsConfigs are made once; TLS 1.2 is the floor (RFC 8996 has retired what is older).
type tlsConfigs struct {
	server *tls.Config
	base   *tls.Config // of connections that we open
}

func newTLSConfigs(c *Config) tlsConfigs {
	t := tlsConfigs{
		server: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: c.Certificate,
			ClientAuth:     c.ClientAuth,
			ClientCAs:      c.ClientCAs,
		},
		base: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            c.Roots,
			ClientSessionCache: tls.NewLRUClientSessionCache(maxSessions),
		},
	}
	if get := c.Certificate; get != nil {
		// RFC 3261, 26.3.1: proxies and registrars can show who they are in both directions.
		t.base.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := get(&tls.ClientHelloInfo{SupportedVersions: []uint16{info.Version}, SignatureSchemes: info.SignatureSchemes})
			if err != nil {
				return new(tls.Certificate), nil // none; the peer may be content
			}
			return cert, nil
		}
	}
	return t
}

// client is the configuration for one peer: name is the SIP domain it must prove, "" asks for a certificate of the address itself.
func (t *tlsConfigs) client(name string, addr netip.Addr) *tls.Config {
	c := t.base.Clone()
	if name == "" {
		c.ServerName = addr.WithZone("").String() // crypto/tls verifies it as an iPAddress and sends no SNI
		return c
	}
	name = strings.TrimSuffix(name, ".")
	c.ServerName = name
	// crypto/tls would accept wildcards and overlook URIs: the chain and the identity are verified in VerifyConnection, on resumption too.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		return verifyDomain(s.PeerCertificates, c.RootCAs, name)
	}
	return c
}

// verifyDomain checks that the certificate is valid and that one of its SIP identities is the domain.
// RFC 5922, 7.3
func verifyDomain(chain []*x509.Certificate, roots *x509.CertPool, domain string) error {
	if len(chain) == 0 {
		return errors.New("transport: peer shows no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return err
	}
	ids := sipIdentities(chain[0])
	for _, id := range ids {
		// RFC 5922, 7.2: whole names, without case; a wildcard matches nothing.
		if strings.EqualFold(id, domain) {
			return nil
		}
	}
	return fmt.Errorf("transport: certificate is for %q, not for %q", ids, domain)
}

// sipIdentities are the SIP domains a certificate speaks for: those of its sip URIs without a user, or else its DNS names.
// RFC 5922, 7.1 step 1
// RFC 5922, 7.1 step 2: not done, a common name is no identity any more
func sipIdentities(c *x509.Certificate) []string {
	var ids []string
	for _, u := range c.URIs {
		if !strings.EqualFold(u.Scheme, "sip") {
			continue
		}
		uri, err := wire.ParseURI("sip:" + u.Opaque)
		if err == nil && !strings.Contains(u.Opaque, "@") {
			ids = append(ids, uri.Host)
		}
	}
	if ids == nil {
		ids = c.DNSNames
	}
	return ids
}
