package proxy

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// facts say which header fields a request has, of those that a proxy looks at: one pass over the list instead of one for each.
type facts uint16

const (
	hasRoute facts = 1 << iota
	hasProxyRequire
	hasAuthorization
	hasProxyAuthorization
	hasIdentity // of what claimsIdentity names
	hasMaxBreadth
	hasPrivacy
	hasPreferences // Accept-Contact or Reject-Contact
	hasDisposition
)

// survey looks at every header field once. vias counts the Via fields (not the values in them, but more than one value in the only field counts too).
func survey(headers []sip.Header) (f facts, vias int) {
	for _, h := range headers {
		name := h.Name()
		switch len(name) {
		case 1, 3:
			switch name[0] | 0x20 {
			case 'a', 'j':
				f.note(name, "a", hasPreferences)
				f.note(name, "j", hasPreferences)
			case 'd':
				f.note(name, "d", hasDisposition)
			}
			if isVia(name) {
				vias++
				if strings.IndexByte(h.Value(), ',') >= 0 {
					vias++
				}
			}
		case 5:
			f.note(name, "Route", hasRoute)
		case 7:
			f.note(name, "Privacy", hasPrivacy)
		case 11:
			f.note(name, "Max-Breadth", hasMaxBreadth)
		case 13:
			f.note(name, "Proxy-Require", hasProxyRequire)
			f.note(name, "Authorization", hasAuthorization)
		case 14:
			f.note(name, "Accept-Contact", hasPreferences)
			f.note(name, "Reject-Contact", hasPreferences)
		case 15:
			f.note(name, "Remote-Party-ID", hasIdentity)
		case 19:
			f.note(name, "Request-Disposition", hasDisposition)
			f.note(name, "Proxy-Authorization", hasProxyAuthorization)
			f.note(name, "P-Asserted-Identity", hasIdentity)
		case 20:
			f.note(name, "P-Preferred-Identity", hasIdentity)
		}
	}
	return f, vias
}

// claimsIdentity tells whether a header field says who somebody is, which phones show to their users: those of RFC 3325, and the one they had before it.
func claimsIdentity(name string) bool {
	switch len(name) {
	case 15:
		return strings.EqualFold(name, "Remote-Party-ID")
	case 19:
		return strings.EqualFold(name, "P-Asserted-Identity")
	case 20:
		return strings.EqualFold(name, "P-Preferred-Identity")
	}
	return false
}

func (f *facts) note(name, want string, fact facts) {
	if strings.EqualFold(name, want) {
		*f |= fact
	}
}
