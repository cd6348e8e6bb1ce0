package interop

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// The ends that a bridged call can have, in the order in which the pages of TestTenThousandCalls go through them.
const (
	endCancelled = iota // while it rings
	endRefused
	endUnusable // the phone answers with a format that the page does not have
	endPage     // the page hangs up
	endPhone    // the phone does
	endReload   // the page goes away, and nobody says BYE
	ends
)

// 10,000 calls between pages and phones, through the media bridge, ended in all ways there are: by CANCEL, refusal, a useless answer, the BYE of either side, and a
// page that is gone with its phone. When they are over nothing is left of them: no call, no socket, no file, no goroutine, no memory.
func TestTenThousandCalls(t *testing.T) {
	const total, workers = 10_000, 4
	t.Parallel() // most of its time it waits for the end of transactions
	var users []string
	for i := range workers {
		users = append(users, fmt.Sprintf("page%d", i), fmt.Sprintf("desk%d", i))
	}
	s := prepareVictim(t, "", "[media]\nrtp = \"21000-23999\"\ntimeout = 5\n", users...)
	s.env = []string{"GOGC=5"} // what is in use, not what the collector has left lying about
	s.start()
	crowd := make([]*caller, workers)
	for i := range crowd {
		crowd[i] = newCaller(t, s, i)
	}
	run := func(calls int) {
		var all sync.WaitGroup
		for _, c := range crowd {
			all.Go(func() {
				for n := range calls / workers {
					c.call(n % ends)
				}
			})
		}
		all.Wait()
		s.settles("calls", func() bool {
			m := s.media()
			return m.Calls == 0 && m.Sockets == 0 && s.status().Kept == 0
		})
	}
	run(total / 2) // what the program keeps for its next calls is there from now on
	before, files, memory := s.status(), s.files(), s.rss()
	run(total / 2)
	if m := s.media(); m.CallsTotal < total*9/10 || m.SilentTotal < total/ends/2 {
		t.Errorf("%d calls were bridged, %d of them fell silent", m.CallsTotal, m.SilentTotal)
	}
	s.bounded("goroutines", before.Goroutines, s.status().Goroutines, 10)
	s.bounded("files", files, s.files(), 10)
	s.bounded("KB", memory, s.rss(), 20<<10) // 4 KB a call: one that is left has 20
}

// media is what the program says of its bridge.
func (s *victim) media() (m struct {
	Calls, Sockets int
	CallsTotal     int `json:"calls_total"`
	SilentTotal    int `json:"silent_total"`
}) {
	st := struct{ Media any }{&m}
	s.api("/v1/status", &st)
	return m
}

// caller is a page without a browser, and the phone that it calls.
type caller struct {
	t      *testing.T
	s      *victim
	number int
	calls  int
	*ua    // the page's
	desk   *net.UDPConn
	hangup chan string // for the phone: the call to end
}

func newCaller(t *testing.T, s *victim, number int) *caller {
	c := &caller{t: t, s: s, number: number, hangup: make(chan string)}
	c.load()
	phone := s.dial("udp", fmt.Sprintf("desk%d", number))
	if res := phone.ask("REGISTER", "sip:"+domain, "Expires: 3600"); res.code() != 200 {
		t.Fatal(res.start)
	}
	c.desk = phone.conn.(*net.UDPConn)
	_ = c.desk.SetReadDeadline(time.Time{})
	go c.serve()
	return c
}

// load opens the page, or opens it anew.
func (c *caller) load() {
	c.t.Helper()
	if c.ua != nil {
		c.ua.conn.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, c.s.url("ws"), &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		c.t.Fatal(err)
	}
	conn := websocket.NetConn(context.Background(), ws, websocket.MessageText)
	c.t.Cleanup(func() { conn.Close() })
	c.ua = &ua{t: c.t, user: fmt.Sprintf("page%d", c.number), proto: "ws", conn: conn, in: bufio.NewReader(conn), seen: map[string]bool{}}
}

// pageOffer is what Chromium offers, as far as it counts; nobody is behind it.
const pageOffer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:0\r\na=sendrecv\r\n" +
	"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB\r\n" +
	"a=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:126 telephone-event/8000\r\n"

// call makes one call that ends that way.
func (c *caller) call(end int) {
	c.calls++
	id := fmt.Sprintf("%d.%d.%d", end, c.number, c.calls)
	uri := fmt.Sprintf("sip:desk%d@%s", c.number, domain)
	fields := []string{"To: <" + uri + ">", "Call-ID: " + id, "Contact: <sip:page@page.invalid;transport=ws>", "Content-Type: application/sdp"}
	invite := c.request("INVITE", uri, fields...)
	invite.set("Via", fmt.Sprintf("SIP/2.0/WS page.invalid;branch=z9hG4bK%s.%d", id, c.cseq))
	invite.body = pageOffer
	challenge := c.final(invite)
	c.ack(invite, challenge)
	c.cseq++
	invite.set("Proxy-Authorization", c.answer(challenge.get("Proxy-Authenticate"), "INVITE", uri))
	invite.set("CSeq", fmt.Sprint(c.cseq, " INVITE"))
	invite.set("Via", fmt.Sprintf("SIP/2.0/WS page.invalid;branch=z9hG4bK%s.%d", id, c.cseq))
	res := c.final(invite)
	want := map[int]int{endCancelled: 487, endRefused: 486, endUnusable: 488}[end]
	if want != 0 {
		c.ack(invite, res)
	} else {
		want = 200
	}
	if res.code() != want {
		c.t.Fatalf("%s: %s, want %d", id, res.start, want)
	}
	if want != 200 {
		return
	}
	c.within("ACK", invite, res)
	switch end {
	case endPage:
		if bye := c.final(c.within("BYE", invite, res)); bye.code() != 200 {
			c.t.Fatalf("%s: BYE: %s", id, bye.start)
		}
	case endPhone:
		c.hangup <- id
		for over := ""; over != id; {
			over = c.await("BYE", 10*time.Second).get("Call-ID") // of a call that a reload left, perhaps
		}
	case endReload:
		c.load()
	}
}

