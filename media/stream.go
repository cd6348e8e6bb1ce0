package media

import (
	"encoding/base64"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"signalbox/media/relay"
	"signalbox/media/sdp"
	"signalbox/media/udp"
)

// route says where the packets of one stream go and how they are numbered there. It never changes: signalling publishes another one.
type route struct {
	to    *stream
	pt    [128]uint8 // noPT where a format is not passed on
	clock int
	event uint8 // the payload type of keys whose clock differs on the other side; noPT without
	scale [2]int
}

const noPT = 0xff

// stream is one medium of one leg: the packets that come in from there, and those that go out to it. Each of the two halves is used by one goroutine at
// a time: whose turn it is says an atomic flag, and a packet that comes out of turn (when a call moves from one phone to another) is dropped.
type stream struct {
	leg  *leg
	kind string

	// What comes in.
	reading  atomic.Bool
	route    atomic.Pointer[route]
	decipher atomic.Pointer[cipher] // of a phone; a browser has one for all its streams
	latch    relay.Latch            // of a phone
	received relay.Received
	clock    int

	// What goes out.
	writing  atomic.Bool
	encipher atomic.Pointer[cipher]
	mandated atomic.Bool // nothing goes out unciphered
	renumber relay.Renumber
	sent     relay.Sent

	to     atomic.Pointer[udp.Addr] // of a phone
	toRTCP atomic.Pointer[udp.Addr]
	rtp    *udp.Socket // of a phone
	rtcp   *udp.Socket
	poller *udp.Poller

	muxed       atomic.Bool   // RTCP goes to the RTP port. RFC 5761, 5.1.1
	controlPort atomic.Uint32 // where the phone wants RTCP, if it said so. RFC 3605
	peerKey     sdp.Crypto    // that decipher was made from; signalling's

	source   atomic.Pointer[stream] // whose packets we send: who is asked for a new picture
	asked    atomic.Int64           // when it was
	canPLI   atomic.Bool            // the peer of this stream takes requests for a new picture
	canFIR   atomic.Bool
	firs     uint8
	heard    atomic.Int64 // when anything of the peer's came on this stream, in nanoseconds of the engine's clock
	expected atomic.Bool  // the peer has said that it sends
	report   time.Duration
	refresh  time.Duration
}

// cipher is one direction of SRTP: a context for media and one for its RTCP, which belong to different goroutines. RFC 3711
type cipher struct {
	media, control *srtp.Context
	controlBusy    atomic.Bool
	header         rtp.Header
}

func newCipher(key, salt []byte, profile srtp.ProtectionProfile) (*cipher, error) {
	window := []srtp.ContextOption{srtp.SRTPReplayProtection(128), srtp.SRTCPReplayProtection(64)}
	media, err := srtp.CreateContext(key, salt, profile, window...)
	if err != nil {
		return nil, err
	}
	control, err := srtp.CreateContext(key, salt, profile, window...)
	if err != nil {
		return nil, err
	}
	return &cipher{media: media, control: control}, nil
}

// openControl deciphers RTCP in its place, unless somebody else is at it.
func (c *cipher) openControl(b []byte) ([]byte, bool) {
	if !c.controlBusy.CompareAndSwap(false, true) {
		return nil, false
	}
	defer c.controlBusy.Store(false)
	b, err := c.control.DecryptRTCP(b[:0], b, nil)
	return b, err == nil
}

// suites of a=crypto that we know, the one we offer first. RFC 4568, 6.2; RFC 7714, 14.1
var suites = map[string]srtp.ProtectionProfile{
	"AES_CM_128_HMAC_SHA1_80": srtp.ProtectionProfileAes128CmHmacSha1_80,
	"AES_CM_128_HMAC_SHA1_32": srtp.ProtectionProfileAes128CmHmacSha1_32,
	"AEAD_AES_128_GCM":        srtp.ProtectionProfileAeadAes128Gcm,
	"AEAD_AES_256_GCM":        srtp.ProtectionProfileAeadAes256Gcm,
}

const offeredSuite = "AES_CM_128_HMAC_SHA1_80"

// cipherOf reads the key of a=crypto.
func cipherOf(suite, key string) (*cipher, bool) {
	profile, ok := suites[suite]
	if !ok {
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(key)
	}
	k, s := sizes(profile)
	if err != nil || len(raw) != k+s {
		return nil, false
	}
	c, err := newCipher(raw[:k], raw[k:], profile)
	return c, err == nil
}

