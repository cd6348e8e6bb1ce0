package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"

	"signalbox/internal/wire"
)

// A token is the user part of our Record-Route value: it carries the state of the dialog through the phones and back (RFC 3261, 16.6 step 4
// lets a proxy do so), and proves that who sends it is a member of that dialog. The user part survives phones that drop unknown URI parameters.
//
//	base64url( version(1) mac(12) flags(1) [caller flow, member] [callee flow, member] )
//	mac = HMAC-SHA256( key, version flags flows len(Call-ID)(2) Call-ID caller's-tag )[:12]
type token struct {
	caller, callee leg
}

// leg is one side of a dialog.
type leg struct {
	foreign bool        // reached by its URI: another domain
	flow    wire.FlowID // one of our phones: reached over this flow
	routed  bool        // an edge proxy is at the other end of the flow, and can be connected to again
	member  member      // whose phone it is, so that it is found when it has changed its flow
}

// member is a registered phone: the user part of its address-of-record, unescaped, and what its bindings have in common (memberKey). The zero value is nobody.
type member struct {
	user string
	key  uint64
}

const (
	tokenVersion = 2

	callerForeign = 1 << 0
	calleeForeign = 1 << 1
	callerRouted  = 1 << 2
	calleeRouted  = 1 << 3

	// A flow takes 1 byte of protocol and address kinds, twice an address and port, and the serial number of a connection; its member the length of a
	// name, the name and a key.
	maxFlow  = 1 + 2*18 + 8 + 1 + maxMember + 8
	minToken = 1 + macSize + 1
	maxToken = minToken + 2*maxFlow

	maxTokenText = (maxToken*8 + 5) / 6

	protoBits = 0x0f
	remoteIP6 = 0x10
	localIP6  = 0x20
)

// signer makes and checks tokens. Safe for concurrent use.
type signer struct {
	macs sync.Pool // of *keyed
	seed uint64    // of memberKey
}

// keyed is one keyed hash and the room it works in, so that signing allocates nothing.
type keyed struct {
	hash hash.Hash
	text []byte
	sum  []byte
}

func newSigner(key []byte) *signer {
	s := &signer{}
	key = append([]byte(nil), key...)
	sum := sha256.Sum256(append([]byte("member"), key...))
	s.seed = binary.BigEndian.Uint64(sum[:])
	s.macs.New = func() any {
		return &keyed{hash: hmac.New(sha256.New, key), text: make([]byte, 0, 256), sum: make([]byte, 0, sha256.Size)}
	}
	return s
}

// mac writes the signature over version, payload and the dialog's names into out.
func (s *signer) mac(out, payload []byte, callID, callerTag string) {
	k := s.macs.Get().(*keyed)
	k.text = append(k.text[:0], tokenVersion)
	k.text = append(k.text, payload...)
	k.text = binary.BigEndian.AppendUint16(k.text, uint16(len(callID))) // keeps Call-ID and tag apart; wire bounds both
	k.text = append(k.text, callID...)
	k.text = append(k.text, callerTag...)
	k.hash.Reset()
	k.hash.Write(k.text)
	k.sum = k.hash.Sum(k.sum[:0])
	copy(out[:macSize], k.sum)
	s.macs.Put(k)
}

// sign appends the token's text.
func (s *signer) sign(dst []byte, t token, callID, callerTag string) []byte {
	var room [maxToken]byte
	raw := append(room[:0], tokenVersion)
	raw = raw[:1+macSize]
	var flags byte
	if t.caller.foreign {
		flags |= callerForeign
	}
	if t.callee.foreign {
		flags |= calleeForeign
	}
	if t.caller.routed {
		flags |= callerRouted
	}
	if t.callee.routed {
		flags |= calleeRouted
	}
	raw = append(raw, flags)
	raw = t.caller.append(raw)
	raw = t.callee.append(raw)
	s.mac(raw[1:], raw[1+macSize:], callID, callerTag)
	return wire.UserText.AppendEncode(dst, raw)
}

// verify reads a token. ok is false for one that we did not sign for this Call-ID and a caller with one of the two tags. fromCaller tells
// the direction: whose tag is the caller's, From's or To's.
func (s *signer) verify(text, callID, fromTag, toTag string) (t token, fromCaller, ok bool) {
	var room [maxToken]byte
	if len(text) > maxTokenText || !looksLikeToken(text) {
		return token{}, false, false
	}
	n, err := wire.UserText.Decode(room[:], []byte(text))
	if err != nil || n < minToken || room[0] != tokenVersion {
		return token{}, false, false
	}
	payload := room[1+macSize : n]
	signed := func(tag string) bool {
		var want [macSize]byte
		s.mac(want[:], payload, callID, tag)
		return tag != "" && equalMAC(want[:], room[1:1+macSize])
	}
	if fromCaller = signed(fromTag); !fromCaller && !signed(toTag) {
		return token{}, false, false
	}
	t.caller.foreign = payload[0]&callerForeign != 0
	t.callee.foreign = payload[0]&calleeForeign != 0
	t.caller.routed = payload[0]&callerRouted != 0
	t.callee.routed = payload[0]&calleeRouted != 0
	// Only the other side's name is of use, and worth its memory.
	rest, ok := t.caller.parse(payload[1:], !fromCaller)
	if ok {
		rest, ok = t.callee.parse(rest, fromCaller)
	}
	return t, fromCaller, ok && len(rest) == 0
}

