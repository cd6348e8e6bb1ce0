package messages

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// What a page writes is a MESSAGE like a phone's, and its outcome comes back. RFC 3428, 4
func TestFromPage(t *testing.T) {
	r := newRig(t)
	b, reg := connected(t, r)
	if reg.To.URI.Raw != "sip:alice@example.org" || wire.Get(reg, "User-Agent") != "data channel" || !strings.Contains(wire.Get(reg, "Contact"), `;methods="MESSAGE"`) {
		t.Errorf("%s", reg)
	}
	b.send(`{"to":"sip:bob@example.org;x=y","text":"grüß dich","id":"7"}`)
	m := take(t, "a MESSAGE", r.requests)
	if req := m.req; req.Method != "MESSAGE" || req.URI.Raw != "sip:bob@example.org;x=y" || req.From.URI.Raw != "sip:alice@example.org" || req.From.Tag == "" ||
		string(req.Body()) != "grüß dich" || wire.Get(req, "Content-Type") != "text/plain;charset=UTF-8" || req.Via.Received != "127.0.0.1" || req.MaxForwards != 70 {
		t.Errorf("%s", req)
	}
	if user, _, ok := r.Proven(m.flow.ID()); !ok || user != alice {
		t.Errorf("the flow is %v's", user)
	}
	if f, ok := r.Find(m.flow.ID()); !ok || f != m.flow {
		t.Error("the flow is not found")
	}
	_ = m.flow.Send(wire.Append(nil, wire.NewResponse(m.req, 100, "", "")))
	_ = m.flow.Send(wire.Append(nil, wire.NewResponse(m.req, 202, "", "x")))
	if f := take(t, "the outcome", b.frames); f["id"] != "7" || f["status"] != 202.0 || f["reason"] != "Accepted" {
		t.Errorf("%v", f)
	}
	_ = b.dc.Close()
	if gone := take(t, "a REGISTER", r.registers); wire.Get(gone, "Expires") != "0" || gone.CSeq.Seq != reg.CSeq.Seq+1 || gone.CallID != reg.CallID {
		t.Errorf("%s", gone)
	}
	r.empty()
	if err := m.flow.Send(nil); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("sent over a flow that is gone: %v", err)
	}
	if _, _, ok := r.Proven(m.flow.ID()); ok {
		t.Error("the flow of a page that is gone proves somebody")
	}
}

const message = `
MESSAGE sip:page@x.invalid SIP/2.0
Via: SIP/2.0/WSS 127.0.0.1:8443;branch=z9hG4bKq
Max-Forwards: 69
From: "Bob" <sip:bob@example.org;p=q>;tag=b
To: <sip:alice@example.org>
Call-ID: c
CSeq: 1 MESSAGE
%sContent-Length: %d

%s`

// What comes for a page: texts are delivered, everything else is refused as it should be. RFC 3428, 7; RFC 3261, 8.2
func TestToPage(t *testing.T) {
	r := newRig(t)
	b, _ := connected(t, r)
	b.send(`{"to":"sip:bob@example.org","text":"x","id":"1"}`)
	flow := take(t, "a MESSAGE", r.requests).flow
	for name, tt := range map[string]struct {
		fields, body string
		method       string
		code         int
		header       [2]string
		kind         string // of the text that is delivered
	}{
		"text":        {fields: "Content-Type: text/plain\n", body: "<hello>", code: 200},
		"charset":     {fields: "Content-Type: Text/Plain ; charset=\"utf-8\"\n", body: "grüß", code: 200},
		"HTML":        {fields: "Content-Type: text/html\n", body: "<b>hello</b>", code: 200, kind: "text/html"},
		"latin":       {fields: "Content-Type: text/plain;charset=ISO-8859-1\n", body: "hello", code: 415, header: [2]string{"Accept", "text/plain;charset=UTF-8, text/*;charset=UTF-8"}},
		"no UTF-8":    {fields: "Content-Type: text/plain\n", body: "gr\xfc\xdf", code: 415, header: [2]string{"Accept", "text/plain;charset=UTF-8, text/*;charset=UTF-8"}},
		"picture":     {fields: "Content-Type: image/png\n", body: "x", code: 415, header: [2]string{"Accept", "text/plain, text/*"}},
		"CPIM":        {fields: "Content-Type: message/cpim\n", body: "x", code: 415, header: [2]string{"Accept", "text/plain, text/*"}},
		"no type":     {body: "x", code: 415, header: [2]string{"Accept", "text/plain, text/*"}},
		"compressed":  {fields: "Content-Type: text/plain\nContent-Encoding: gzip\n", body: "x", code: 415, header: [2]string{"Accept-Encoding", "identity"}},
		"extension":   {fields: "Content-Type: text/plain\nRequire: 100rel\n", body: "x", code: 420, header: [2]string{"Unsupported", "100rel"}},
		"large":       {fields: "Content-Type: text/plain\n", body: strings.Repeat("x", maxText+1), code: 413},
		"call":        {method: "INVITE", code: 480, header: [2]string{"Allow", "MESSAGE"}},
		"options":     {method: "OPTIONS", code: 405, header: [2]string{"Allow", "MESSAGE"}},
		"unknown one": {method: "FETCH", code: 405, header: [2]string{"Allow", "MESSAGE"}},
	} {
		text := fmt.Sprintf(message, tt.fields, len(tt.body), tt.body)
		if tt.method != "" {
			text = strings.ReplaceAll(text, "MESSAGE", tt.method)
		}
		res := r.request(flow, text)
		if res.StatusCode != tt.code || tt.header[0] != "" && wire.Get(res, tt.header[0]) != tt.header[1] || res.To.Tag == "" {
			t.Errorf("%s: %v %v", name, res.StatusCode, res.Headers())
		}
		if tt.code != 200 {
			continue
		}
		f := take(t, "a text", b.frames)
		if kind, _ := f["type"].(string); f["from"] != "sip:bob@example.org" || f["text"] != tt.body || kind != tt.kind {
			t.Errorf("%s: %v", name, f)
		}
	}
	if err := flow.Send([]byte(strings.ReplaceAll(fmt.Sprintf(message, "", 0, ""), "MESSAGE", "ACK"))); err != nil {
		t.Error(err)
	}
	_ = flow.Send([]byte("noise"))
	if res := r.request(flow, fmt.Sprintf(message, "Content-Type: text/plain\n", 1, "x")); res.StatusCode != 200 { // the ACK was not answered
		t.Errorf("%v", res)
	}
}

