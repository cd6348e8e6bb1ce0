package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

var (
	errSize  = errors.New("sdp: too long")
	errMedia = errors.New("sdp: too many media")
)

// Parse reads a description. It is lenient where peers are sloppy (line ends, unknown lines) and strict where a guess would send packets astray.
func Parse(b []byte) (*Session, error) {
	if len(b) > maxSize {
		return nil, errSize
	}
	p := parser{s: &Session{}}
	p.common.Direction = SendRecv
	first := true
	for line := range strings.SplitSeq(string(b), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[1] != '=' || strings.ContainsAny(line, "\r\x00") { // or one line of ours could become two
			return nil, fmt.Errorf("sdp: not a line: %.40q", line)
		}
		if first && line != "v=0" { // RFC 8866, 5.1
			return nil, fmt.Errorf("sdp: begins with %.40q, not v=0", line)
		}
		first = false
		if err := p.line(line[0], line[2:]); err != nil {
			return nil, err
		}
	}
	if first {
		return nil, errors.New("sdp: empty")
	}
	p.endMedia()
	return p.s, nil
}

type parser struct {
	s       *Session
	common  Media  // what the session level says for all
	m       *Media // nil at session level
	maps    []Codec
	fmtp    map[uint8]string
	fb      map[int][]string // -1 for "*"
	formats []uint8          // payload types in the order of the m= line
}

func (p *parser) line(kind byte, value string) error {
	switch kind {
	case 'o':
		if f := strings.Fields(value); p.m == nil && len(f) == 6 {
			p.s.ID, _ = strconv.ParseUint(f[1], 10, 64)
			p.s.Version, _ = strconv.ParseUint(f[2], 10, 64)
		}
	case 'c':
		p.connection(value)
	case 'm':
		return p.media(value)
	case 'a':
		name, val, _ := strings.Cut(value, ":")
		return p.attribute(strings.TrimSpace(name), strings.TrimSpace(val))
	}
	return nil
}

// connection: "IN IP4 192.0.2.1", perhaps with "/TTL". RFC 8866, 5.7
func (p *parser) connection(value string) {
	f := strings.Fields(value)
	if len(f) != 3 || f[0] != "IN" {
		return
	}
	host, _, _ := strings.Cut(f[2], "/")
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		addr = netip.Addr{}
	}
	addr = addr.Unmap()
	if p.m == nil {
		p.s.Addr, p.common.Addr = addr, addr
		return
	}
	p.m.Addr = addr
}

// media: "audio 49170 RTP/AVP 0 8". RFC 8866, 5.14
func (p *parser) media(value string) error {
	p.endMedia()
	if len(p.s.Media) == maxMedia {
		return errMedia
	}
	f := strings.Fields(value)
	if len(f) < 4 {
		return fmt.Errorf("sdp: m=%.40q", value)
	}
	text, _, _ := strings.Cut(f[1], "/")
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("sdp: port %.20q", f[1])
	}
	m := p.common
	m.Kind, m.Port, m.Proto = strings.ToLower(f[0]), uint16(port), strings.ToUpper(f[2])
	m.Crypto = nil
	p.s.Media = append(p.s.Media, m)
	p.m = &p.s.Media[len(p.s.Media)-1]
	p.maps, p.formats, p.fmtp, p.fb = nil, nil, nil, nil
	if !m.IsRTP() {
		p.m.Formats = strings.Join(f[3:], " ")
		return nil
	}
	for _, s := range f[3:] {
		pt, err := strconv.ParseUint(s, 10, 7)
		if err != nil || len(p.formats) == maxCodecs {
			return fmt.Errorf("sdp: format %.20q", s)
		}
		if !slices.Contains(p.formats, uint8(pt)) {
			p.formats = append(p.formats, uint8(pt))
		}
	}
	return nil
}

func (p *parser) attribute(name, value string) error {
	m := p.m
	if m == nil {
		m = &p.common
	}
	switch name {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		for d, s := range directions {
			if s == name {
				m.Direction = Direction(d)
			}
		}
	case "ice-lite":
		p.s.ICELite = true
	case "ice-ufrag":
		m.Ufrag = value
	case "ice-pwd":
		m.Pwd = value
	case "fingerprint":
		m.Fingerprint = stronger(m.Fingerprint, value)
	case "setup":
		m.Setup = strings.ToLower(value)
	case "group":
		if f := strings.Fields(value); len(f) > 0 && f[0] == "BUNDLE" && p.m == nil && len(f) <= maxMedia+1 {
			p.s.Bundle = f[1:]
		}
	case "mid":
		m.Mid = value
	case "rtcp-mux":
		m.Mux = true
	case "bundle-only":
		m.BundleOnly = true
	case "rtcp":
		port, _, _ := strings.Cut(value, " ")
		n, _ := strconv.ParseUint(port, 10, 16)
		m.RTCP = uint16(n)
	case "ptime":
		if n, err := strconv.ParseUint(value, 10, 10); err == nil {
			m.Ptime = int(n)
		}
	case "crypto":
		if c, ok := parseCrypto(value); ok && len(m.Crypto) < maxCrypto {
			m.Crypto = append(m.Crypto, c)
		}
	case "rtpmap", "fmtp", "rtcp-fb":
		if p.m != nil {
			p.format(name, value)
		}
	}
	return nil
}

