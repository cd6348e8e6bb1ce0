package media

import (
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/webrtc/v4"

	"signalbox/media/relay"
)

const (
	injected     = 99  // what intruders say
	injectedSize = 100 // of their packets; the others have 172 bytes
)

// intruder has no part in a call and sends to its ports.
type intruder struct {
	*desk
	sprays bool // the same packet again and again, as the tools do; else it speaks as the phone would
}

func newIntruder(t *testing.T, ip string, sprays bool) *intruder {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &intruder{&desk{t: t, conn: conn, ssrc: 77}, sprays}
}

// inject sends 50 packets of sound, and in between RTCP that asks for a picture and takes leave.
func (i *intruder) inject(ports ...int) {
	for n := range 50 {
		if i.sprays {
			i.seq = 0
		}
		voice, control := i.packet(0, injected, uint32(n)*160)[:injectedSize], relay.AppendBye(relay.AppendPLI(nil, i.ssrc, 1), i.ssrc)
		for _, port := range ports {
			for _, p := range [][]byte{voice, control} {
				if _, err := i.conn.WriteToUDP(p, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
					i.t.Fatal(err)
				}
			}
		}
	}
}

// hardening 64: RTP bleed. Of what others send to the ports of a call, before it is answered, before the phone has spoken and while it speaks, not one packet
// counts, reaches the other side or moves where media go; and they are sent nothing. hardening 65: nor does what comes from a phone's own address without its key.
func TestBleed(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "RTP", true: "SRTP"}[secure], func(t *testing.T) {
			e := newEngine(t)
			b := e.NewBridge(browserSide, func(why string) { t.Errorf("ended: %s", why) })
			defer b.Close()
			page, phone := newPage(t, webrtc.MimeTypePCMU), newDesk(t)
			side, profile, crypto := phoneSide, "RTP/AVP", ""
			protect := func(p []byte) []byte { return p }
			if secure {
				key := make([]byte, 30)
				side.Kind, profile = SRTPPhone, "RTP/SAVP"
				crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + base64.StdEncoding.EncodeToString(key) + "\r\n"
				c := must[*srtp.Context](t)(srtp.CreateContext(key[:16], key[16:], srtp.ProtectionProfileAes128CmHmacSha1_80))
				protect = func(p []byte) []byte { return must[[]byte](t)(c.EncryptRTP(nil, p, &rtp.Header{})) }
			}
			leg := must[int](t)(b.Branch(side))
			phone.aim(must[[]byte](t)(b.Offer(0, leg, page.offer())))
			ports := []int{phone.far.Port, phone.far.Port + 1, int(e.WebRTC())}
			far, near := newIntruder(t, "127.0.0.2", false), newIntruder(t, "127.0.0.1", true)

			far.inject(ports...)
			near.inject(ports...)
			answer := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio " + itoa(phone.port()) + " " + profile + " 0\r\n" + crypto
			page.accept(must[[]byte](t)(b.Answer(leg, 0, []byte(answer))))
			b.Choose(leg)
			s := b.legs[leg].streams[0]
			take(&s.reading)
			s.latch = relay.Latch{}
			s.latch.Expect(netip.AddrPortFrom(loopback, uint16(phone.port())), loopback, e.now()-time.Second) // now a phone may turn out to be elsewhere
			s.reading.Store(false)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go page.speak(ctx, 1)
			bad := 0
			const ciphered = 0
			voice := byte(1)
			if secure {
				voice = ciphered
			}
			listen := func(heard <-chan []byte, b byte, speak func()) {
				deadline := time.After(patience)
				for {
					speak()
					select {
					case payload := <-heard:
						if len(payload) < 160 {
							bad++
						} else if b == ciphered || payload[0] == b {
							return
						}
					case <-time.After(20 * time.Millisecond):
					case <-deadline:
						t.Fatalf("nobody hears %d", b)
					}
				}
			}
			listen(phone.heard, voice, func() {}) // the browser's side is up, and the phone has not spoken
			aimed, aimedRTCP := s.to.Load().Name(), s.toRTCP.Load().Name()

			speak := func(b byte) func() {
				return func() {
					_, _ = phone.conn.WriteToUDP(protect(phone.packet(0, b, uint32(phone.seq)*160)), phone.far)
				}
			}
			far.inject(ports...)
			near.inject(ports...)
			listen(page.heard, 2, speak(2))
			near.sprays = false // the phone is found: another port of its machine may speak as well as it does
			far.inject(ports...)
			near.inject(ports...)
			if secure {
				for n := range 200 {
					p := protect(phone.packet(0, injected, 0)[:injectedSize])
					p[len(p)-1-n%10]++
					_, _ = phone.conn.WriteToUDP(p, phone.far)
				}
			}
			listen(page.heard, 3, speak(3))
			listen(phone.heard, voice, func() {})
			stop()
			in, _ := s.volume()
			if in.Packets == 0 || in.Octets != 160*in.Packets || bad > 0 {
				t.Errorf("%d injected packets are heard; %+v count as the phone's", bad, in)
			}
			if to, toRTCP := s.to.Load().Name(), s.toRTCP.Load().Name(); to != aimed || !secure && toRTCP.Addr() != aimedRTCP.Addr() {
				t.Errorf("we send to %v and %v, and sent to %v and %v", to, toRTCP, aimed, aimedRTCP)
			}
			for _, i := range []*intruder{far, near} {
				_ = i.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if n, err := i.conn.Read(make([]byte, 2000)); err == nil {
					t.Errorf("an intruder is sent %d bytes", n)
				}
			}
		})
	}
}
