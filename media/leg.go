package media

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"signalbox/internal/wire"
	"signalbox/media/relay"
	"signalbox/media/sdp"
)

// Kind of a side, as far as its signalling tells before it has spoken of media.
type Kind uint8

// What there is.
const (
	Browser Kind = iota + 1 // comes over WebSocket
	Phone
	SecurePhone // signalling by TLS: SRTP is offered beside RTP (RFC 8643)
	SRTPPhone   // and it has refused that: SRTP is demanded
)

// Side is one side of a call as the proxy knows it.
type Side struct {
	Kind   Kind
	Source netip.Addr // where its signalling comes from
	Local  netip.Addr // the address of ours that it reaches
}

func (s Side) secure() bool { return s.Kind == SecurePhone || s.Kind == SRTPPhone }

// leg is one side of a bridge. Its fields belong to the bridge's lock, but for what packets touch.
type leg struct {
	e      *Engine
	lock   *sync.Mutex // of the bridge
	number uint32      // tells sources apart in renumbering
	side   Side

	browser *browser  // nil for a phone
	settled bool      // it is known whether it is a browser
	streams []*stream // by line of the call; nil where this leg has none
	order   []int     // line by position in this leg's descriptions
	numbers []number  // formats that have a number in this leg's descriptions
	mids    []string  // of a browser, by line: what it has named
	srtp    bool      // SRTP was agreed on with this phone: there is no way back. Hardening 68

	id, version uint64 // of our descriptions for it

	pending *exchange // the last offer that this leg got
	asks    int       // counts the offers that it made
	offered string    // the last one
	answer  []byte    // our answer to it
	told    []promise // and what that says
	late    []byte    // an answer of this leg that does not suit what the caller was told. Bridge.Reoffer

	key  string // ours, of a=crypto, base64
	fail func(why string)
	join func() // publishes the routes of the last answer
}

// exchange is an offer under way (RFC 3264, 4): what the offerer said, and what we made of it for the other side.
type exchange struct {
	from   *leg
	number int         // of the offers of from
	media  []sdp.Media // by line, as offered
	sent   []sdp.Media // by position, as we wrote it
	bundle []string    // of the offer
}

func (e *Engine) newLeg(side Side, lock *sync.Mutex, fail func(string)) *leg {
	l := &leg{e: e, lock: lock, number: e.legs.Add(1), side: side, fail: fail}
	var b [24]byte
	_, _ = rand.Read(b[:])
	l.id = binary.BigEndian.Uint64(b[:]) >> 2
	return l
}

// settle decides once what the leg is.
func (l *leg) settle(isBrowser bool) error {
	if l.settled {
		if isBrowser != (l.browser != nil) {
			return wire.Errorf(488, "", "media: a leg may not change between WebRTC and RTP")
		}
		return nil
	}
	if isBrowser {
		b, err := l.e.newBrowser(l)
		if err != nil {
			return err
		}
		l.browser = b
	} else {
		var b [30]byte // key and salt of AES_CM_128. RFC 4568, 6.2
		_, _ = rand.Read(b[:])
		l.key = base64.StdEncoding.EncodeToString(b[:])
	}
	l.settled = true
	return nil
}

// stream returns the leg's stream for a line, which it makes if there is none.
func (l *leg) stream(line int, kind string) (*stream, error) {
	for len(l.streams) <= line {
		l.streams = append(l.streams, nil)
	}
	if s := l.streams[line]; s != nil {
		return s, nil
	}
	s := &stream{leg: l, kind: kind, clock: 8000}
	var b [4]byte
	_, _ = rand.Read(b[:])
	s.renumber.SSRC = binary.BigEndian.Uint32(b[:])
	if l.browser != nil {
		s.mandated.Store(true)
		s.encipher.Store(l.browser.outgoing())
		l.streams[line] = s
		return s, nil
	}
	var err error
	if s.rtp, s.rtcp, err = l.e.ports.Open(); err != nil {
		return nil, wire.Errorf(503, "No Media Ports", "media: %w", err)
	}
	s.poller = l.e.poller()
	if err := s.poller.Add(s.rtp, s.receive); err != nil {
		return nil, err
	}
	if err := s.poller.Add(s.rtcp, s.receiveRTCP); err != nil {
		return nil, err
	}
	l.streams[line] = s
	return s, nil
}

// position of a line in this leg's descriptions, -1 if it is not there.
func (l *leg) position(line int) int { return slices.Index(l.order, line) }

// line of a position, -1 if none yet.
func (l *leg) line(position int) int {
	if position < len(l.order) {
		return l.order[position]
	}
	return -1
}

// describe begins a description of ours for this leg.
func (l *leg) describe(media []sdp.Media) *sdp.Session {
	l.version++
	s := &sdp.Session{ID: l.id, Version: l.version, Addr: l.e.advertised(l.side.Local), ICELite: l.browser != nil, Media: media}
	if l.browser == nil {
		return s
	}
	for i := range media {
		if m := &media[i]; m.Mid != "" && !m.Rejected() {
			s.Bundle = append(s.Bundle, m.Mid)
		}
	}
	return s
}

// protocol is the profile that we offer this leg.
func (l *leg) protocol(kind string) string {
	switch {
	case l.browser != nil:
		return "UDP/TLS/RTP/SAVPF" // RFC 5764, 8
	case l.side.Kind == SRTPPhone:
		return "RTP/SAVP"
	}
	return "RTP/AVP"
}

