package media

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/pion/webrtc/v4"

	"signalbox/media/relay"
	"signalbox/media/udp"
)

// block returns one block of a file of testdata.
func block(t testing.TB, file, head string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "--- "+head+"\n")
	if !ok {
		t.Fatalf("%s has no %s", file, head)
	}
	body, _, _ := strings.Cut(rest, "--- ")
	return []byte(strings.ReplaceAll(body, "\n", "\r\n"))
}

// 10,000 calls, ended in all the ways there are, leave nothing: no session, no socket, no leg on the shared port, no goroutine.
func TestNothingIsLeft(t *testing.T) {
	e := newEngine(t)
	offer, answer := block(t, "chromium-to-phone", "offer from browser"), block(t, "chromium-to-phone", "answer from phone")
	none := block(t, "answer-takes-nothing", "answer from phone")
	before := runtime.NumGoroutine()
	for i := range 10_000 {
		b := e.NewBridge(browserSide, nil)
		leg := must[int](t)(b.Branch(phoneSide))
		must[[]byte](t)(b.Offer(0, leg, offer))
		switch i % 5 {
		case 0: // cancelled while it rang
		case 1: // refused
			b.Drop(leg)
		case 2: // answered with something else
			if _, err := b.Answer(leg, 0, none); err == nil {
				t.Fatal("an answer that takes nothing passes")
			}
		case 3: // answered and hung up
			must[[]byte](t)(b.Answer(leg, 0, answer))
			b.Choose(leg)
		case 4: // one of two branches answered, and there was a re-INVITE
			other := must[int](t)(b.Branch(phoneSide))
			must[[]byte](t)(b.Offer(0, other, offer))
			must[[]byte](t)(b.Answer(other, 0, answer))
			b.Choose(other)
			b.Drop(leg)
			must[[]byte](t)(b.Offer(0, other, bytes.Replace(offer, []byte("a=sendrecv"), []byte("a=sendonly"), 1)))
		}
		b.Close()
		b.Close()
		if i%100 == 0 {
			e.sweep(time.Now().Add(time.Hour))
		}
	}
	if n, m := e.Sessions(), e.Sockets(); n != 0 || m != 0 {
		t.Errorf("%d sessions and %d sockets are left", n, m)
	}
	e.mu.Lock()
	if len(e.browsers) != 0 {
		t.Errorf("%d legs are left on the shared port", len(e.browsers))
	}
	e.mu.Unlock()
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

// The ports are what bounds the calls of phones: the next one is refused, and its caller is told why.
func TestPortsRunOut(t *testing.T) {
	e := newEngine(t, func(c *Config) { c.Ports.Last = c.Ports.First + 3 })
	offer := block(t, "chromium-to-phone", "offer from browser")
	var last error
	for range 3 {
		b := e.NewBridge(browserSide, nil)
		leg := must[int](t)(b.Branch(phoneSide))
		_, last = b.Offer(0, leg, offer)
	}
	if last == nil || !strings.Contains(last.Error(), "503") {
		t.Errorf("the third call of two: %v", last)
	}
}

// RFC 3261, 13.2.2.4: of a fork the caller hears who answers; a browser that has had an answer is told the same again.
func TestForkKeepsTheAnswer(t *testing.T) {
	e := newEngine(t)
	b := e.NewBridge(browserSide, func(why string) { t.Errorf("ended: %s", why) })
	page := newPage(t, webrtc.MimeTypePCMU)
	first, second := newDesk(t), newDesk(t)
	one, two := must[int](t)(b.Branch(phoneSide)), must[int](t)(b.Branch(phoneSide))
	offer := page.offer()
	first.aim(must[[]byte](t)(b.Offer(0, one, offer)))
	second.aim(must[[]byte](t)(b.Offer(0, two, offer)))
	early := must[[]byte](t)(b.Answer(one, 0, first.sdp("0 8", "")))
	page.accept(early)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go page.speak(ctx, 1)
	go first.speak(ctx, 0, 2)
	go second.speak(ctx, 0, 3)
	page.hears(2)
	final := must[[]byte](t)(b.Answer(two, 0, second.sdp("0", "")))
	if !bytes.Equal(early, final) {
		t.Errorf("the browser is told\n%s\nand then\n%s", early, final)
	}
	b.Choose(two)
	b.Drop(one)
	page.hears(3)
	hears(t, "the second phone", second.heard, 1)
	stop()
	b.Close()
}

// RFC 3261, 13.2.2.4; RFC 3264, 8: early media have told the browser what one phone has, and another that has something else answers the call: the browser must
// be made an offer. Where what it was told suits, nobody is asked again.
func TestReoffer(t *testing.T) {
	phone := func(formats string) []byte {
		return []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP " + formats + "\r\n")
	}
	for _, tt := range []struct{ early, final, want string }{
		{"9", "0", " 0"}, {"8 0", "0 8", ""}, {"8 0", "8", ""}, {"8 0", "0", " 0"}, {"0", "0", ""}, {"9 0", "0 8 9", ""}, {"0", "8", " 8"},
	} {
		e := newEngine(t)
		b := e.NewBridge(browserSide, nil)
		offer := block(t, "chromium-to-phone", "offer from browser")
		one, two := must[int](t)(b.Branch(phoneSide)), must[int](t)(b.Branch(phoneSide))
		must[[]byte](t)(b.Offer(0, one, offer))
		must[[]byte](t)(b.Offer(0, two, offer))
		early := must[[]byte](t)(b.Answer(one, 0, phone(tt.early)))
		if final := must[[]byte](t)(b.Answer(two, 0, phone(tt.final))); !bytes.Equal(early, final) {
			t.Errorf("%s, then %s: the browser is told two things", tt.early, tt.final)
		}
		b.Choose(two)
		b.Drop(one)
		got := string(b.Reoffer(two))
		if line := "UDP/TLS/RTP/SAVPF" + tt.want + "\r\n"; tt.want == "" && got != "" || tt.want != "" && !strings.Contains(got, line) {
			t.Errorf("%s, then %s: the browser is offered %q, want %s", tt.early, tt.final, got, tt.want)
		}
		if b.Reoffer(two) != nil {
			t.Error("and again")
		}
		b.Close()
	}
}

// RFC 3264, 8: an offer in the words of an earlier one is a new offer all the same: the other side has been put on hold meanwhile.
func TestSameWordsAgain(t *testing.T) {
	e := newEngine(t)
	b := e.NewBridge(phoneSide, nil)
	leg := must[int](t)(b.Branch(phoneSide))
	caller, callee := newDesk(t), newDesk(t)
	must[[]byte](t)(b.Offer(0, leg, caller.sdp("0", "")))
	must[[]byte](t)(b.Answer(leg, 0, callee.sdp("0", "")))
	b.Choose(leg)
	must[[]byte](t)(b.Offer(leg, 0, callee.sdp("0", "a=sendonly\r\n")))
	must[[]byte](t)(b.Answer(0, leg, caller.sdp("0", "a=recvonly\r\n")))
	must[[]byte](t)(b.Offer(0, leg, caller.sdp("0", "")))
	answer := must[[]byte](t)(b.Answer(leg, 0, callee.sdp("0", "a=sendonly\r\n")))
	if !bytes.Contains(answer, []byte("a=sendonly")) {
		t.Errorf("the answer is\n%s", answer)
	}
	if again := must[[]byte](t)(b.Answer(leg, 0, callee.sdp("0", "a=sendonly\r\n"))); !bytes.Equal(again, answer) {
		t.Errorf("the same answer, repeated, is\n%s", again)
	}
	b.Close()
}

// Phones that fall silent are noticed; phones on hold may be silent.
func TestSilence(t *testing.T) {
	e := newEngine(t, func(c *Config) { c.Timeout = time.Second })
	ended := make(chan string, 1)
	b := e.NewBridge(phoneSide, func(why string) { ended <- why })
	leg := must[int](t)(b.Branch(phoneSide))
	caller, callee := newDesk(t), newDesk(t)
	must[[]byte](t)(b.Offer(0, leg, caller.sdp("0", "")))
	must[[]byte](t)(b.Answer(leg, 0, callee.sdp("0", "")))
	b.Choose(leg)
	if why := wait(t, ended); !strings.Contains(why, "silent") {
		t.Errorf("ended: %s", why)
	}
	b.Close()

	held := e.NewBridge(phoneSide, func(why string) { t.Errorf("held, but ended: %s", why) })
	leg = must[int](t)(held.Branch(phoneSide))
	must[[]byte](t)(held.Offer(0, leg, caller.sdp("0", "a=inactive\r\n")))
	must[[]byte](t)(held.Answer(leg, 0, callee.sdp("0", "a=inactive\r\n")))
	held.Choose(leg)
	held.tick(e.now() + 10*time.Second)
	held.Close()
}

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

// RFC 8122, 3.4 and hardening 67: a certificate that is not the announced one ends the call, and a flood of handshake packets waits nowhere.
func TestWrongFingerprint(t *testing.T) {
	e := newEngine(t)
	ended := make(chan string, 1)
	echo := e.NewEcho(browserSide, func(why string) { ended <- why })
	page := newPage(t, webrtc.MimeTypeOpus)
	offer := page.offer()
	at := bytes.Index(offer, []byte("a=fingerprint:sha-256 ")) + len("a=fingerprint:sha-256 ")
	copy(offer[at:], "00:11:22:33")
	page.accept(must[[]byte](t)(echo.Answer(offer)))
	if why := wait(t, ended); !strings.Contains(why, "certificate") {
		t.Errorf("ended: %s", why)
	}
	f := newFlight(echo.leg.browser)
	for range 1000 {
		f.push([]byte{22, 254, 253})
	}
	if len(f.in) != maxFlight {
		t.Errorf("%d packets wait", len(f.in))
	}
	echo.Close()
}

// hardening 64, 65 and 66: strangers on the shared port are heard by nobody and answered nothing, before and during a call; bad packets from the
// browser's own address do not harm the call.
func TestStrangers(t *testing.T) {
	e := newEngine(t)
	echo := e.NewEcho(browserSide, func(why string) { t.Errorf("ended: %s", why) })
	stranger, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(e.WebRTC())})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	body := append(append([]byte{254, 253}, make([]byte, 32)...), 0, 0, 0, 2, 0, 0, 1, 0) // no session, no cookie, TLS_NULL_WITH_NULL_NULL, no compression
	hello := append([]byte{22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(12 + len(body)), 1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
	voice := append([]byte{0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9}, make([]byte, 160)...)
	spray := func() {
		for range 200 {
			_, _ = stranger.Write(hello)
			_, _ = stranger.Write(voice)
		}
	}
	spray()
	page := newPage(t, webrtc.MimeTypeOpus)
	page.accept(must[[]byte](t)(echo.Answer(page.offer())))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go page.speak(ctx, 5)
	page.hears(5)
	spray()
	b := echo.leg.browser
	for i := range 200 {
		bad := append(bytes.Clone(voice), byte(i))
		b.receive(append(make([]byte, 0, 2000), bad...), b.to.Load().Name(), e.now())
	}
	page.hears(5)
	stop()
	_ = stranger.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := stranger.Read(make([]byte, 2000)); err == nil {
		t.Errorf("a stranger is sent %d bytes", n)
	}
	echo.Close()
}

// RFC 4585, 6.3.1; RFC 5104, 4.3.1: who sees a phone asks for a picture, and the phone is asked in the way that it knows.
func TestPictures(t *testing.T) {
	e := newEngine(t)
	for _, tt := range []struct{ feedback, want string }{
		{"a=rtcp-fb:108 nack pli\r\n", "*rtcp.PictureLossIndication"}, {"a=rtcp-fb:* ccm fir\r\n", "*rtcp.FullIntraRequest"}, {"", ""},
	} {
		b := e.NewBridge(browserSide, nil)
		leg := must[int](t)(b.Branch(phoneSide))
		must[[]byte](t)(b.Offer(0, leg, block(t, "chromium-video", "offer from browser")))
		video, control := newDesk(t), newDesk(t)
		answer := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\nm=video %d RTP/AVP 108\r\na=rtcp:%d\r\n"+
			"a=rtpmap:108 H264/90000\r\na=fmtp:108 packetization-mode=1;profile-level-id=42e01f\r\n%s", video.port(), control.port(), tt.feedback)
		must[[]byte](t)(b.Answer(leg, 0, []byte(answer)))
		seen, phone := b.legs[0].streams[1], b.legs[leg].streams[1]
		phone.receive(append(make([]byte, 0, 2000), video.packet(108, 1, 1)...), netip.MustParseAddrPort(video.conn.LocalAddr().String()))
		if !seen.controlled(relay.AppendPLI(nil, 1, seen.renumber.SSRC)) {
			t.Fatal("a request for a picture is not understood")
		}
		got := ""
		if tt.want != "" {
			list, err := rtcp.Unmarshal(control.raw(t))
			if err != nil {
				t.Fatal(err)
			}
			got = fmt.Sprintf("%T", list[len(list)-1])
		} else if asked := phone.asked.Load(); asked == 0 {
			t.Error("nobody thought of asking")
		}
		if got != tt.want {
			t.Errorf("%q: the phone is asked by %s, want %s", tt.feedback, got, tt.want)
		}
		b.Close()
	}
}

