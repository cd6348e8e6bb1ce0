package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"signalbox/internal/wire"
)

// RFC 3261, 18.2.1 and 18.2.2; RFC 3581, 4: received and rport are there before the receiver sees the request, and the answer leaves from the
// address and port that was asked, to the port the Via asks for.
// RFC 3261, 18: requests and responses over UDP.
func TestUDPRequest(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		t.Run(listen, func(t *testing.T) {
			tr, r := begin(t, Config{UDP: []string{listen}})
			for i := range tr.Addrs() {
				to := addr(tr, i)
				if to.Addr().IsUnspecified() {
					loopback := map[bool]string{true: "127.0.0.1", false: "::1"}[to.Addr().Is4()]
					to = netip.AddrPortFrom(netip.MustParseAddr(loopback), to.Port())
				}
				p := dialPhone(t, "udp", to) // connected: takes answers from this address only
				p.say(request("SIP/2.0/UDP phone.invalid;branch=z9hG4bK1;rport", "1"))
				h := r.next(t)
				if got := h.req.Via; got.Received != p.local().Addr().String() || got.RPort != int(p.local().Port()) {
					t.Errorf("received %q rport %d, from %s", got.Received, got.RPort, p.local())
				}
				if want := (wire.FlowID{Proto: wire.UDP, Local: to, Remote: p.local()}); h.flow.ID() != want {
					t.Errorf("flow %v, want %v", h.flow.ID(), want)
				}
				if by := h.flow.SentBy(); by != to {
					t.Errorf("sent-by %s, want %s", by, to)
				}
				if got := p.datagram(); status(got) != "200" {
					t.Errorf("got %q", got)
				}
				if f, ok := tr.Find(h.flow.ID()); !ok || f.ID() != h.flow.ID() {
					t.Error("Find does not find the flow")
				} else if err := f.Send([]byte("again")); err != nil || p.datagram() != "again" {
					t.Error("the flow found does not lead to the phone", err)
				}
			}
		})
	}
}

// A listener on all addresses answers from the one that was asked, which need not be the one the kernel would choose.
func TestUDPAnswersFromTheAddressAsked(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"0.0.0.0:0"}})
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), addr(tr, 0).Port())
	p := dialPhone(t, "udp", to)
	p.say(request(p.via(";rport"), "1"))
	if got := p.datagram(); status(got) != "200" {
		t.Errorf("got %q", got)
	}
}

// RFC 3261, 18.2.2: without rport the response goes to the port in sent-by, not to the one the request came from.
func TestUDPAnswersToSentBy(t *testing.T) {
	tr, r := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	listens := dialPhone(t, "udp", addr(tr, 0))
	sends := dialPhone(t, "udp", addr(tr, 0))
	sends.say(request(listens.via(""), "1"))
	if got := listens.datagram(); status(got) != "200" {
		t.Errorf("got %q", got)
	}
	// hardening 46: the flow is where the request came from, all the same.
	if h := r.next(t); h.flow.ID().Remote != sends.local() {
		t.Errorf("flow %v", h.flow.ID())
	}
}

// RFC 3261, 18.2.2: maddr in the Via leads the response to another address of the sender's network, and the port in sent-by; no other address is led to.
func TestUDPAnswersToMaddr(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	sends := dialPhone(t, "udp", addr(tr, 0))
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), sends.local().Port())))
	if err != nil {
		t.Fatal(err)
	}
	listens := newPhone(t, conn)
	sends.say(request(sends.via(";maddr=127.0.0.2"), "1"))
	if got := listens.datagram(); status(got) != "200" {
		t.Errorf("got %q", got)
	}
	sends.say(request(sends.via(";maddr=127.0.1.2"), "2"))
	if got := sends.datagram(); status(got) != "200" || callID(got) != "2" {
		t.Errorf("got %q", got)
	}
}

