package login

import (
	"crypto/sha256"
	"encoding/hex"

	"signalbox/internal/database"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// Named returns the device that the client certificate of a flow names: by its fingerprint, or by a URI in it that is the device's address, for devices that
// trust any certificate of the client CA (the transport has verified it). RFC 5922, 7.1 says the same of domains.
func (s *Service) Named(flow transport.Flow) (database.Device, bool) {
	if !s.Store.Any() || !flow.ID().Proto.Secure() {
		return database.Device{}, false
	}
	chain := transport.ClientCertificates(flow)
	if len(chain) == 0 {
		return database.Device{}, false
	}
	sum := sha256.Sum256(chain[0].Raw)
	if d, ok := s.Store.ByCertificate(hex.EncodeToString(sum[:])); ok {
		return d, true
	}
	for _, u := range chain[0].URIs {
		uri, err := wire.ParseURI(u.String())
		if err != nil || s.Domains == nil {
			continue
		}
		if aor, ours := s.Domains.AOR(uri); ours {
			if d, ok := s.Store.Device(aor); ok && d.Certificate == database.ByCA {
				return d, true
			}
		}
	}
	return database.Device{}, false
}
