package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icholy/digest"
)

// handset is a plain UDP phone that does what the test says, message by message: what real phones do too seldom to be tested with them.
type handset struct {
	t     *testing.T
	s     *server
	user  string
	sip   *net.UDPConn
	rtp   *net.UDPConn
	tag   string
	came  chan message
	far   atomic.Pointer[net.UDPAddr] // where RTP goes
	cseq  int
	seen  map[string]bool
	voice voice
}

// message is a SIP message as a phone sees it.
type message struct {
	start   string
	method  string // of a request
	code    int    // of a response
	headers []string
	body    string
}

func (m message) all(name string) (list []string) {
	for _, h := range m.headers {
		if k, v, ok := strings.Cut(h, ":"); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			list = append(list, strings.TrimSpace(v))
		}
	}
	return list
}

func (m message) get(name string) string {
	if list := m.all(name); len(list) > 0 {
		return list[0]
	}
	return ""
}

func parseMessage(text string) (m message) {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	m.start, m.headers, m.body = lines[0], lines[1:], body
	if rest, ok := strings.CutPrefix(m.start, "SIP/2.0 "); ok {
		m.code, _ = strconv.Atoi(rest[:3])
	} else {
		m.method, _, _ = strings.Cut(m.start, " ")
	}
	return m
}

func newHandset(t *testing.T, s *server, user string) *handset {
	t.Helper()
	h := &handset{t: t, s: s, user: user, tag: fmt.Sprintf("h%d", guestNumber.Add(1)), came: make(chan message, 100), seen: map[string]bool{}}
	h.sip, h.rtp = listenUDP(t), listenUDP(t)
	go h.listen()
	go h.voice.listen(h.rtp)
	h.register()
	return h
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (h *handset) listen() {
	b := make([]byte, 65536)
	for {
		n, err := h.sip.Read(b)
		if err != nil {
			return
		}
		m := parseMessage(string(b[:n]))
		if m.method != "" {
			key := m.method + m.get("Via")
			if h.seen[key] {
				continue // a retransmission
			}
			h.seen[key] = true
		}
		h.came <- m
	}
}

// expect waits for a request ("INVITE") or a response ("200 INVITE"); others are passed over.
func (h *handset) expect(what string) message {
	h.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-h.came:
			_, method, _ := strings.Cut(m.get("CSeq"), " ")
			if m.method == what || m.code != 0 && fmt.Sprintf("%d %s", m.code, method) == what {
				return m
			}
		case <-timeout:
			h.t.Fatalf("%s: no %s comes", h.user, what)
		}
	}
}

func (h *handset) send(text string) {
	h.t.Helper()
	addr, _ := net.ResolveUDPAddr("udp", h.s.udp)
	if _, err := h.sip.WriteToUDP([]byte(text), addr); err != nil {
		h.t.Fatal(err)
	}
}

func (h *handset) contact() string { return fmt.Sprintf("<sip:%s@%s>", h.user, h.sip.LocalAddr()) }

// request writes one; extra lines end in CRLF.
func (h *handset) request(method, uri, to, callID, extra, body string) {
	h.t.Helper()
	h.cseq++
	h.send(h.build(method, uri, to, callID, h.cseq, extra, body))
}

func (h *handset) build(method, uri, to, callID string, cseq int, extra, body string) string {
	if body != "" {
		extra += "Content-Type: application/sdp\r\n"
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		method, uri, h.sip.LocalAddr(), h.tag, cseq, method, h.user, domain, h.tag, to, callID, cseq, method, h.contact(), extra, len(body), body)
}

// authorized sends a request twice, the second time with what the challenge asks for, and returns the 200.
func (h *handset) authorized(method, uri, to, callID, extra, body string) message {
	h.t.Helper()
	h.request(method, uri, to, callID, extra, body)
	return h.challenged(method, uri, to, callID, extra, body)
}

// challenged waits for the challenge to a request, sends it again and returns the 200.
func (h *handset) challenged(method, uri, to, callID, extra, body string) message {
	h.t.Helper()
	code, header, answer := "407 ", "Proxy-Authenticate", "Proxy-Authorization"
	if method == "REGISTER" {
		code, header, answer = "401 ", "WWW-Authenticate", "Authorization"
	}
	challenge := h.expect(code + method)
	if method == "INVITE" {
		ack := h.build("ACK", uri, challenge.get("To"), callID, h.cseq, "", "")
		h.send(strings.Replace(ack, fmt.Sprintf("%dACK;rport", h.cseq), fmt.Sprintf("%dINVITE;rport", h.cseq), 1))
	}
	for _, value := range challenge.all(header) {
		c, err := digest.ParseChallenge(value)
		if err != nil || !strings.EqualFold(c.Algorithm, "MD5") {
			continue
		}
		cred, err := digest.Digest(c, digest.Options{Method: method, URI: uri, Username: h.user, Password: password(h.user), Count: 1})
		if err != nil {
			h.t.Fatal(err)
		}
		extra += answer + ": " + cred.String() + "\r\n"
		break
	}
	h.request(method, uri, to, callID, extra, body)
	return h.expect("200 " + method)
}

