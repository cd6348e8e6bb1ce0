package transport

import (
	"crypto/tls"
	"net"
	"net/netip"
)

// dialTLS connects as a phone that trusts the CA.
func dialTLS(ca *LocalCA, a netip.AddrPort, name string) (net.Conn, error) {
	return tls.Dial("tcp", a.String(), &tls.Config{RootCAs: ca.Pool(), ServerName: name})
}