// A page that floods is read at its rate, whatever it sends, and what it is told is bounded too.
func TestFlood(t *testing.T) {
	r := newRig(t)
	b, _ := connected(t, r)
	began := time.Now()
	for range 10 * burst {
		b.send(`{"to":"sip:bob@example.org","text":"x","id":"1"}`)
	}
	for range burst + 5 {
		take(t, "a MESSAGE", r.requests)
	}
	if took := time.Since(began); took < 5*pace {
		t.Errorf("a burst and five more within %v", took)
	}
	_ = b.pc.Close()
	r.empty()
	if n := len(r.requests); n > burst {
		t.Errorf("%d more messages were sent for a page that had gone", n)
	}
}

var flowID = wire.FlowID{Proto: wire.WSS, Remote: netip.MustParseAddrPort("192.0.2.1:50000"), Serial: ours}

// No more may await an answer than is bounded, and who gets none hears 408. RFC 3261, 8.1.3.1
func TestPending(t *testing.T) {
	r := newRig(t)
	s := newSession(r.Gateway, r.page(alice), flowID)
	c := &recorder{}
	s.channel = c
	for range maxPending + 1 {
		s.submit([]byte(`{"to":"sip:bob@example.org","text":"x","id":"1"}`))
	}
	if len(s.pending) != maxPending || c.last() != `{"id":"1","status":503,"reason":"Too Many At Once"}` {
		t.Errorf("%d pending, %s", len(s.pending), c.last())
	}
	s.tick(time.Now().Add(answerTime + time.Second))
	if len(s.pending) != 0 || len(c.frames) != maxPending+1 || c.last() != `{"id":"1","status":408,"reason":"Request Timeout"}` {
		t.Errorf("%d pending, %d frames, %s", len(s.pending), len(c.frames), c.last())
	}
	c.backlog = maxBacklog + 1
	msg, _ := wire.Parse([]byte(strings.ReplaceAll(fmt.Sprintf(message[1:], "Content-Type: text/plain\n", 1, "x"), "\n", "\r\n")))
	if err := s.serveMessage(msg.(*wire.Request)); err == nil || err.Code != 480 {
		t.Errorf("a page that does not read: %v", err)
	}
}