// final sends a request and waits for its final response; a call that rings and is to be cancelled is.
func (c *caller) final(m *sip) *sip {
	c.send(m)
	for {
		got := c.read(20 * time.Second)
		switch {
		case !got.isResponse():
			c.early = append(c.early, got)
		case got.get("Call-ID") != m.get("Call-ID") || got.get("CSeq") != m.get("CSeq"):
		case got.code() == 180:
			cancel := &sip{start: strings.Replace(m.start, "INVITE", "CANCEL", 1)}
			for _, f := range m.fields {
				switch f[0] {
				case "Via", "Max-Forwards", "From", "To", "Call-ID":
					cancel.fields = append(cancel.fields, f)
				}
			}
			cancel.set("CSeq", strings.Replace(m.get("CSeq"), "INVITE", "CANCEL", 1))
			c.send(cancel)
		case got.code() >= 200:
			return got
		}
	}
}

// ack is the ACK to a refusal. RFC 3261, 17.1.1.3
func (c *caller) ack(invite, res *sip) {
	m := &sip{start: strings.Replace(invite.start, "INVITE", "ACK", 1)}
	for _, name := range []string{"Via", "Max-Forwards", "From", "Call-ID"} {
		m.set(name, invite.get(name))
	}
	m.set("To", res.get("To"))
	m.set("CSeq", strings.Replace(invite.get("CSeq"), "INVITE", "ACK", 1))
	c.send(m)
}

// within sends a request in the dialog that an answer began. RFC 3261, 12.2.1.1
func (c *caller) within(method string, invite, res *sip) *sip {
	_, uri, _ := strings.Cut(res.get("Contact"), "<")
	uri, _, _ = strings.Cut(uri, ">")
	m := &sip{start: method + " " + uri + " SIP/2.0"}
	cseq := c.cseq
	if method != "ACK" {
		c.cseq++
		cseq = c.cseq
	}
	m.fields = [][2]string{
		{"Via", fmt.Sprintf("SIP/2.0/WS page.invalid;branch=z9hG4bK%s%s", method, invite.get("Call-ID"))}, {"Max-Forwards", "70"}, {"From", invite.get("From")}, {"To", res.get("To")},
		{"Call-ID", invite.get("Call-ID")}, {"CSeq", fmt.Sprint(cseq, " ", method)},
	}
	for i := len(res.fields) - 1; i >= 0; i-- {
		if res.fields[i][0] == "Record-Route" {
			m.fields = append(m.fields, [2]string{"Route", res.fields[i][1]})
		}
	}
	if method == "ACK" {
		c.send(m)
	}
	return m
}

// serve is the phone: what it does with a call says the call's name.
func (c *caller) serve() {
	var mu sync.Mutex
	invites := map[string]message{}
	go func() {
		for id := range c.hangup {
			mu.Lock()
			invite := invites[id]
			mu.Unlock()
			c.say(bye(invite, c.desk))
		}
	}()
	b := make([]byte, 65536)
	for {
		n, err := c.desk.Read(b)
		if err != nil {
			return
		}
		m := parseMessage(string(b[:n]))
		end := int(m.get("Call-ID")[0] - '0')
		switch m.method {
		case "INVITE":
			mu.Lock()
			invites[m.get("Call-ID")] = m
			mu.Unlock()
			switch end {
			case endCancelled:
				c.say(reply(m, 180, "", c.desk))
			case endRefused:
				c.say(reply(m, 486, "", c.desk))
			case endUnusable:
				c.say(reply(m, 200, "18", c.desk))
			default:
				c.say(reply(m, 200, "0", c.desk))
			}
		case "CANCEL":
			c.say(reply(m, 200, "", c.desk))
			mu.Lock()
			c.say(reply(invites[m.get("Call-ID")], 487, "", c.desk))
			mu.Unlock()
		case "ACK":
			if end == endCancelled || end == endRefused {
				mu.Lock()
				delete(invites, m.get("Call-ID"))
				mu.Unlock()
			}
		case "BYE", "OPTIONS":
			c.say(reply(m, 200, "", c.desk))
		}
	}
}

func (c *caller) say(text string) { _, _ = c.desk.Write([]byte(text)) }

// reply is a response of the phone; format is of its sound, "" for none.
func reply(m message, code int, format string, at *net.UDPConn) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d Reply\r\n", code)
	for _, name := range []string{"Via", "Record-Route", "From"} {
		for _, v := range m.all(name) {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	to := m.get("To")
	if !strings.Contains(to, "tag=") {
		to += ";tag=desk"
	}
	fmt.Fprintf(&b, "To: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:desk@%s>\r\n", to, m.get("Call-ID"), m.get("CSeq"), at.LocalAddr())
	body := ""
	if format != "" {
		body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP " + format + "\r\n"
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

// bye is the phone's.
func bye(invite message, at *net.UDPConn) string {
	routes := ""
	for _, r := range invite.all("Record-Route") {
		routes += "Route: " + r + "\r\n"
	}
	return fmt.Sprintf("BYE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKbye%s\r\nMax-Forwards: 70\r\nFrom: %s;tag=desk\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 BYE\r\n%sContent-Length: 0\r\n\r\n",
		target(invite), at.LocalAddr(), invite.get("Call-ID"), invite.get("To"), invite.get("From"), invite.get("Call-ID"), routes)
}
