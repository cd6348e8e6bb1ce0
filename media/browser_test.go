package media

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"signalbox/media/udp"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// patience is how long a test waits for what must happen, and never in vain.
const patience = time.Minute

func newEngine(t testing.TB, set ...func(*Config)) *Engine {
	t.Helper()
	// The kernel chooses the first port, so that two runs do not meet.
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := uint16(l.LocalAddr().(*net.UDPAddr).Port) &^ 1
	l.Close()
	if first > 60000 || first < 2000 {
		first = 40000
	}
	c := Config{Ports: udp.Range{First: first, Last: first + 399}}
	for _, f := range set {
		f(&c)
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// page is a browser: pion's PeerConnection, which shares only DTLS and SRTP with us.
type page struct {
	t     testing.TB
	pc    *webrtc.PeerConnection
	track *webrtc.TrackLocalStaticSample
	heard chan []byte // payloads
}

func newPage(t testing.TB, codec string, set ...func(*webrtc.SettingEngine)) *page {
	t.Helper()
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	s := webrtc.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	s.SetICEMulticastDNSMode(1)
	for _, fn := range set {
		fn(&s)
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, pc: pc, heard: make(chan []byte, 1000)}
	t.Cleanup(func() { _ = pc.Close() })
	p.track, err = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: codec}, "audio", "page")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(p.track); err != nil {
		t.Fatal(err)
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			select {
			case p.heard <- packet.Payload:
			default:
			}
		}
	})
	return p
}

// offer returns the page's offer, with its candidates.
func (p *page) offer() []byte { return p.offerAgain(nil) }

func (p *page) offerAgain(options *webrtc.OfferOptions) []byte {
	p.t.Helper()
	d, err := p.pc.CreateOffer(options)
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(d); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	return []byte(p.pc.LocalDescription().SDP)
}

func (p *page) accept(answer []byte) {
	p.t.Helper()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		p.t.Fatalf("%v:\n%s", err, answer)
	}
}

// answer returns the page's answer to an offer.
func (p *page) answer(offer []byte) []byte {
	p.t.Helper()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
		p.t.Fatalf("%v:\n%s", err, offer)
	}
	d, err := p.pc.CreateAnswer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(d); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	return []byte(p.pc.LocalDescription().SDP)
}

// speak sends frames of one byte until ctx ends.
func (p *page) speak(ctx context.Context, b byte) {
	frame := make([]byte, 160)
	for i := range frame {
		frame[i] = b
	}
	for ctx.Err() == nil {
		_ = p.track.WriteSample(media.Sample{Data: frame, Duration: 20 * time.Millisecond})
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hears waits for a payload that begins with b.
func (p *page) hears(b byte) { hears(p.t, "the page", p.heard, b) }

func hears(t testing.TB, who string, from <-chan []byte, b byte) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case payload := <-from:
			if len(payload) > 0 && payload[0] == b {
				return
			}
		case <-timeout:
			t.Fatalf("%s hears nothing that begins with %d", who, b)
		}
	}
}

// desk is a plain RTP phone.
type desk struct {
	t       testing.TB
	conn    *net.UDPConn
	heard   chan []byte
	pts     chan byte
	control chan []byte
	far     *net.UDPAddr
	seq     uint16
	ssrc    uint32
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, conn: conn, heard: make(chan []byte, 1000), pts: make(chan byte, 1000), control: make(chan []byte, 100), ssrc: 77}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if n >= 8 && b[1] >= 192 && b[1] <= 223 {
				select {
				case d.control <- append([]byte(nil), b[:n]...):
				default:
				}
			}
			if n >= 12 && (b[1] < 192 || b[1] > 223) {
				select {
				case d.heard <- append([]byte(nil), b[12:n]...):
					d.pts <- b[1] & 0x7f
				default:
				}
			}
		}
	}()
	return d
}

func (d *desk) port() int { return d.conn.LocalAddr().(*net.UDPAddr).Port }

func (d *desk) sdp(formats, attributes string) []byte {
	port := d.port()
	text := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
		"m=audio " + itoa(port) + " RTP/AVP " + formats + "\r\n" + attributes
	return []byte(text)
}

