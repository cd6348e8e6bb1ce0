package echo

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/media"
	"signalbox/media/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// caller is a phone on a flow in memory, in front of a service on the real transaction layer.
type caller struct {
	t       *testing.T
	service *Service
	layer   *transaction.Layer
	heard   chan wire.Message
	seq     int
}

func (c *caller) ServeSIP(tx *transaction.Server) error { return c.service.ServeSIP(tx) }

func newCaller(t *testing.T, timeout time.Duration) *caller {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := uint16(l.LocalAddr().(*net.UDPAddr).Port) &^ 1
	l.Close()
	engine, err := media.New(media.Config{Ports: udp.Range{First: min(first, 65000), Last: min(first, 65000) + 99}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{t: t, heard: make(chan wire.Message, 100)}
	c.layer = transaction.New(transaction.Config{Handler: c})
	c.service = New(Config{Media: engine, Layer: c.layer, Side: func(transport.Flow) media.Side {
		return media.Side{Kind: media.Phone, Source: netip.MustParseAddr("127.0.0.1"), Local: netip.MustParseAddr("127.0.0.1")}
	}})
	t.Cleanup(func() {
		c.service.Close()
		if n := c.service.Len(); n != 0 || engine.Sessions() != 0 {
			t.Errorf("%d calls and %d sessions are left", n, engine.Sessions())
		}
		engine.Close()
		c.layer.Close()
	})
	return c
}

// caller is the flow, too.
func (c *caller) ID() wire.FlowID {
	return wire.FlowID{Proto: wire.TCP, Local: netip.MustParseAddrPort("192.0.2.100:5060"), Remote: netip.MustParseAddrPort("192.0.2.1:4000"), Serial: 1}
}
func (c *caller) SentBy() netip.AddrPort            { return c.ID().Local }
func (c *caller) OnClose(func(error)) (stop func()) { return func() {} }
func (c *caller) Send(b []byte) error {
	m, err := wire.Parse(b)
	if err != nil {
		c.t.Errorf("%v\n%s", err, b)
		return nil
	}
	c.heard <- m
	return nil
}

func (c *caller) sends(method, to string, body string, lines ...string) {
	c.t.Helper()
	c.seq++
	c.numbered(c.seq, method, to, body, lines...)
}

func (c *caller) numbered(seq int, method, to string, body string, lines ...string) {
	c.t.Helper()
	if body != "" {
		lines = append(lines, "Content-Type: application/sdp")
	}
	text := fmt.Sprintf("%s sip:echo@example.org SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:4000;branch=z9hG4bK%d%s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.org>;tag=alice\r\nTo: %s\r\nCall-ID: call\r\n"+
		"CSeq: %d %s\r\nContact: <sip:alice@192.0.2.1:4000;transport=tcp>\r\nRecord-Route: <sip:192.0.2.50;lr>\r\n%sContent-Length: %d\r\n\r\n%s",
		method, c.seq, method, to, seq, method, strings.Join(append(lines, ""), "\r\n"), len(body), body)
	m, err := wire.Parse([]byte(text))
	if err != nil {
		c.t.Fatalf("%v\n%s", err, text)
	}
	c.layer.ReceiveRequest(c, m.(*wire.Request))
}

// hears takes the next message: a method, or a status code and a method.
func (c *caller) hears(want string) wire.Message {
	c.t.Helper()
	select {
	case m := <-c.heard:
		got := ""
		switch m := m.(type) {
		case *wire.Request:
			got = string(m.Method)
		case *wire.Response:
			got = fmt.Sprintf("%d %s", m.StatusCode, m.CSeq.Method)
		}
		if got != want {
			c.t.Fatalf("hears %s, want %s", got, want)
		}
		return m
	case <-time.After(patience):
		c.t.Fatalf("hears nothing, want %s", want)
		panic("unreachable")
	}
}

const (
	echoURI = "<sip:echo@example.org>"
	offer   = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
)

// RFC 3261, 12 and 13.3.1.4: the call is answered at once; the 200 is repeated until its ACK, over TCP too. RFC 3261, 14.2: hold and resume. RFC 3261, 15.1.2: the BYE ends it.
func TestCall(t *testing.T) {
	c := newCaller(t, 0)
	c.sends("INVITE", echoURI, offer)
	ok := c.hears("200 INVITE").(*wire.Response)
	if !strings.Contains(string(ok.Body()), "m=audio") || wire.Get(ok, "Contact") != "<sip:echo@192.0.2.100:5060;transport=tcp>" || wire.Get(ok, "Record-Route") != "<sip:192.0.2.50;lr>" {
		t.Errorf("200:\n%s", ok)
	}
	again := c.hears("200 INVITE").(*wire.Response)
	if again.String() != ok.String() {
		t.Errorf("the 200 is repeated as\n%s", again)
	}
	to := ok.To.Raw
	c.numbered(1, "ACK", to, "")
	c.sends("INVITE", to, strings.Replace(offer, "t=0 0\r\n", "t=0 0\r\na=sendonly\r\n", 1))
	if held := c.hears("200 INVITE"); !strings.Contains(string(held.Body()), "a=recvonly") {
		t.Errorf("hold:\n%s", held.Body())
	}
	c.numbered(2, "ACK", to, "")
	c.sends("UPDATE", to, offer)
	c.hears("200 UPDATE")
	c.sends("INFO", to, "")
	c.hears("200 INFO")
	c.sends("MESSAGE", to, "")
	c.hears("405 MESSAGE")
	c.seq++
	c.numbered(c.seq-2, "BYE", to, "") // RFC 3261, 12.2.2: overtaken, or somebody's guess
	c.hears("500 BYE")
	c.sends("BYE", to, "")
	c.hears("200 BYE")
	c.sends("BYE", to, "")
	c.hears("481 BYE") // RFC 3261, 12.2.2
}

// RFC 3261, 13.3 and 13.3.1.3: what cannot be answered is refused with the reason.
func TestRefused(t *testing.T) {
	c := newCaller(t, 0)
	for _, tt := range []struct {
		method, body, line, want string
	}{
		{"INVITE", "", "Subject: no offer", "488 INVITE"},
		{"INVITE", "v=0\r\nm=audio 1 RTP/AVP 97\r\n", "Subject: nothing known", "488 INVITE"},
		{"INVITE", "hello", "Subject: no description", "400 INVITE"},
		{"INVITE", offer, "Require: 100rel", "420 INVITE"}, // RFC 3261, 8.2.2.3
		{"MESSAGE", "", "Subject: hi", "405 MESSAGE"},
		{"OPTIONS", "", "Subject: who are you", "200 OPTIONS"},
	} {
		c.sends(tt.method, echoURI, tt.body, tt.line)
		c.hears(tt.want)
		if tt.method == "INVITE" {
			c.numbered(c.seq, "ACK", echoURI, "")
		}
	}
}

// A caller who falls silent gets a BYE. RFC 3261, 15.1.1
func TestSilentCaller(t *testing.T) {
	c := newCaller(t, 200*time.Millisecond)
	c.sends("INVITE", echoURI, offer)
	ok := c.hears("200 INVITE").(*wire.Response)
	c.numbered(1, "ACK", ok.To.Raw, "")
	bye := c.hears("BYE").(*wire.Request)
	if bye.From.Tag != ok.To.Tag || bye.To.Tag != "alice" || bye.URI.Raw != "sip:alice@192.0.2.1:4000;transport=tcp" || wire.Get(bye, "Route") != "<sip:192.0.2.50;lr>" {
		t.Errorf("BYE:\n%s", bye)
	}
}