func sizes(p srtp.ProtectionProfile) (key, salt int) {
	key, _ = p.KeyLen()
	salt, _ = p.SaltLen()
	return key, salt
}

// take waits for the turn of signalling, which no packet holds for longer than it takes to send it.
func take(busy *atomic.Bool) {
	for !busy.CompareAndSwap(false, true) {
		runtime.Gosched()
	}
}

// forward sends on one packet that has come in and is deciphered. It is called with reading held.
func (s *stream) forward(b []byte, h relay.Header, now time.Duration) {
	s.received.Count(&h, len(b)-h.Payload, s.clock, now)
	s.heard.Store(int64(now))
	r := s.route.Load()
	if r == nil {
		return
	}
	pt := r.pt[h.PT]
	if pt == noPT {
		return
	}
	if h.PT == r.event {
		relay.ScaleEvent(b[h.Payload:], r.scale[0], r.scale[1])
	}
	h.PT = pt
	r.to.send(b, h, s.leg.number, r.clock, now)
}

// send rewrites, enciphers and sends one packet. from is the leg that it came from.
func (s *stream) send(b []byte, h relay.Header, from uint32, clock int, now time.Duration) {
	if !s.writing.CompareAndSwap(false, true) {
		return
	}
	defer s.writing.Store(false)
	s.renumber.Map(&h, from, clock, now)
	b = relay.Rewrite(b, h)
	size := len(b) - relay.HeaderSize
	c := s.encipher.Load()
	if c != nil {
		var err error
		if b, err = c.media.EncryptRTP(b[:0], b, &c.header); err != nil {
			b = nil
		}
	} else if s.mandated.Load() {
		b = nil
	}
	if socket, to := s.destination(); b != nil && to != nil && socket.Send(b, to) {
		s.sent.Count(h.TS, size, now)
	}
}

// destination is where RTP goes; nil as long as it is not known.
func (s *stream) destination() (*udp.Socket, *udp.Addr) {
	if b := s.leg.browser; b != nil {
		return b.socket, b.to.Load()
	}
	return s.rtp, s.to.Load()
}

// receive takes a datagram on the RTP port of a phone.
func (s *stream) receive(b []byte, from netip.AddrPort) {
	now := s.leg.e.now()
	switch relay.Classify(b) {
	case relay.RTP:
		s.receiveRTP(b, from, now)
	case relay.RTCP:
		s.receiveRTCP(b, from)
	}
}

func (s *stream) receiveRTP(b []byte, from netip.AddrPort, now time.Duration) {
	if !s.reading.CompareAndSwap(false, true) {
		return
	}
	defer s.reading.Store(false)
	h, ok := relay.Parse(b)
	if !ok {
		return
	}
	c := s.decipher.Load()
	if c == nil && s.mandated.Load() {
		return
	}
	// An SRTP phone proves itself by its key before it may move us: media.md, trap 8.
	if c != nil {
		var err error
		if b, err = c.media.DecryptRTP(b[:0], b, &c.header); err != nil {
			return
		}
	}
	if r := s.route.Load(); r == nil || r.pt[h.PT] == noPT {
		if from != s.latch.Locked() {
			return // a format that nobody agreed on shows nothing about its sender
		}
	}
	ok, moved := s.latch.Accept(from, h.SSRC, h.Seq, now)
	if moved {
		s.aim()
	}
	if ok {
		s.forward(b, h, now)
	}
}

// aim points the outgoing half at where the phone is now. RFC 3550, 11: RTCP goes to the next port unless the phone said otherwise.
func (s *stream) aim() {
	target := s.latch.Target()
	if !target.IsValid() {
		s.to.Store(nil)
		s.toRTCP.Store(nil)
		return
	}
	s.to.Store(s.rtp.Addr(target))
	control := netip.AddrPortFrom(target.Addr(), target.Port()+1)
	if n := s.controlPort.Load(); n != 0 {
		control = netip.AddrPortFrom(target.Addr(), uint16(n))
	}
	s.toRTCP.Store(s.rtcp.Addr(control))
}

// close gives the sockets back.
func (s *stream) close() {
	s.route.Store(nil)
	s.source.Store(nil)
	in, out := s.volume()
	s.leg.e.past.add(in, out)
	if s.poller != nil {
		s.poller.Remove(s.rtp)
		s.poller.Remove(s.rtcp)
	}
}