// RFC 3261, 18.1.2: a response whose top sent-by is not ours is silently discarded.
func TestForeignResponse(t *testing.T) {
	tr, r := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	response := func(via, id string) string {
		return "SIP/2.0 200 OK\r\nVia: " + via + "\r\nFrom: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.org>;tag=2\r\n" +
			"Call-ID: " + id + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
	}
	a := addr(tr, 0)
	p.say(response("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", "other host"))
	p.say(response(fmt.Sprintf("SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK1", a.Port()+1), "other port"))
	p.say(response(fmt.Sprintf("SIP/2.0/TCP %s;branch=z9hG4bK1", a), "other transport"))
	p.say(response("SIP/2.0/UDP example.org;branch=z9hG4bK1", "a name"))
	p.say(response(fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bK1", a), "ours"))
	if h := r.next(t); h.res == nil || h.res.CallID != "ours" {
		t.Errorf("passed on: %+v", h)
	}
}

// RFC 5626, 4.4.1: CRLF over UDP is no keep-alive and gets no answer; hardening 63: nor does broken STUN. A binding request does (RFC 5626, 8).
func TestUDPKeepAlives(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	for _, s := range []string{"\r\n\r\n", "\r\n", "\x00", "", "    ", string(binding("00"))} {
		p.say(s)
	}
	p.say(string(binding("")))
	if got := p.datagram(); !bytes.Equal([]byte(got), answerSTUN(binding(""), p.local(), true)) {
		t.Errorf("got %q", got)
	}
}

// RFC 5626, 4.4.2 and 5.4: whoever counts keep-alives hears of each, STUN or not, with the flow it came on; to one that is dead the answer is an error.
func TestUDPKeptAlive(t *testing.T) {
	kept := make(chan wire.FlowID, 4)
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}, KeptAlive: func(id wire.FlowID) bool { kept <- id; return false }})
	p := dialPhone(t, "udp", addr(tr, 0))
	p.say("\r\n")
	p.say(string(binding("")))
	if got := p.datagram(); !bytes.Equal([]byte(got), answerSTUN(binding(""), p.local(), false)) {
		t.Errorf("got %q", got)
	}
	for range 2 {
		if id := <-kept; id != (wire.FlowID{Proto: wire.UDP, Local: addr(tr, 0), Remote: p.local()}) {
			t.Errorf("heard of %v", id)
		}
	}
}

// An unparsable request is answered with the error's code to where it came from; a response, an ACK and a request without a Via never are; one whose Via is
// unreadable goes back to its source (RFC 4475, 3.1.2.1).
func TestUDPUnparsable(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	good := request(p.via(";rport"), "1")
	for _, s := range []string{
		"nonsense",
		strings.Replace(strings.ReplaceAll(good, "OPTIONS", "ACK"), "CSeq: 1", "CSeq: x", 1),
		strings.Replace(good, "Via: ", "Vya: ", 1),
		"SIP/2.0 999999 OK\r\n" + good,
	} {
		p.say(s)
	}
	p.say(strings.Replace(good, "SIP/2.0\r\n", "SIP/3.0\r\n", 1))
	if got := p.datagram(); status(got) != "505" || callID(got) != "1" {
		t.Errorf("got %q", got)
	}
	p.say(strings.Replace(good, "Via: ", "Via: @", 1))
	if got := p.datagram(); status(got) != "400" || callID(got) != "1" {
		t.Errorf("got %q", got)
	}
	p.say(strings.Replace(good, "CSeq: 1", "CSeq: x", 1))
	if got := p.datagram(); status(got) != "400" || callID(got) != "1" {
		t.Errorf("got %q", got)
	}
}

// hardening 53: what we say to unparsable requests is at most three times as long, and no more than so many for one source.
func TestUDPIsNoReflector(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	bad := strings.Replace(request("SIP/2.0/UDP x;rport", "1"), "CSeq: 1", "CSeq: x", 1)
	const flood = 200
	for range flood {
		p.say(bad)
	}
	p.say(request(p.via(";rport"), "last"))
	answers := 0
	for {
		got := p.datagram()
		if callID(got) == "last" {
			break
		}
		answers++
		if len(got) > 3*len(bad) {
			t.Errorf("%d bytes answer to %d", len(got), len(bad))
		}
	}
	if answers == 0 || answers >= flood/2 {
		t.Errorf("%d answers to %d unparsable requests", answers, flood)
	}
}

// The buckets refill with time.
func TestRejectLimiter(t *testing.T) {
	var l rejectLimiter
	l.seed = maphash.MakeSeed()
	now := time.Unix(1000, 0)
	count := func(a string) (n int) {
		for l.allow(netip.MustParseAddr(a), now) {
			n++
		}
		return n
	}
	if n := count("192.0.2.1"); n != rejectBurst {
		t.Errorf("burst of %d", n)
	}
	if n := count("2001:db8::1"); n != rejectBurst {
		t.Errorf("burst of %d", n)
	}
	if n := count("2001:db8::2"); n != 0 {
		t.Errorf("%d more from the same /64", n)
	}
	now = now.Add(time.Second)
	if n := count("192.0.2.1"); n != rejectRate {
		t.Errorf("%d after a second", n)
	}
	now = now.Add(-time.Hour) // a clock set back refills nothing and breaks nothing
	if n := count("192.0.2.1"); n != 0 {
		t.Errorf("%d after the clock was set back", n)
	}
}

