package interop

import (
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Requests for a new picture pass between a page and a phone with H.264, each in the phone's own form: PLI (RFC 4585, 6.3.1) or FIR (RFC 5104, 4.3.1). A phone that knows
// none is asked for nothing, and is shown a new picture every few seconds.
func TestNewPicture(t *testing.T) {
	for _, tt := range []struct{ name, feedback string }{{"PLI", "nack pli"}, {"FIR", "ccm fir"}, {"none", ""}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			alice := openPage(t, s, jssip, "alice", "ws", 440)
			bob := newHandset(t, s, "bob")
			camera := newCamera(t, tt.feedback)
			alice.eval(nil, `phone.call("sip:bob@`+domain+`", {video: true})`)
			invite := bob.expect("INVITE")
			bob.aim(invite)
			camera.aim(invite)
			bob.respond(invite, 200, "OK", bob.sdp("sendrecv")+camera.sdp())
			bob.expect("ACK")
			alice.wait("confirmed", nil)
			bob.speak(1000)
			alice.hears(1000)
			bob.until("gets key frames in H.264", func() bool {
				if tt.name != "none" {
					camera.ask(tt.name) // as a phone does that has missed the first
				}
				return camera.keys.Load() > 0
			})

			// The phone asks, the page answers: with one key frame after another, where it sends none by itself.
			if tt.name != "none" {
				before := camera.keys.Load()
				bob.until("gets the pictures that it asks for", func() bool { camera.ask(tt.name); return camera.keys.Load() > before+2 })
				var asked struct{ PLI, FIR, Keys int }
				alice.eval(&asked, `phone.pictures()`)
				if asked.PLI+asked.FIR == 0 {
					t.Errorf("the page heard of no request: %+v", asked)
				}
			} else {
				before := camera.keys.Load()
				bob.until("gets new pictures unasked", func() bool { return camera.keys.Load() > before+1 })
			}

			// The page cannot decode what begins in the middle, and asks for a beginning.
			camera.film()
			if tt.name == "none" {
				alice.until("asks for a picture", `phone.pictures().then(p => p.asked > 1)`)
				if n := camera.plis.Load() + camera.firs.Load(); n != 0 {
					t.Errorf("a phone that knows no requests got %d", n)
				}
			} else {
				want, other := &camera.plis, &camera.firs
				if tt.name == "FIR" {
					want, other = other, want
				}
				bob.until("is asked for a picture", func() bool { return want.Load() > 0 })
				if other.Load() != 0 {
					t.Errorf("the phone was asked in a form that it does not know: %d PLI, %d FIR", camera.plis.Load(), camera.firs.Load())
				}
			}
			alice.hangup()
			bob.respond(bob.expect("BYE"), 200, "OK", "")
			results.passed(t, "JsSIP in Chromium and a phone with H.264", "New pictures are asked for both ways; what the phone knows: "+tt.name, "TestNewPicture", "udp")
		})
	}
}

// until waits for an expression on the page to be true.
func (p *page) until(what, expression string) {
	p.t.Helper()
	var ok bool
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if p.eval(&ok, expression); ok {
			return
		}
	}
	p.t.Fatalf("the page of %s never %s", p.user, what)
}

// camera is the picture of a handset: H.264, with the requests for new pictures that it knows.
type camera struct {
	t          *testing.T
	feedback   string
	rtp, rtcp  *net.UDPConn
	far, asks  atomic.Pointer[net.UDPAddr] // where RTP and RTCP go
	format     byte                        // the number of H.264 in this call
	ssrc       atomic.Uint32               // of what comes
	keys       atomic.Int64                // key frames that came
	plis, firs atomic.Int64                // requests that came
	seq        uint8                       // of our FIRs
}

func newCamera(t *testing.T, feedback string) *camera {
	c := &camera{t: t, feedback: feedback, rtp: listenUDP(t), rtcp: listenUDP(t)}
	go c.listen()
	return c
}