func itoa(n int) string {
	b := []byte{}
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// aim reads where a description wants RTP.
func (d *desk) aim(description []byte) {
	d.t.Helper()
	for line := range strings.Lines(string(description)) {
		if rest, ok := strings.CutPrefix(line, "m=audio "); ok {
			port := 0
			for i := 0; rest[i] >= '0' && rest[i] <= '9'; i++ {
				port = port*10 + int(rest[i]-'0')
			}
			d.far = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
			return
		}
	}
	d.t.Fatalf("no audio in:\n%s", description)
}

func (d *desk) packet(pt, b byte, ts uint32) []byte {
	p := make([]byte, 12+160)
	p[0], p[1] = 0x80, pt
	d.seq++
	binary.BigEndian.PutUint16(p[2:], d.seq)
	binary.BigEndian.PutUint32(p[4:], ts)
	binary.BigEndian.PutUint32(p[8:], d.ssrc)
	for i := 12; i < len(p); i++ {
		p[i] = b
	}
	return p
}

func (d *desk) speak(ctx context.Context, pt, b byte) {
	for ts := uint32(0); ctx.Err() == nil; ts += 160 {
		_, _ = d.conn.WriteToUDP(d.packet(pt, b, ts), d.far)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var (
	browserSide = Side{Kind: Browser, Source: loopback, Local: loopback}
	phoneSide   = Side{Kind: Phone, Source: loopback, Local: loopback}
)

// A browser calls a phone; both hear each other. RFC 5763, 5; RFC 5764, 4 and 4.2: keys come from a DTLS handshake on the way that ICE found (RFC 8445, 8.1.1).
func TestBrowserCallsPhone(t *testing.T) {
	e := newEngine(t)
	b := e.NewBridge(browserSide, func(why string) { t.Errorf("ended: %s", why) })
	page, desk := newPage(t, webrtc.MimeTypePCMU), newDesk(t)
	leg := must[int](t)(b.Branch(phoneSide))
	offer := must[[]byte](t)(b.Offer(0, leg, page.offer()))
	desk.aim(offer)
	answer := must[[]byte](t)(b.Answer(leg, 0, desk.sdp("0", "")))
	page.accept(answer)
	b.Choose(leg)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go page.speak(ctx, 1)
	go desk.speak(ctx, 0, 2)
	page.hears(2)
	hears(t, "the phone", desk.heard, 1)
	during := e.Traffic()
	stop()
	b.Close()
	if n := e.Sessions(); n != 0 {
		t.Errorf("%d sessions left", n)
	}
	after := e.Traffic() // what a call has carried is counted while it is up, and not forgotten
	if in := during.Received; in.Packets < 2 || in.Octets != 160*in.Packets || during.Sent.Packets == 0 || after.Received.Packets < in.Packets || after.Sent.Packets < during.Sent.Packets {
		t.Errorf("counted %+v during the call, %+v after it", during, after)
	}
}

// A phone calls a browser.
func TestPhoneCallsBrowser(t *testing.T) {
	e := newEngine(t)
	b := e.NewBridge(phoneSide, func(why string) { t.Errorf("ended: %s", why) })
	page, desk := newPage(t, webrtc.MimeTypePCMA), newDesk(t)
	leg := must[int](t)(b.Branch(browserSide))
	offer := must[[]byte](t)(b.Offer(0, leg, desk.sdp("8 0 101", "a=rtpmap:101 telephone-event/8000\r\n")))
	answer := must[[]byte](t)(b.Answer(leg, 0, page.answer(offer)))
	desk.aim(answer)
	b.Choose(leg)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go page.speak(ctx, 3)
	go desk.speak(ctx, 8, 4)
	page.hears(4)
	hears(t, "the phone", desk.heard, 3)
	stop()
	b.Close()
}

// The echo gives a browser its own voice back.
func TestEchoToBrowser(t *testing.T) {
	e := newEngine(t)
	echo := e.NewEcho(browserSide, func(why string) { t.Errorf("ended: %s", why) })
	page := newPage(t, webrtc.MimeTypeOpus)
	page.accept(must[[]byte](t)(echo.Answer(page.offer())))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go page.speak(ctx, 5)
	page.hears(5)
	stop()
	echo.Close()
}

// RFC 8839, 4.4.1.1: a browser that changes its network restarts ICE; it is answered with new credentials, and its call goes on.
func TestICERestart(t *testing.T) {
	e := newEngine(t)
	echo := e.NewEcho(browserSide, func(why string) { t.Errorf("ended: %s", why) })
	page := newPage(t, webrtc.MimeTypeOpus)
	first := must[[]byte](t)(echo.Answer(page.offer()))
	page.accept(first)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go page.speak(ctx, 6)
	page.hears(6)
	second := must[[]byte](t)(echo.Answer(page.offerAgain(&webrtc.OfferOptions{ICERestart: true})))
	if ufrag(first) == ufrag(second) || ufrag(second) == "" {
		t.Errorf("the answer to a restart has ufrag %q, the one before %q", ufrag(second), ufrag(first))
	}
	page.accept(second)
	for len(page.heard) > 0 {
		<-page.heard
	}
	page.hears(6)
	stop()
	echo.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.browsers) != 0 {
		t.Errorf("%d names are left on the port", len(e.browsers))
	}
}

func ufrag(sdp []byte) string {
	_, rest, _ := strings.Cut(string(sdp), "a=ice-ufrag:")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}
