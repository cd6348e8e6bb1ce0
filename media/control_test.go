package media

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"signalbox/media/relay"
)

// RFC 3550, 6.2: reports are five seconds apart; RFC 3550, 6.3.1: by chance half of that more or less, so that those of many calls do not go out together.
func TestReportInterval(t *testing.T) {
	s := &stream{leg: &leg{e: newEngine(t)}}
	const n = 2000
	var sum, last time.Duration
	early, late := reportEvery, reportEvery
	for range n {
		s.tell(s.report)
		gap := s.report - last
		if gap < reportEvery/2 || gap >= reportEvery*3/2 {
			t.Fatalf("reports %s apart", gap)
		}
		early, late = min(early, gap), max(late, gap)
		sum, last = sum+gap, s.report
		s.tell(s.report - 1)
		if s.report != last {
			t.Fatal("a report before its time")
		}
	}
	if mean := sum / n; mean < reportEvery*9/10 || mean > reportEvery*11/10 || early > reportEvery*6/10 || late < reportEvery*14/10 {
		t.Errorf("%s apart on average, %s to %s", mean, early, late)
	}
}

// RFC 3550, 7.2: each side hears of our stream and of what it sends itself; the reports of the other side go no further.
func TestReportsAreOurs(t *testing.T) {
	e := newEngine(t)
	b := e.NewBridge(phoneSide, nil)
	leg := must[int](t)(b.Branch(phoneSide))
	caller, callee, toCaller, toCallee := newDesk(t), newDesk(t), newDesk(t), newDesk(t)
	must[[]byte](t)(b.Offer(0, leg, caller.sdp("0", fmt.Sprintf("a=rtcp:%d\r\n", toCaller.port()))))
	must[[]byte](t)(b.Answer(leg, 0, callee.sdp("0", fmt.Sprintf("a=rtcp:%d\r\n", toCallee.port()))))
	b.Choose(leg)
	in, out := b.legs[0].streams[0], b.legs[leg].streams[0]
	from := netip.MustParseAddrPort(caller.conn.LocalAddr().String())
	in.receive(append(make([]byte, 0, 2000), caller.packet(0, 1, 160)...), from)
	theirs := must[[]byte](t)((&rtcp.SenderReport{SSRC: caller.ssrc, NTPTime: 0x1122334455667788, PacketCount: 4711}).Marshal())
	in.receive(append(make([]byte, 0, 2000), theirs...), from)
	b.tick(e.now() + 2*reportEvery)

	list := must[[]rtcp.Packet](t)(rtcp.Unmarshal(toCallee.raw(t)))
	if sr, ok := list[0].(*rtcp.SenderReport); !ok || sr.SSRC != out.renumber.SSRC || sr.PacketCount != 1 || sr.OctetCount != 160 || len(sr.Reports) != 0 {
		t.Errorf("the callee hears %v", list)
	}
	list = must[[]rtcp.Packet](t)(rtcp.Unmarshal(toCaller.raw(t)))
	if rr, ok := list[0].(*rtcp.ReceiverReport); !ok || rr.SSRC != in.renumber.SSRC || len(rr.Reports) != 1 || rr.Reports[0].SSRC != caller.ssrc || rr.Reports[0].LastSenderReport != 0x33445566 {
		t.Errorf("the caller hears %v", list)
	}
	if len(toCallee.control) != 0 {
		t.Error("the caller's report is passed on")
	}
	b.Close()
}

// RFC 7714, 14.1; RFC 4568, 6.2: a phone that offers one of these suites hears and is heard.
func TestSuites(t *testing.T) {
	e := newEngine(t)
	for suite, profile := range suites {
		b := e.NewBridge(Side{Kind: SRTPPhone, Source: loopback, Local: loopback}, nil)
		leg := must[int](t)(b.Branch(phoneSide))
		conn := must[*net.UDPConn](t)(net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
		desk := newDesk(t)
		k, s := sizes(profile)
		key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, k+s))
		at := netip.MustParseAddrPort(conn.LocalAddr().String())
		must[[]byte](t)(b.Offer(0, leg, fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/SAVP 0\r\na=crypto:1 %s inline:%s\r\n", at.Port(), suite, key)))
		answer := string(must[[]byte](t)(b.Answer(leg, 0, desk.sdp("0", ""))))
		b.Choose(leg)
		_, ours, found := strings.Cut(answer, suite+" inline:")
		if !found {
			t.Fatalf("%s is answered\n%s", suite, answer)
		}
		ours, _, _ = strings.Cut(ours, "\r\n")

		packet := desk.packet(0, 1, 160)
		theirs, _ := cipherOf(suite, key)
		sealed := must[[]byte](t)(theirs.media.EncryptRTP(nil, packet, &rtp.Header{}))
		b.legs[0].streams[0].receive(append(make([]byte, 0, 2000), sealed...), at)
		if got := wait(t, desk.heard); !bytes.Equal(got, packet[12:]) {
			t.Errorf("%s: the phone without keys hears %x", suite, got)
		}
		b.legs[leg].streams[0].receive(append(make([]byte, 0, 2000), packet...), netip.MustParseAddrPort(desk.conn.LocalAddr().String()))
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 2000)
		n := must[int](t)(conn.Read(buf))
		if bytes.Contains(buf[:n], packet[12:]) {
			t.Errorf("%s: not enciphered", suite)
		}
		mine, ok := cipherOf(suite, ours)
		if !ok {
			t.Fatalf("%s: our key is %q", suite, ours)
		}
		if plain := must[[]byte](t)(mine.media.DecryptRTP(nil, buf[:n], &rtp.Header{})); !bytes.Equal(plain[relay.HeaderSize:], packet[12:]) {
			t.Errorf("%s: the phone with keys hears %x", suite, plain)
		}
		b.Close()
		conn.Close()
	}
}

// RFC 7714, 14.2; RFC 5764, 4.1.2: a browser that knows only one of our protection profiles gets that one.
func TestProfiles(t *testing.T) {
	e := newEngine(t)
	for _, profile := range []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80} {
		echo := e.NewEcho(browserSide, func(string) {})
		page := newPage(t, webrtc.MimeTypeOpus, func(s *webrtc.SettingEngine) { s.SetSRTPProtectionProfiles(profile) })
		page.accept(must[[]byte](t)(echo.Answer(page.offer())))
		go page.speak(t.Context(), 5)
		page.hears(5)
		echo.leg.browser.mu.Lock()
		got := echo.leg.browser.keys.profile
		echo.leg.browser.mu.Unlock()
		if uint16(got) != uint16(profile) {
			t.Errorf("profile %v, want %v", got, profile)
		}
		echo.Close()
		_ = page.pc.Close()
	}
}