// aim reads an offer, and looks from then on: the place of the picture, and the number of H.264, Constrained Baseline, in single packets or fragments.
func (c *camera) aim(m message) {
	c.t.Helper()
	_, video, ok := strings.Cut(m.body, "m=video ")
	if !ok {
		c.t.Fatalf("no picture in:\n%s", m.body)
	}
	text, _, _ := strings.Cut(video, " ")
	port, _ := strconv.Atoi(text)
	control := port + 1
	for line := range strings.Lines(video) {
		line = strings.TrimSpace(line)
		_, _ = fmt.Sscanf(line, "a=rtcp:%d", &control)
		if number, params, ok := strings.Cut(strings.TrimPrefix(line, "a=fmtp:"), " "); ok && c.format == 0 && strings.Contains(params, "profile-level-id=42e01f") && strings.Contains(params, "packetization-mode=1") {
			n, _ := strconv.Atoi(number)
			c.format = byte(n)
		}
	}
	if c.format == 0 || port == 0 {
		c.t.Fatalf("no H.264 in:\n%s", m.body)
	}
	go c.watch()
	c.far.Store(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	c.asks.Store(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: control})
}

// sdp is the medium in the answer.
func (c *camera) sdp() string {
	text := fmt.Sprintf("m=video %d RTP/AVP %d\r\na=rtcp:%d\r\na=rtpmap:%[2]d H264/90000\r\na=fmtp:%[2]d profile-level-id=42e01f;packetization-mode=1\r\n",
		c.rtp.LocalAddr().(*net.UDPAddr).Port, c.format, c.rtcp.LocalAddr().(*net.UDPAddr).Port)
	if c.feedback != "" {
		text += fmt.Sprintf("a=rtcp-fb:%d %s\r\n", c.format, c.feedback)
	}
	return text + "a=sendrecv\r\n"
}

// watch counts the key frames that come: each begins with its sequence parameters. RFC 6184, 5.3, 5.7.1
func (c *camera) watch() {
	b := make([]byte, 2000)
	for {
		n, err := c.rtp.Read(b)
		if err != nil {
			return
		}
		if n < 16 || b[0]>>6 != 2 || b[1]&0x7f != c.format {
			continue
		}
		c.ssrc.Store(binary.BigEndian.Uint32(b[8:]))
		const sps, stapA = 7, 24
		if unit := b[12] & 0x1f; unit == sps || unit == stapA && b[15]&0x1f == sps {
			c.keys.Add(1)
		}
	}
}

// listen counts the requests that come.
func (c *camera) listen() {
	b := make([]byte, 2000)
	for {
		n, err := c.rtcp.Read(b)
		if err != nil {
			return
		}
		for p := b[:n]; len(p) >= 4; {
			size := 4 * (1 + int(binary.BigEndian.Uint16(p[2:])))
			if size > len(p) {
				break
			}
			switch {
			case p[1] == 206 && p[0]&0x1f == 1:
				c.plis.Add(1)
			case p[1] == 206 && p[0]&0x1f == 4:
				c.firs.Add(1)
			}
			p = p[size:]
		}
	}
}

// ours is the camera's SSRC.
const ours = 0xca3e4a

// ask asks for a new picture, after an empty receiver report (RFC 3550, 6.1).
func (c *camera) ask(kind string) {
	b := binary.BigEndian.AppendUint32([]byte{0x80, 201, 0, 1}, ours)
	if kind == "PLI" {
		b = binary.BigEndian.AppendUint32(append(b, 0x81, 206, 0, 2), ours)
		b = binary.BigEndian.AppendUint32(b, c.ssrc.Load())
	} else {
		c.seq++
		b = binary.BigEndian.AppendUint32(append(b, 0x84, 206, 0, 4), ours)
		b = binary.BigEndian.AppendUint32(b, 0)
		b = binary.BigEndian.AppendUint32(b, c.ssrc.Load())
		b = append(b, c.seq, 0, 0, 0)
	}
	_, _ = c.rtcp.WriteToUDP(b, c.asks.Load())
}

// film sends a picture that builds upon one which never came, ten times a second.
func (c *camera) film() {
	done := make(chan struct{})
	c.t.Cleanup(func() { close(done) })
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		p := make([]byte, 200)
		p[0], p[1], p[12], p[13] = 0x80, 0x80|c.format, 0x41, 0x9a // the first slice of a P picture
		binary.BigEndian.PutUint32(p[8:], ours)
		for n := uint32(1); ; n++ {
			binary.BigEndian.PutUint16(p[2:], uint16(n))
			binary.BigEndian.PutUint32(p[4:], n*9000)
			_, _ = c.rtp.WriteToUDP(p, c.far.Load())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
}