// place writes our transport for a stream into a medium.
func (l *leg) place(m *sdp.Media, s *stream, setup string) {
	if l.browser != nil {
		l.browser.describe(m, setup)
		m.SSRC, m.CName = s.renumber.SSRC, cname
		return
	}
	m.Port, m.RTCP = s.rtp.Port(), s.rtcp.Port()
}

// apply takes over what the peer's description says of its transport for one stream. now is when.
func (l *leg) apply(s *stream, m *sdp.Media, clock int) error {
	now := l.e.now()
	if l.browser != nil {
		l.browser.apply(m)
	} else if err := l.applyKeys(s, m); err != nil {
		return err
	}
	s.canPLI.Store(m.Asks("nack pli") || l.browser != nil)
	s.canFIR.Store(m.Asks("ccm fir"))
	s.expected.Store(m.Direction.Sends())
	s.muxed.Store(m.Mux)
	s.controlPort.Store(uint32(m.RTCP))
	take(&s.reading)
	s.clock = clock
	if l.browser == nil {
		s.latch.Expect(netip.AddrPortFrom(m.Addr, m.Port), l.side.Source, now)
	}
	s.reading.Store(false)
	s.heard.Store(int64(now))
	if l.browser == nil {
		s.aim()
	}
	return nil
}

// applyKeys takes over a=crypto. RFC 4568, 5.1
func (l *leg) applyKeys(s *stream, m *sdp.Media) error {
	c, ok := accepted(m.Crypto)
	if !ok || !l.side.secure() {
		if m.Secure() || l.srtp {
			return wire.Errorf(488, "", "media: SRTP without a key that can be used")
		}
		return nil
	}
	in, good := cipherOf(c.Suite, c.Key)
	out, goodToo := cipherOf(c.Suite, l.localKey(c.Suite))
	if !good || !goodToo {
		return wire.Errorf(488, "", "media: a=crypto with a bad key")
	}
	l.srtp = true
	s.mandated.Store(true)
	if s.decipher.Load() == nil || s.peerKey != c {
		s.decipher.Store(in) // a new key begins a new context; the old key keeps its own
		s.peerKey = c
	}
	if s.encipher.Load() == nil {
		s.encipher.Store(out)
	}
	return nil
}

// accepted is the first line whose suite we know.
func accepted(list []sdp.Crypto) (sdp.Crypto, bool) {
	for _, c := range list {
		if _, ok := suites[c.Suite]; ok {
			return c, true
		}
	}
	return sdp.Crypto{}, false
}

// localKey is our key in the size of a suite.
func (l *leg) localKey(suite string) string {
	k, salt := sizes(suites[suite])
	raw, _ := base64.StdEncoding.DecodeString(l.key)
	for len(raw) < k+salt {
		var more [16]byte
		_, _ = rand.Read(more[:])
		raw = append(raw, more[:]...)
		l.key = base64.StdEncoding.EncodeToString(raw)
	}
	return base64.StdEncoding.EncodeToString(raw[:k+salt])
}

// secured gives all streams their ciphers, when the handshake with a browser is over.
func (l *leg) secured() {
	l.lock.Lock()
	defer l.lock.Unlock()
	for _, s := range l.streams {
		if s != nil && s.encipher.Load() == nil {
			s.encipher.Store(l.browser.outgoing())
		}
	}
}

// alive tells whether the leg shows any life.
func (l *leg) alive(now time.Duration) bool {
	if b := l.browser; b != nil {
		return now-time.Duration(b.heard.Load()) < consentTimeout
	}
	for _, s := range l.streams {
		if s == nil {
			continue
		}
		limit := holdTimeout
		if s.expected.Load() {
			limit = l.e.config.Timeout
		}
		if now-time.Duration(s.heard.Load()) < limit {
			return true
		}
	}
	return false
}

// tick is the clock.
func (l *leg) tick(now time.Duration) {
	for _, s := range l.streams {
		if s == nil {
			continue
		}
		s.tell(now)
		if source := s.source.Load(); source != nil && s.kind == "video" && !s.canAsk() && now >= s.refresh {
			s.refresh = now + refreshEvery
			source.ask(now)
		}
	}
}

// canAsk tells whether the peer of this stream can itself ask for a new picture.
func (s *stream) canAsk() bool { return s.canPLI.Load() || s.canFIR.Load() }

// idle tells whether nothing was ever sent.
func (s *stream) idle() bool {
	take(&s.writing)
	defer s.writing.Store(false)
	return s.sent.Packets == 0
}

func (l *leg) close() {
	for _, s := range l.streams {
		if s != nil {
			s.close()
		}
	}
	if l.browser != nil {
		l.browser.close()
	}
}

// bye tells the peer that the streams end. RFC 3550, 6.6
func (l *leg) bye() {
	now := l.e.now()
	for _, s := range l.streams {
		if s == nil || s.idle() {
			continue
		}
		var room [128]byte
		b := l.e.origin.AppendReport(room[:0], s.renumber.SSRC, &relay.Sent{}, 0, nil, cname, now)
		s.sendRTCP(relay.AppendBye(b, s.renumber.SSRC))
	}
}