// A registration is refreshed, its end is told, and a server that asks for longer ones gets them. RFC 3261, 10.2.4 and 10.2.8
func TestRegistration(t *testing.T) {
	r := newRig(t)
	s := newSession(r.Gateway, r.page(alice), flowID)
	c := &recorder{}
	s.channel = c
	answer := func(code int, fields ...string) {
		t.Helper()
		req := take(t, "a REGISTER", r.registers)
		res := wire.NewResponse(req, code, "", "r")
		for i := 0; i < len(fields); i += 2 {
			wire.Add(res, fields[i], strings.ReplaceAll(fields[i+1], "OURS", "<"+s.contact()+">"))
		}
		s.receive(wire.Append(nil, res))
	}
	r.register = func(*wire.Request) *wire.Response { return nil }
	now := time.Now()
	s.sendRegister(s.expires)
	answer(423, "Min-Expires", "1800")
	if s.expires != 1800*time.Second {
		t.Errorf("asks for %v", s.expires)
	}
	answer(200, "Contact", "<sip:x@192.0.2.1>;expires=10, OURS;expires=900")
	if in := s.register.Sub(now); in < 440*time.Second || in > 460*time.Second || c.last() != `{"user":"sip:alice@example.org"}` {
		t.Errorf("again after %v; %s", in, c.last())
	}
	s.tick(now.Add(460 * time.Second))
	answer(503)
	if in := s.register.Sub(now); in < later-time.Second || in > later+time.Minute || c.last() != `{"status":503,"reason":"Service Unavailable"}` {
		t.Errorf("again after %v; %s", in, c.last())
	}
	s.tick(now.Add(500 * time.Second))
	answer(403)
	if !s.register.IsZero() || c.last() != `{"status":403,"reason":"Forbidden"}` {
		t.Errorf("again at %v; %s", s.register, c.last())
	}
	r.valid.Store(false)
	s.tick(now)
	select {
	case <-s.stop:
	default:
		t.Error("the session outlives the account")
	}
}

// recorder is a channel that keeps what is said.
type recorder struct {
	frames  []string
	backlog uint64
}

func (c *recorder) ReadDataChannel([]byte) (int, bool, error) { select {} }
func (c *recorder) BufferedAmount() uint64                    { return c.backlog }
func (c *recorder) last() string                              { return c.frames[len(c.frames)-1] }
func (c *recorder) WriteDataChannel(b []byte, _ bool) (int, error) {
	c.frames = append(c.frames, string(b))
	return len(b), nil
}

// A page that crashes says nothing: its checks cease, and everything is given back. RFC 7675, 5.1
func TestCrash(t *testing.T) {
	r := newRig(t)
	var b *browser
	var flow transport.Flow
	for silence := time.Second; flow == nil; silence *= 2 {
		if silence > patience/3 {
			t.Fatal("no page stays until it crashes")
		}
		r.times.silence, r.times.gone = silence, 2*silence
		b, flow = r.speaking()
	}
	lost := make(chan error, 1)
	flow.OnClose(func(err error) { lost <- err })
	b.crash()
	if err := take(t, "the end of the flow", lost); err == nil {
		t.Error("no reason")
	}
	r.empty()
	flow.OnClose(func(err error) { lost <- err })
	take(t, "at once", lost)
}

// An offer that leads to nothing is forgotten; a channel of another name, or a second one, ends the session.
func TestNoChannel(t *testing.T) {
	r := newRig(t)
	for _, name := range [][2]string{{"chat", channelName}, {channelName, "msrp"}, {channelName, ""}} {
		b := newBrowser(t, name[0], name[1])
		b.connect(r, alice)
		take(t, "the end of the channel", b.closed)
		r.empty()
	}
	b, _ := connected(t, r)
	protocol := channelName
	if _, err := b.pc.CreateDataChannel(channelName, &dataChannelInit{Protocol: &protocol}); err != nil {
		t.Fatal(err)
	}
	take(t, "the end of the channel", b.closed)
	r.empty()
	r.times.open = 50 * time.Millisecond
	if _, err := r.Open(t.Context(), r.page(alice), newBrowser(t, channelName, channelName).offer()); err != nil {
		t.Fatal(err)
	}
	r.empty()
}

