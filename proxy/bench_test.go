package proxy

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
)

// bench is a world with a caller and a callee that answer on bytes: what is measured is the server's part of a call, from the bytes received to
// the bytes sent, on the real transaction layer.
type bench struct {
	*world
	alice *phone
	heard map[netip.AddrPort][][]byte
}

const benchSDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"

func newBench(b testing.TB, phones int) *bench {
	s := &bench{world: newWorld(b), heard: map[netip.AddrPort][][]byte{}}
	b.Cleanup(s.layer.Close)
	s.alice = s.user("alice", "192.0.2.1:5060", wire.UDP)
	for i := range phones {
		s.user("bob", fmt.Sprintf("192.0.2.%d:5060", 11+i), wire.UDP)
	}
	s.ear = func(f *flow, text []byte) { s.heard[f.id.Remote] = append(s.heard[f.id.Remote], text) }
	return s
}

// receive gives bytes to the layer as transport does.
func (s *bench) receive(p *phone, text []byte) {
	m, err := wire.Parse(text)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, text)
	}
	switch m := m.(type) {
	case *wire.Request:
		s.layer.ReceiveRequest(p.flow, m)
	case *wire.Response:
		s.layer.ReceiveResponse(p.flow, m)
	}
}

// hear returns what the phone heard last, which must start like that, and forgets the rest.
func (s *bench) hear(p *phone, start string) []byte {
	list := s.heard[p.addr]
	if len(list) == 0 || !bytes.HasPrefix(list[len(list)-1], []byte(start)) {
		s.t.Fatalf("%s hears %q, want %s", p.name, list, start)
	}
	last := list[len(list)-1]
	s.heard[p.addr] = list[:0]
	return last
}

// template is a message with a place for the number of the call.
type template [][]byte

func templateOf(text string) template { return bytes.Split([]byte(text), []byte("NUMBER")) }

func (t template) fill(n int) []byte {
	return bytes.Join(t, strconv.AppendInt(nil, int64(10_000_000+n), 10))
}

// respond makes a response of a forwarded request.
func respond(request []byte, code string) []byte {
	_, head, _ := bytes.Cut(request, []byte("\r\n"))
	head, _, _ = bytes.Cut(head, []byte("\r\n\r\n"))
	before, after, _ := bytes.Cut(head, []byte("Content-Length: "))
	_, after, _ = bytes.Cut(after, []byte("\r\n"))
	res := append([]byte("SIP/2.0 "+code+"\r\n"), before...)
	res = append(res, after...)
	return append(bytes.Replace(res, []byte("@example.org>\r\nCall-ID"), []byte("@example.org>;tag=b\r\nCall-ID"), 1), "\r\n\r\n"...)
}

func numbered(text string) template {
	text = strings.Replace(text, "z9hG4bKalice", "z9hG4bK-524287-1---NUMBER", 1)
	return templateOf(strings.Replace(text, "call1@", "84b4c76e66710-NUMBER@", 1))
}

// A MESSAGE with credentials and its 200: parse, match, admit, look up, copy, write; parse, match, write.
func BenchmarkForward(b *testing.B) {
	s := newBench(b, 1)
	bob := s.phones[netip.MustParseAddrPort("192.0.2.11:5060")]
	message := numbered(s.alice.request("MESSAGE", "sip:bob@example.org", ":Hello"))
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		s.receive(s.alice, message.fill(n))
		s.receive(bob, respond(s.hear(bob, "MESSAGE"), "200 OK"))
		s.hear(s.alice, "SIP/2.0 200")
	}
}

// The copy alone, without the transaction layer.
func BenchmarkCopy(b *testing.B) {
	s := newBench(b, 1)
	req := parse(b, s.alice.request("INVITE", "sip:bob@example.org", ":"+benchSDP)).(*wire.Request)
	to, _ := s.Dial(wire.Hop{Proto: wire.UDP, Addr: netip.MustParseAddrPort("192.0.2.11:5060")})
	c := &call{p: s.proxy, req: req, uri: req.URI}
	c.facts, c.vias = survey(req.Headers())
	c.tx = &transaction.Server{Request: req, Flow: s.alice.flow}
	br := &branch{c: c, t: &target{uri: uri("sip:bob@192.0.2.11:5060"), flow: to.ID(), direct: true}, breadth: 60}
	room := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		wire.Append(room, br.copy(to))
	}
}