// format reads an attribute of one payload format.
func (p *parser) format(name, value string) {
	head, rest, _ := strings.Cut(value, " ")
	rest = strings.TrimSpace(rest)
	pt, err := strconv.ParseUint(head, 10, 7)
	switch {
	case name == "rtcp-fb" && head == "*":
		p.addFeedback(-1, rest)
	case err != nil:
	case name == "rtcp-fb":
		p.addFeedback(int(pt), rest)
	case name == "fmtp":
		if p.fmtp == nil {
			p.fmtp = map[uint8]string{}
		}
		p.fmtp[uint8(pt)] = rest
	default:
		if c, ok := parseRTPMap(uint8(pt), rest); ok && len(p.maps) < maxCodecs {
			p.maps = append(p.maps, c)
		}
	}
}

func (p *parser) addFeedback(pt int, value string) {
	if p.fb == nil {
		p.fb = map[int][]string{}
	}
	if value != "" && len(p.fb[pt]) < maxFeedback {
		p.fb[pt] = append(p.fb[pt], value)
	}
}

// endMedia puts together what the lines of one medium said about its formats.
func (p *parser) endMedia() {
	m := p.m
	if m == nil {
		return
	}
	for _, pt := range p.formats {
		c, ok := static(pt)
		for _, mapped := range p.maps {
			if mapped.PT == pt {
				c, ok = mapped, true
			}
		}
		if !ok {
			continue // a dynamic payload type without rtpmap means nothing
		}
		c.Fmtp = p.fmtp[pt]
		c.Feedback = append(append([]string(nil), p.fb[int(pt)]...), p.fb[-1]...)
		if len(c.Feedback) == 0 {
			c.Feedback = nil
		}
		m.Codecs = append(m.Codecs, c)
	}
	// RFC 2543's hold, which RFC 3264, 8.4 keeps alive: nothing is to be sent to the null address.
	if m.Addr.IsValid() && m.Addr.IsUnspecified() && m.IsRTP() && m.Ufrag == "" {
		m.Direction &^= RecvOnly
	}
}

// parseRTPMap: "opus/48000/2". RFC 8866, 6.6
func parseRTPMap(pt uint8, value string) (Codec, bool) {
	f := strings.Split(value, "/")
	if len(f) < 2 || f[0] == "" || !token(f[0]) {
		return Codec{}, false
	}
	clock, err := strconv.ParseUint(f[1], 10, 31)
	if err != nil || clock == 0 {
		return Codec{}, false
	}
	c := Codec{PT: pt, Name: f[0], Clock: int(clock), Channels: 1}
	if len(f) > 2 {
		if n, err := strconv.ParseUint(f[2], 10, 8); err == nil && n > 0 {
			c.Channels = int(n)
		}
	}
	return c, true
}

// parseCrypto: "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^31". Session parameters other than a lifetime, and a master key index, are not for us: such a
// line is passed over, as RFC 4568, 5.1.2 says.
func parseCrypto(value string) (Crypto, bool) {
	f := strings.Fields(value)
	if len(f) != 3 {
		return Crypto{}, false
	}
	tag, err := strconv.ParseUint(f[0], 10, 30)
	key, ok := strings.CutPrefix(f[2], "inline:")
	if err != nil || !ok || strings.Contains(key, ";") {
		return Crypto{}, false
	}
	key, rest, _ := strings.Cut(key, "|")
	if strings.Contains(rest, ":") {
		return Crypto{}, false
	}
	return Crypto{Tag: int(tag), Suite: f[1], Key: key}, token(f[1]) && printable(key)
}

// stronger prefers sha-256: it is what everybody has (RFC 8122, 5), and what we check.
func stronger(old, value string) string {
	name, sum, _ := strings.Cut(value, " ")
	if !strings.EqualFold(name, "sha-256") {
		if old == "" {
			return value
		}
		return old
	}
	return "sha-256 " + strings.ToUpper(strings.TrimSpace(sum))
}

func token(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

func printable(s string) bool { return token(s) }