// A user has so many sessions and no more; a gateway that closes sends all away and takes none. Offers are read with care.
func TestOpen(t *testing.T) {
	r := newRig(t)
	offer := newBrowser(t, channelName, channelName).offer()
	open := func(user wire.AOR, offer string) int {
		_, err := r.Open(t.Context(), r.page(user), []byte(offer))
		var e *wire.Error
		if errors.As(err, &e) {
			return e.Code
		}
		if err != nil {
			t.Error(err)
		}
		return 200
	}
	for i := range maxOfUser {
		if code := open(alice, string(offer)); code != 200 {
			t.Fatalf("session %d: %d", i, code)
		}
	}
	if code := open(alice, string(offer)); code != 429 {
		t.Errorf("one too many: %d", code)
	}
	if code := open(wire.AOR{User: "bob", Host: "example.org"}, string(offer)); code != 200 {
		t.Errorf("another user: %d", code)
	}
	for name, text := range map[string]string{
		"nothing":        "",
		"no fingerprint": strings.ReplaceAll(string(offer), "a=fingerprint", "a=x"),
		"audio":          strings.ReplaceAll(string(offer), "m=application", "m=audio"),
		"two":            string(offer) + "m=audio 9 RTP/AVP 0\r\n",
		"none":           "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
		"no ICE":         strings.ReplaceAll(string(offer), "a=ice", "a=x"),
	} {
		if code := open(wire.AOR{User: "carol", Host: "example.org"}, text); code != 400 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if n := r.Len(); n != maxOfUser+1 {
		t.Errorf("%d sessions", n)
	}
	r.Close()
	if code := open(alice, string(offer)); code != 503 || r.Len() != 0 {
		t.Errorf("after the end: %d, %d sessions", code, r.Len())
	}
}

// Frames are JSON, one message each, and cannot write header fields.
func TestFrames(t *testing.T) {
	for text, code := range map[string]int{
		`{"to":"sip:bob@example.org","text":"x"}`:                    0,
		`{"to":"sips:bob@[2001:db8::1]:5061;p","text":"x","id":"1"}`: 0,
		`{"to":"tel:+1","text":"x"}`:                                 416,
		`{"to":"bob","text":"x"}`:                                    400,
		`{"to":"sip:bob@example.org?Route=x","text":"x"}`:            400,
		`{"to":"sip:bob@example.org\r\nRoute: <sip:x>","text":"x"}`:  400,
		`{"to":"sip:bob@example.org>;tag=1","text":"x"}`:             400,
		`{"to":"sip:bob@example.org","text":""}`:                     400,
		`{"to":"sip:bob@example.org","text":"x","From":"sip:x@y"}`:   400,
		`{"to":"sip:bob@example.org","text":"x"}{}`:                  400,
		`[]`: 400,
		``:   400,
		"{\"to\":\"sip:bob@example.org\",\"text\":\"\xff\"}":                      400,
		`{"to":"sip:` + strings.Repeat("b", maxURI) + `@x","text":"x"}`:           400,
		`{"to":"sip:b@x","text":"x","id":"` + strings.Repeat("1", maxID+1) + `"}`: 400,
	} {
		_, _, err := readFrame([]byte(text))
		if got := 0; err != nil && err.Code != code || err == nil && got != code {
			t.Errorf("%s: %v, want %d", text, err, code)
		}
	}
}

// Whatever a page writes, what comes of it is one MESSAGE from its user that fits into a datagram, with the text as it was. RFC 3428, 8
func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"to":"sip:bob@example.org","text":"hello","id":"1"}`))
	f.Add([]byte(`{"to":"sip:bob@example.org;x=\"y\"?a=b","text":"\u0000\r\n\r\n","id":"\u2028"}`))
	s := newSession(&Gateway{}, Page{User: alice}, flowID)
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, to, refused := readFrame(b)
		if refused != nil {
			if refused.Code < 400 {
				t.Errorf("refused with %d", refused.Code)
			}
			return
		}
		req, refused := s.message(frame, to)
		if refused != nil {
			return
		}
		if n := len(req.Headers()); req.Method != "MESSAGE" || req.URI.Raw != frame.To || req.From.URI.Raw != "sip:alice@example.org" || string(req.Body()) != frame.Text || n != 9 {
			t.Errorf("%d header fields\n%s", n, req)
		}
	})
}

// Whatever comes for a page, it is answered once at most, and what the page gets is a frame. RFC 3261, 8.2
func FuzzReceive(f *testing.F) {
	for _, body := range []string{"x", ""} {
		f.Add([]byte(strings.ReplaceAll(fmt.Sprintf(message[1:], "Content-Type: text/plain\n", len(body), body), "\n", "\r\n")))
	}
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/WSS x;branch=z9hG4bKq\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nContact: <sip:page@x>;expires=1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &rig{t: t, responses: make(chan *wire.Response, 10), requests: make(chan received, 10), registers: make(chan *wire.Request, 10)}
		r.register = func(*wire.Request) *wire.Response { return nil }
		s := newSession(&Gateway{receiver: r}, Page{User: alice}, flowID)
		c := &recorder{}
		s.channel = c
		s.pending["z9hG4bKq"] = pending{register: true}
		s.receive(b)
		if len(r.responses) > 1 || len(c.frames) > 1 || len(r.registers) > 1 {
			t.Errorf("%d responses, %q", len(r.responses), c.frames)
		}
		for _, frame := range c.frames {
			if !json.Valid([]byte(frame)) {
				t.Errorf("%q", frame)
			}
		}
	})
}

// Of an offer no address is left, whatever it is. hardening 66
func FuzzOffer(f *testing.F) {
	f.Add([]byte("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=sctp-port:5000\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		clean, err := readOffer(b)
		if err == nil && (strings.Contains(clean, "\na=candidate:") || strings.Count("\n"+clean, "\nm=") != 1) {
			t.Errorf("%q", clean)
		}
	})
}