func (h *handset) register() {
	h.t.Helper()
	uri := "sip:" + domain
	h.authorized("REGISTER", uri, fmt.Sprintf("<sip:%s@%s>", h.user, domain), "reg-"+h.tag, "Expires: 600\r\n", "")
}

// respond answers a request, with our tag.
func (h *handset) respond(req message, code int, reason, body string) {
	h.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", code, reason)
	for _, name := range []string{"Via", "Record-Route", "From"} {
		for _, v := range req.all(name) {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	to := req.get("To")
	if !strings.Contains(to, "tag=") {
		to += ";tag=" + h.tag
	}
	fmt.Fprintf(&b, "To: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: %s\r\n", to, req.get("Call-ID"), req.get("CSeq"), h.contact())
	if body != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	h.send(b.String())
}

// sdp is the phone's description: PCMU, and keys as 101.
func (h *handset) sdp(direction string) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=%s\r\n",
		h.rtp.LocalAddr().(*net.UDPAddr).Port, direction)
}

// aim reads where the other side wants RTP.
func (h *handset) aim(m message) {
	h.t.Helper()
	_, rest, ok := strings.Cut(m.body, "m=audio ")
	text, _, _ := strings.Cut(rest, " ")
	port, err := strconv.Atoi(text)
	if !ok || err != nil {
		h.t.Fatalf("no audio in:\n%s", m.body)
	}
	h.far.Store(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
}

// speak sends a tone until the returned function is called.
func (h *handset) speak(hz int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		p := make([]byte, 172)
		p[0] = 0x80
		binary.BigEndian.PutUint32(p[8:], uint32(0x1000+hz))
		for n := uint32(0); ; n++ {
			binary.BigEndian.PutUint16(p[2:], uint16(n))
			binary.BigEndian.PutUint32(p[4:], n*160)
			for i := range 160 {
				p[12+i] = mulaw(int16(8000 * math.Sin(2*math.Pi*float64(hz)*float64(n*160+uint32(i))/8000)))
			}
			if far := h.far.Load(); far != nil {
				_, _ = h.rtp.WriteToUDP(p, far)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	h.t.Cleanup(stop)
	return stop
}

// mulaw encodes one sample (ITU-T G.711).
func mulaw(s int16) byte {
	sign, v := byte(0), int(s)
	if v < 0 {
		sign, v = 0x80, -v
	}
	v = min(v+132, 32767)
	e := 7
	for mask := 0x4000; e > 0 && v&mask == 0; mask >>= 1 {
		e--
	}
	return ^(sign | byte(e)<<4 | byte(v>>(e+3))&0x0f)
}

func unmulaw(b byte) int {
	b = ^b
	v := (int(b&0x0f)<<3+132)<<(b>>4&7) - 132
	if b&0x80 != 0 {
		return -v
	}
	return v
}

// voice is what a phone hears.
type voice struct {
	mu      sync.Mutex
	packets int
	keys    []byte // telephone-events, each once
	samples []int  // the last half second
	last    uint32 // timestamp of the last key
}

func (v *voice) listen(c *net.UDPConn) {
	b := make([]byte, 2000)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if n < 12 || b[0]>>6 != 2 || b[1] >= 192 && b[1] <= 223 {
			continue
		}
		v.mu.Lock()
		switch b[1] & 0x7f {
		case 0:
			v.packets++
			for _, s := range b[12:n] {
				v.samples = append(v.samples, unmulaw(s))
			}
			v.samples = v.samples[max(0, len(v.samples)-4000):]
		case 101:
			if ts := binary.BigEndian.Uint32(b[4:]); n >= 16 && ts != v.last {
				v.keys, v.last = append(v.keys, b[12]), ts
			}
		}
		v.mu.Unlock()
	}
}

// hz is the frequency of the last half second, by its zero crossings.
func (v *voice) hz() float64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.samples) < 4000 {
		return 0
	}
	var first, last, n int
	for i := 1; i < len(v.samples); i++ {
		if v.samples[i-1] < 0 && v.samples[i] >= 0 {
			if n == 0 {
				first = i
			}
			last = i
			n++
		}
	}
	if n < 2 {
		return 0
	}
	return 8000 * float64(n-1) / float64(last-first)
}

func (v *voice) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.packets
}

func (v *voice) pressed() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return string(v.keys)
}

// hears waits for a tone, within 1 %.
func (h *handset) hears(hz int) {
	h.t.Helper()
	h.until(fmt.Sprintf("hears %d Hz (but %.1f)", hz, h.voice.hz()), func() bool { return within(h.voice.hz(), float64(hz), 0.01) })
}

// quiet waits until nothing comes any more.
func (h *handset) quiet() {
	h.t.Helper()
	last, since := h.voice.count(), time.Now()
	h.until("hears nothing", func() bool {
		if n := h.voice.count(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

func (h *handset) until(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	h.t.Fatalf("%s never %s", h.user, what)
}
