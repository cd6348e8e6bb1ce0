package login

import (
	"crypto/sha256"
	"encoding/hex"

	"signalbox/internal/database"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// Vouches tells whether From may be used on a flow by somebody else than its owner's password proves: the device that its client certificate names (proven is the
// zero value then) or that has proven itself, for itself by certificate, and for users who are logged in on it, over this very flow.
func (s *Service) Vouches(flow transport.Flow, proven, from wire.AOR) bool {
	if !s.Store.Any() {
		return false
	}
	if proven != (wire.AOR{}) {
		_, isDevice := s.Store.Device(proven)
		return isDevice && s.LoggedIn(from, proven, flow.ID())
	}
	device, ok := s.Named(flow)
	return ok && (device.AOR == from || s.LoggedIn(from, device.AOR, flow.ID()))
}

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