// Member tells whether a request carries the route that we recorded in its dialog, in the Route, or where a strict router puts it. RFC 3261, 16.4
func (p *Proxy) Member(req *wire.Request) bool {
	signed := func(u wire.URI) bool {
		_, _, ok := p.signer.verify(u.User, req.CallID, req.From.Tag, req.To.Tag)
		return ok
	}
	if signed(req.URI) {
		return true
	}
	for i, value := range wire.List(req, "Route") {
		if a, err := wire.ParseAddress(value); err == nil && signed(a.URI) {
			return true
		}
		if i == maxOwnRoutes {
			break
		}
	}
	return false
}

func equalMAC(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// looksLikeToken tells a token, good or forged, from the user part of an ordinary URI: by its length, its version byte and its alphabet.
func looksLikeToken(user string) bool {
	if len(user) < wire.UserText.EncodedLen(minToken) || user[0] != 'A' || user[1] < 'g' || user[1] > 'v' {
		return false
	}
	return wire.IsUserText(user)
}

// append writes the flow of a leg of ours.
func (l leg) append(dst []byte) []byte {
	if l.foreign {
		return dst
	}
	local, remote := l.flow.Local, l.flow.Remote
	kind := byte(l.flow.Proto)
	if remote.Addr().Is6() {
		kind |= remoteIP6
	}
	if local.Addr().Is6() {
		kind |= localIP6
	}
	dst = append(dst, kind)
	dst = appendAddrPort(dst, remote)
	dst = appendAddrPort(dst, local)
	if l.flow.Proto.Reliable() {
		dst = binary.BigEndian.AppendUint64(dst, l.flow.Serial)
	}
	dst = append(dst, byte(len(l.member.user)))
	if l.member.user != "" {
		dst = append(dst, l.member.user...)
		dst = binary.BigEndian.AppendUint64(dst, l.member.key)
	}
	return dst
}

// parse reads what append wrote, the member if it is named, and returns what follows.
func (l *leg) parse(b []byte, named bool) (rest []byte, ok bool) {
	if l.foreign {
		return b, true
	}
	if len(b) == 0 {
		return nil, false
	}
	kind := b[0]
	b = b[1:]
	l.flow.Proto = wire.Proto(kind & protoBits)
	if l.flow.Remote, b, ok = parseAddrPort(b, kind&remoteIP6 != 0); !ok {
		return nil, false
	}
	if l.flow.Local, b, ok = parseAddrPort(b, kind&localIP6 != 0); !ok {
		return nil, false
	}
	if l.flow.Proto.Reliable() {
		if len(b) < 8 {
			return nil, false
		}
		l.flow.Serial = binary.BigEndian.Uint64(b)
		b = b[8:]
	}
	if len(b) == 0 {
		return nil, false
	}
	n := int(b[0])
	if b = b[1:]; n == 0 {
		return b, true
	}
	if len(b) < n+8 {
		return nil, false
	}
	if named {
		l.member = member{string(b[:n]), binary.BigEndian.Uint64(b[n:])}
	}
	return b[n+8:], true
}

// appendAddrPort writes an unknown address, the local one of a connection that is still being opened, as zeros.
func appendAddrPort(dst []byte, a netip.AddrPort) []byte {
	switch {
	case !a.IsValid():
		return append(dst, 0, 0, 0, 0, 0, 0)
	case a.Addr().Is6():
		ip := a.Addr().As16()
		dst = append(dst, ip[:]...)
	default:
		ip := a.Addr().As4()
		dst = append(dst, ip[:]...)
	}
	return binary.BigEndian.AppendUint16(dst, a.Port())
}

func parseAddrPort(b []byte, ip6 bool) (a netip.AddrPort, rest []byte, ok bool) {
	size := 4
	if ip6 {
		size = 16
	}
	if len(b) < size+2 {
		return a, nil, false
	}
	ip, _ := netip.AddrFromSlice(b[:size])
	port := binary.BigEndian.Uint16(b[size:])
	if port == 0 && ip.IsUnspecified() {
		return netip.AddrPort{}, b[size+2:], true
	}
	return netip.AddrPortFrom(ip, port), b[size+2:], true
}