// Two datagrams from one sender to one address are never reordered, whoever writes them to the socket.
func TestUDPKeepsOrder(t *testing.T) {
	tr, r := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	noise := dialPhone(t, "udp", addr(tr, 0))
	p.say(request(p.via(";rport"), "1"))
	f := r.next(t).flow
	p.datagram()

	const n = 2000
	var wg sync.WaitGroup
	wg.Go(func() { // readers at work, so that both ways of flushing are used
		for i := range n {
			noise.say(request(noise.via(";rport"), fmt.Sprint(i)))
			r.next(t)
		}
	})
	for i := range n {
		if err := f.Send(fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
		if got := p.datagram(); got != fmt.Sprint(i) {
			t.Fatalf("got %s instead of %d", got, i)
		}
	}
	for i := range n / 10 { // without waiting
		_ = f.Send(fmt.Appendf(nil, "%d", i))
	}
	for i := range n / 10 {
		if got := p.datagram(); got != fmt.Sprint(i) {
			t.Fatalf("got %s instead of %d", got, i)
		}
	}
	wg.Wait()
}

// A queue that nobody empties is bounded: Send says ErrFull and never blocks.
func TestUDPQueueIsBounded(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	f := tr.udp[0].flow(addr(tr, 0), p.local(), p.local())
	f.q.mu.Lock()
	f.q.attended = true // as if the attendant waited for the kernel
	f.q.mu.Unlock()
	for i := range maxDatagrams {
		if err := f.Send([]byte("x")); err != nil {
			t.Fatalf("datagram %d: %v", i, err)
		}
	}
	if err := f.Send([]byte("x")); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	f.q.blocked <- struct{}{} // the kernel takes again: the writer empties the queue
	if got := p.datagram(); got != "x" {
		t.Errorf("got %q", got)
	}
}

// A million spoofed sources must cost nothing: no flow is remembered beyond a table of fixed size.
func TestSpoofedSourcesCostNothing(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	l := tr.udp[0]
	spoof := func(n int) {
		for i := range n {
			remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(i%60000+1))
			l.flow(l.addr, remote, remote)
			tr.rejects.allow(remote.Addr(), time.Unix(int64(i), 0))
		}
	}
	spoof(10 * flowCache) // the table is full now
	before := heap()
	spoof(200_000) // a million needs no more: the first 40,000 would have filled any table that fills
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("%d bytes more after 200,000 sources", grown)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A panic of the receiver costs the message, not the process.
func TestUDPPanic(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	p.say(request(p.via(";rport"), "panic"))
	p.say(request(p.via(";rport"), "2"))
	if got := p.datagram(); callID(got) != "2" {
		t.Errorf("got %q", got)
	}
}

func TestValidate(t *testing.T) {
	for _, bad := range []Config{
		{UDP: []string{"example.org:5060"}},
		{UDP: []string{"5060"}},
		{TCP: []string{"127.0.0.1:65536"}},
		{TCP: []string{"127.0.0.1:sip"}},
		{TLS: []string{"127.0.0.1:0"}},
		{Advertise: []netip.Addr{{}}},
		{Advertise: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}},
	} {
		if err := bad.Validate(); err == nil {
			t.Errorf("accepted: %+v", bad)
		}
	}
	good := Config{UDP: []string{":5060", "[2001:db8::1]:5060"}, Advertise: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

// After Close nothing is sent or found, and nothing runs (goleak).
func TestUDPClosed(t *testing.T) {
	tr, err := New(Config{UDP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	tr.Start(&recorder{})
	f, err := tr.Dial(wire.Hop{Proto: wire.UDP, Addr: addr(tr, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := f.Send([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	if _, ok := tr.Find(f.ID()); ok {
		t.Error("found")
	}
	told := false
	f.OnClose(func(err error) { told = errors.Is(err, ErrClosed) })
	if !told {
		t.Error("OnClose of a dead flow says nothing")
	}
	if _, err := tr.Dial(wire.Hop{Proto: wire.UDP, Addr: addr(tr, 0)}); !errors.Is(err, ErrClosed) {
		t.Errorf("Dial: %v", err)
	}
}

// RFC 3261, 18.1.1: a message may be as large as a datagram.
func TestUDPLargestDatagram(t *testing.T) {
	tr, r := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	const largest = 65_535 - 20 - 8
	head := strings.TrimSuffix(request("SIP/2.0/UDP "+p.LocalAddr().String()+";branch=z9hG4bK1;rport", "large"), "\r\n")
	head = strings.Replace(head, "Content-Length: 0", "Content-Type: text/plain", 1) + "\r\n"
	p.say(head + strings.Repeat("x", largest-len(head)))
	if h := r.next(t); h.req.CallID != "large" || len(h.req.Body()) != largest-len(head) {
		t.Errorf("came %s with %d bytes, of %d", h.req.CallID, len(h.req.Body()), largest-len(head))
	}
	if got := status(p.datagram()); got != "200" {
		t.Errorf("answered %s", got)
	}
}
