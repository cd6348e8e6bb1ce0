// Package sdp reads and writes session descriptions as the media bridge needs them (RFC 8866; RFC 3264, 5 and 6), and finds what two of them
// have in common. It keeps what the bridge must know or pass on and drops the rest: what it writes is always its own text, never a copy of what a
// peer sent. The bridge (package media) calls it once for each offer or answer; limits.go bounds what it takes.
package sdp

import (
	"net/netip"
	"strings"
)

// Session is one description. What stands at session level and holds for every medium (address, direction, fingerprint, ICE credentials) is found
// in each Media.
type Session struct {
	ID, Version uint64     // of the o= line
	Addr        netip.Addr // of the o= and the session's c= line
	ICELite     bool       // RFC 8839, 5.3
	Bundle      []string   // the mids of a=group:BUNDLE. RFC 8843
	Media       []Media
}

// Media is one m= line with its attributes.
type Media struct {
	Kind    string // audio, video, application ...
	Port    uint16 // 0: rejected, unless BundleOnly
	Proto   string
	Codecs  []Codec // of an RTP medium
	Formats string  // what stands behind the protocol of any other, as it came

	Addr       netip.Addr // where its packets go; the zero Addr where c= has a name or nothing
	RTCP       uint16     // port of a=rtcp, 0 when absent. RFC 3605
	Mux        bool       // a=rtcp-mux. RFC 5761
	BundleOnly bool
	Mid        string
	Direction  Direction
	Ptime      int // milliseconds, 0 when absent

	Ufrag, Pwd  string // RFC 8839, 5.4
	Fingerprint string // "sha-256 AB:CD:..."; the strongest we know. RFC 8122, 5
	Setup       string // actpass, active, passive. RFC 4145
	Candidate   string // written only: our one host candidate. RFC 8839, 5.1
	Crypto      []Crypto

	SSRC  uint32 // written only, with CName; 0 writes none. RFC 5576
	CName string
}

// Codec is one payload format of an RTP medium.
type Codec struct {
	PT       uint8
	Name     string // as it came; compared without case
	Clock    int
	Channels int      // 1 when absent
	Fmtp     string   // "" when absent
	Feedback []string // a=rtcp-fb values of this format or of all. RFC 4585, 4.2
}

// Crypto is one a=crypto line. RFC 4568, 4
type Crypto struct {
	Tag   int
	Suite string
	Key   string // base64 of key and salt, without lifetime
}

// Direction of a medium, seen from whoever wrote the description. RFC 8866, 6.7
type Direction uint8

// The four directions. The bits are: 1 it sends, 2 it receives.
const (
	Inactive Direction = iota
	SendOnly
	RecvOnly
	SendRecv
)

var directions = [...]string{"inactive", "sendonly", "recvonly", "sendrecv"}

func (d Direction) String() string { return directions[d&3] }

// Sends tells whether its author sends.
func (d Direction) Sends() bool { return d&SendOnly != 0 }

// Receives tells whether its author receives.
func (d Direction) Receives() bool { return d&RecvOnly != 0 }

// Rejected: port 0 turns a medium down (RFC 3264, 6), but not one that only waits for its bundle (RFC 8843).
func (m *Media) Rejected() bool { return m.Port == 0 && !m.BundleOnly }

// IsRTP tells whether the medium is RTP in any of its profiles.
func (m *Media) IsRTP() bool { return strings.Contains(m.Proto, "RTP/") }

// Secure: SRTP is demanded by the profile.
func (m *Media) Secure() bool { return strings.Contains(m.Proto, "RTP/SAVP") }

// DTLS: the keys come by DTLS (RFC 5763). Browsers accept several spellings of the profile; what counts is the fingerprint.
func (m *Media) DTLS() bool { return m.Fingerprint != "" && m.Ufrag != "" }

// Feedback: the profile lets receivers send feedback at once. RFC 4585, 6.3
func (m *Media) Feedback() bool { return strings.HasSuffix(m.Proto, "AVPF") }

// Browser tells whether the description is one of WebRTC: ICE and DTLS on a medium that is alive.
func (s *Session) Browser() bool {
	for i := range s.Media {
		if !s.Media[i].Rejected() && s.Media[i].DTLS() {
			return true
		}
	}
	return false
}