// raw is the next RTCP packet that comes.
func (d *desk) raw(t *testing.T) []byte {
	t.Helper()
	return wait(t, d.control)
}

// wired is a call between a browser, whose keys are known without a handshake, and a phone.
func wired(t testing.TB) (e *Engine, b *Bridge, toBrowser, toPhone func()) {
	e = newEngine(t)
	b = e.NewBridge(browserSide, nil)
	leg := must[int](t)(b.Branch(phoneSide))
	sink, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	from := netip.MustParseAddrPort(sink.LocalAddr().String())
	must[[]byte](t)(b.Offer(0, leg, block(t, "chromium-to-phone", "offer from browser")))
	answer := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n", from.Port())
	must[[]byte](t)(b.Answer(leg, 0, []byte(answer)))
	browser, phone := b.legs[0].browser, b.legs[leg].streams[0]
	k := &keys{profile: srtp.ProtectionProfileAeadAes128Gcm, local: make([]byte, 16), localSalt: make([]byte, 12), remote: make([]byte, 16), remoteSalt: make([]byte, 12)}
	_, _ = rand.Read(k.remote)
	browser.keys = k
	browser.decipher.Store(must[*cipher](t)(newCipher(k.remote, k.remoteSalt, k.profile)))
	browser.to.Store(browser.socket.Addr(from))
	b.legs[0].secured()

	sender := must[*cipher](t)(newCipher(k.remote, k.remoteSalt, k.profile))
	room := make([]byte, 2*udp.Room)
	packet := func(n uint16) []byte {
		p := room[udp.Headroom : udp.Headroom+172 : udp.Headroom+udp.Room]
		copy(p, []byte{0x80, 0, byte(n >> 8), byte(n), 0, 0, byte(n >> 8), byte(n), 0, 0, 0, 7})
		return p
	}
	var n, m uint16
	toBrowser = func() { n++; phone.receive(packet(n), from) }
	toPhone = func() {
		m++
		p := packet(m)
		p, err := sender.media.EncryptRTP(p[:0], p, &sender.header)
		if err != nil {
			t.Fatal(err)
		}
		browser.receive(p, from, e.now())
	}
	return e, b, toBrowser, toPhone
}

