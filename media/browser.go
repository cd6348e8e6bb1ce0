package media

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/srtp/v3"

	"signalbox/internal/wire"
	"signalbox/media/icelite"
	"signalbox/media/relay"
	"signalbox/media/sdp"
	"signalbox/media/udp"
)

// browser is the transport of a browser's leg: all its media on the shared port, to one address that ICE has proven.
type browser struct {
	e      *Engine
	leg    *leg
	socket *udp.Socket

	to       atomic.Pointer[udp.Addr] // nominated. RFC 8445, 8.1.1
	places   atomic.Int32             // addresses that have proven themselves
	heard    atomic.Int64             // a check, or anything that was enciphered
	closed   atomic.Bool
	ready    atomic.Bool // DTLS is over
	reading  atomic.Bool
	decipher atomic.Pointer[cipher]
	byPT     atomic.Pointer[[128]*stream]
	flight   atomic.Pointer[flight] // the DTLS handshake, as long as it may be needed

	mu          sync.Mutex
	ufrag, pwd  string
	oldUfrag    string // before an ICE restart: checks may still come
	oldPwd      string
	remoteUfrag string
	print       string // fingerprint the peer's certificate must have
	active      bool   // we begin the handshake
	keys        *keys
}

// keys are what DTLS agreed on.
type keys struct {
	profile               srtp.ProtectionProfile
	local, remote         []byte
	localSalt, remoteSalt []byte
}

// newBrowser gives a leg its place on the shared port.
func (e *Engine) newBrowser(l *leg) (*browser, error) {
	b := &browser{e: e, leg: l, socket: e.shared[0]}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.browsers) >= maxBrowsers {
		return nil, wire.Errorf(503, "Too Many Calls", "media: %d browsers are in calls", len(e.browsers))
	}
	b.ufrag, b.pwd = icelite.Credentials()
	e.browsers[b.ufrag] = b
	b.heard.Store(int64(e.now()))
	return b, nil
}

// describe writes the transport into a medium. setup is ours.
func (b *browser) describe(m *sdp.Media, setup string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.Mux = true
	m.Ufrag, m.Pwd, m.Fingerprint, m.Setup = b.ufrag, b.pwd, b.e.fingerprint, setup
	m.Port = b.e.WebRTC()
	m.Candidate = b.candidates()
}

// candidates are host candidates on the addresses that the browser may reach: the one its signalling reaches first. RFC 8839, 5.1; the priorities are those
// of RFC 8445, 5.1.2.1
func (b *browser) candidates() string {
	var list strings.Builder
	for i, a := range b.e.reachable(b.leg.side.Local) {
		priority := 126<<24 | (65535-i)<<8 | 255
		list.WriteString(strconv.Itoa(i+1) + " 1 udp " + strconv.Itoa(priority) + " " + a.String() + " " + strconv.Itoa(int(b.e.WebRTC())) + " typ host\n")
	}
	return list.String()
}

// apply takes what the peer's description says of its transport. The handshake begins, if ICE has found the way.
func (b *browser) apply(m *sdp.Media) {
	b.mu.Lock()
	b.remoteUfrag, b.print = m.Ufrag, m.Fingerprint
	// RFC 8842, 5.3: the answer decides; we answer passive wherever we may.
	if b.keys == nil {
		b.active = m.Setup == "passive"
	}
	b.mu.Unlock()
	if to := b.to.Load(); to != nil {
		b.shake(to)
	}
}

// restart makes new credentials where the peer has: an ICE restart. RFC 8839, 4.4.1.1
func (b *browser) restart(ufrag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.remoteUfrag == "" || b.remoteUfrag == ufrag {
		return
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	delete(b.e.browsers, b.oldUfrag)
	b.oldUfrag, b.oldPwd = b.ufrag, b.pwd
	b.ufrag, b.pwd = icelite.Credentials()
	b.e.browsers[b.ufrag] = b
}

// password belongs to one of our fragments.
func (b *browser) password(ufrag []byte) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch string(ufrag) {
	case b.ufrag:
		return b.pwd
	case b.oldUfrag:
		return b.oldPwd
	}
	return ""
}

// nominate is a check that says: send there. It begins the handshake, which must not begin before (media.md, trap 16).
func (b *browser) nominate(from netip.AddrPort) {
	if to := b.to.Load(); to != nil && to.Name() == from {
		if b.flight.Load() == nil && !b.ready.Load() {
			b.shake(to)
		}
		return
	}
	to := b.socket.Addr(from)
	b.to.Store(to)
	b.shake(to)
}

// receive takes a packet from an address that has proven itself, on the goroutine of its shard.
func (b *browser) receive(p []byte, from netip.AddrPort, now time.Duration) {
	switch relay.Classify(p) {
	case relay.DTLS:
		if f, to := b.flight.Load(), b.to.Load(); f != nil && to != nil && to.Name() == from {
			f.push(p)
		}
	case relay.RTP:
		if c := b.decipher.Load(); c != nil {
			b.receiveRTP(c, p, now)
		}
	case relay.RTCP:
		b.receiveRTCP(p, now)
	}
}