// caller makes whole calls: INVITE with credentials, 180, 200, ACK, BYE, 200; the losing branches are cancelled.
type caller struct {
	*bench
	bobs             []*phone
	invite, ack, bye template
}

func newCaller(tb testing.TB, phones int) *caller {
	c := &caller{bench: newBench(tb, phones)}
	for i := range phones {
		c.bobs = append(c.bobs, c.phones[netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:5060", 11+i))])
	}
	inDialog := func(method string) template {
		text := c.alice.request(method, "sip:bob@192.0.2.11:5060", "To: <sip:bob@example.org>;tag=b", "Proxy-Authorization:-", "Route: ROUTE")
		return numbered(strings.Replace(text, "z9hG4bKalice", "z9hG4bKalice"+method, 1))
	}
	c.invite = numbered(c.alice.request("INVITE", "sip:bob@example.org", ":"+benchSDP))
	c.ack, c.bye = inDialog("ACK"), inDialog("BYE")
	return c
}

func (c *caller) call(n int) {
	c.receive(c.alice, c.invite.fill(n))
	first := c.hear(c.bobs[0], "INVITE")
	_, route, _ := bytes.Cut(first, []byte("\r\nRecord-Route: "))
	route, _, _ = bytes.Cut(route, []byte("\r\n"))
	for _, p := range c.bobs[1:] {
		loser := c.hear(p, "INVITE")
		c.receive(p, respond(loser, "180 Ringing"))
		c.heard[p.addr] = append(c.heard[p.addr], loser)
	}
	c.receive(c.bobs[0], respond(first, "180 Ringing"))
	c.hear(c.alice, "SIP/2.0 180")
	c.receive(c.bobs[0], respond(first, "200 OK"))
	c.hear(c.alice, "SIP/2.0 200")
	for _, p := range c.bobs[1:] {
		loser := c.heard[p.addr][0]
		c.receive(p, respond(c.hear(p, "CANCEL"), "200 OK"))
		c.receive(p, respond(loser, "487 Request Terminated"))
		c.hear(p, "ACK")
	}
	c.receive(c.alice, bytes.Replace(c.ack.fill(n), []byte("ROUTE"), route, 1))
	c.hear(c.bobs[0], "ACK")
	c.receive(c.alice, bytes.Replace(c.bye.fill(n), []byte("ROUTE"), route, 1))
	c.receive(c.bobs[0], respond(c.hear(c.bobs[0], "BYE"), "200 OK"))
	c.hear(c.alice, "SIP/2.0 200")
}

func BenchmarkInviteFork1(b *testing.B) { benchmarkCalls(b, 1) }
func BenchmarkInviteFork4(b *testing.B) { benchmarkCalls(b, 4) }

func benchmarkCalls(b *testing.B, phones int) {
	c := newCaller(b, phones)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		c.call(n)
	}
}

// hardening 55: a call that is over costs at most 1 KB for each of its four transactions while the layer keeps them.
func TestHardening55Memory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	synctest.Test(t, func(t *testing.T) { // no time passes, so nothing is forgotten meanwhile
		c := newCaller(t, 1)
		used := func() int64 {
			runtime.GC()
			runtime.GC() // what lay in a pool of an earlier test goes with the second one
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		const calls, most = 2000, 4 << 10
		before := used()
		for n := range calls {
			c.call(n)
		}
		if each := (used() - before) / calls; each > most {
			t.Errorf("%d bytes a call, at most %d", each, most)
		}
		if n := c.layer.Counts(); n.Servers != 2*calls || n.Clients != 2*calls {
			t.Errorf("%+v", n)
		}
	})
}