// No packet costs an allocation.
func TestPacketsAllocateNothing(t *testing.T) {
	_, b, toBrowser, toPhone := wired(t)
	defer b.Close()
	for name, one := range map[string]func(){"to the browser": toBrowser, "to the phone": toPhone} {
		if n := testing.AllocsPerRun(1000, one); n != 0 {
			t.Errorf("%s: %v allocations a packet", name, n)
		}
	}
	sent := func(l *leg) uint64 { return l.streams[0].sent.Packets }
	if sent(b.legs[0]) < 1000 || sent(b.legs[1]) < 1000 {
		t.Errorf("%d and %d packets were sent", sent(b.legs[0]), sent(b.legs[1]))
	}
}

func BenchmarkToBrowser(b *testing.B) {
	_, bridge, toBrowser, _ := wired(b)
	defer bridge.Close()
	b.ReportAllocs()
	for b.Loop() {
		toBrowser()
	}
}

func BenchmarkToPhone(b *testing.B) {
	_, bridge, _, toPhone := wired(b)
	defer bridge.Close()
	b.ReportAllocs()
	for b.Loop() {
		toPhone()
	}
}

// BenchmarkMemory tells what a call that is up keeps: in bytes of heap and in goroutines, when its handshake is over.
func BenchmarkMemory(b *testing.B) {
	const calls = 100
	used := func() (uint64, int) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	for b.Loop() {
		e := newEngine(b)
		bytes, goroutines := used()
		list := make([]*Bridge, calls)
		for i := range list {
			list[i] = e.NewBridge(browserSide, nil)
			leg := must[int](b)(list[i].Branch(phoneSide))
			must[[]byte](b)(list[i].Offer(0, leg, block(b, "chromium-to-phone", "offer from browser")))
			must[[]byte](b)(list[i].Answer(leg, 0, block(b, "chromium-to-phone", "answer from phone")))
			list[i].Choose(leg)
			browser := list[i].legs[0].browser
			browser.keys = &keys{profile: srtp.ProtectionProfileAeadAes128Gcm, local: make([]byte, 16), localSalt: make([]byte, 12), remote: make([]byte, 16), remoteSalt: make([]byte, 12)}
			browser.decipher.Store(must[*cipher](b)(newCipher(browser.keys.remote, browser.keys.remoteSalt, browser.keys.profile)))
			list[i].legs[0].secured()
		}
		bytes2, goroutines2 := used()
		b.ReportMetric(float64(bytes2-bytes)/calls/1024, "KB/call")
		b.ReportMetric(float64(goroutines2-goroutines)/calls, "goroutines/call")
		for _, one := range list {
			one.Close()
		}
		e.Close()
	}
}