func (b *browser) receiveRTP(c *cipher, p []byte, now time.Duration) {
	if !b.reading.CompareAndSwap(false, true) {
		return
	}
	defer b.reading.Store(false)
	p, err := c.media.DecryptRTP(p[:0], p, &c.header)
	if err != nil {
		return
	}
	b.heard.Store(int64(now))
	h, ok := relay.Parse(p)
	streams := b.byPT.Load()
	if !ok || streams == nil {
		return
	}
	if s := streams[h.PT]; s != nil && s.reading.CompareAndSwap(false, true) {
		defer s.reading.Store(false)
		s.forward(p, h, now)
	}
}

func (b *browser) receiveRTCP(p []byte, now time.Duration) {
	c := b.decipher.Load()
	if c == nil {
		return
	}
	p, ok := c.openControl(p)
	if !ok {
		return
	}
	b.heard.Store(int64(now))
	// A compound packet may speak of several streams: each hears all of it.
	streams := b.byPT.Load()
	if streams == nil {
		return
	}
	var last *stream
	for _, s := range streams {
		if s != nil && s != last {
			s.controlled(p)
			last = s
		}
	}
}

// close takes the leg off the port.
func (b *browser) close() {
	if !b.closed.CompareAndSwap(false, true) {
		return
	}
	b.mu.Lock()
	b.e.mu.Lock()
	delete(b.e.browsers, b.ufrag)
	delete(b.e.browsers, b.oldUfrag)
	b.e.mu.Unlock()
	b.mu.Unlock()
	if f := b.flight.Swap(nil); f != nil {
		f.end()
	}
	b.to.Store(nil)
	b.decipher.Store(nil)
	b.byPT.Store(nil)
}

// shard is what one reader of the shared port knows: which addresses belong to which leg. The kernel brings all packets of an address to one reader, so
// that nobody else needs to know.
type shard struct {
	e      *Engine
	places map[netip.AddrPort]*browser
	swept  int // size after the last sweep
	answer []byte
}

func newShard(e *Engine) *shard { return &shard{e: e, places: map[netip.AddrPort]*browser{}} }

func (s *shard) receive(p []byte, from netip.AddrPort) {
	if icelite.Is(p) {
		s.check(p, from)
		return
	}
	b := s.places[from]
	switch {
	case b == nil: // a guest's, or nobody's. Hardening 64 and 66
		s.e.guests.receive(p, from)
	case b.closed.Load():
		delete(s.places, from)
	default:
		b.receive(p, from, s.e.now())
	}
}

// check answers a connectivity check. RFC 8445, 7.3
func (s *shard) check(p []byte, from netip.AddrPort) {
	c, ok := icelite.Parse(p)
	if !ok {
		s.e.guests.receive(p, from) // an answer to a check of its own
		return
	}
	ufrag := c.Ufrag()
	b := s.e.browser(ufrag)
	if b == nil {
		s.e.guests.check(p, ufrag, from)
		return
	}
	if b.closed.Load() {
		return
	}
	pwd := b.password(ufrag)
	if pwd == "" || !c.Authentic(pwd) {
		return
	}
	to := b.socket.Addr(from)
	if c.Conflict() {
		s.answer = c.AppendConflict(s.answer[:0], pwd)
		b.socket.Send(s.answer, to)
		return
	}
	if !s.admit(b, from) {
		return
	}
	s.answer = c.AppendSuccess(s.answer[:0], from, pwd)
	b.socket.Send(s.answer, to)
	b.heard.Store(int64(s.e.now()))
	if c.Nominates {
		b.nominate(from)
	}
}

// admit notes that the address is the leg's.
func (s *shard) admit(b *browser, from netip.AddrPort) bool {
	if s.places[from] == b {
		return true
	}
	if b.places.Add(1) > maxPlaces {
		b.places.Add(-1)
		return false
	}
	if len(s.places) > 2*s.swept+maxPlaces {
		for a, old := range s.places {
			if old.closed.Load() {
				delete(s.places, a)
			}
		}
		s.swept = len(s.places)
	}
	s.places[from] = b
	return true
}

// reachable are the addresses for candidates.
func (e *Engine) reachable(local netip.Addr) []netip.Addr {
	list := []netip.Addr{e.advertised(local)}
	for _, a := range append(slices.Clone(e.config.Public), e.machine()...) {
		if len(list) < maxCandidates && !slices.Contains(list, a) && !a.IsLoopback() {
			list = append(list, a)
		}
	}
	return list
}

// machine is what machineAddrs said not long ago: asking the kernel takes longer than all the rest of a description.
func (e *Engine) machine() []netip.Addr {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := e.now(); e.addrs == nil || now-e.addrsRead > addressAge {
		e.addrs, e.addrsRead = machineAddrs(), now
	}
	return e.addrs
}

// machineAddrs are the machine's own addresses that others may reach: the candidates of a browser whose signalling comes by way of a proxy.
func machineAddrs() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}
