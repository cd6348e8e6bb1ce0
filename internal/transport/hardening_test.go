package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signalbox/internal/wire"
)

// hardening 1: a length that wraps, or is none, never lets the body be read as a message. hardening 2: nor do two lengths, or none.
func TestSmuggling(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	inner := func(p *phone) string { return request(p.via(""), "inner") }
	filler := strings.Repeat("x", 32)
	for _, tt := range []struct{ name, length, body string }{
		{"hardening 1: 2^32+32", "Content-Length: 4294967328", filler},
		{"hardening 1: 2^64", "Content-Length: 18446744073709551616", ""},
		{"hardening 1: 2^64+32", "Content-Length: 18446744073709551648", filler},
		{"hardening 1: blank inside", "Content-Length: 5 5", "xxxxx"},
		{"hardening 1: 2^31", "Content-Length: 2147483648", ""},
		{"hardening 1: negative", "Content-Length: -999", ""},
		{"hardening 1: plus", "Content-Length: +5", "xxxxx"},
		{"hardening 1: hex", "Content-Length: 0x10", ""},
		{"hardening 1: empty", "Content-Length:", ""},
		{"hardening 1: twenty digits", "Content-Length: 12345678901234567890", ""},
		{"hardening 2: twice, 0 first", "Content-Length: 0\r\nContent-Length: 32", filler},
		{"hardening 2: twice, N first", "Content-Length: 32\r\nContent-Length: 0", filler},
		{"hardening 2: compact and long", "l: 32\r\nContent-Length: 0", filler},
		{"hardening 2: none", "X: 1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := dialPhone(t, "tcp", addr(tr, 0))
			outer := strings.Replace(request(p.via(""), "outer"), "Content-Length: 0", tt.length, 1)
			p.say(outer + tt.body + inner(p))
			for {
				got, err := p.tryMessage()
				if err != nil {
					break // closed, as it must be: where the next message begins nobody knows
				}
				if callID(got) != "outer" || status(got) != "400" && status(got) != "413" && status(got) != "513" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	t.Run("hardening 2: blank before the colon is legal", func(t *testing.T) {
		p := dialPhone(t, "tcp", addr(tr, 0))
		s := strings.Replace(request(p.via(""), "outer"), "Content-Length: 0", "Content-Length : 32", 1)
		p.say(s + filler + inner(p))
		if a, b := callID(p.message()), callID(p.message()); a != "outer" || b != "inner" {
			t.Errorf("answered %s, %s", a, b)
		}
		r.next(t)
		r.next(t)
	})
	if n := len(r.heard); n > 0 {
		t.Errorf("%d messages were passed on", n)
	}
}

// hardening 2: over UDP a Content-Length beyond the datagram is refused, one short of it cuts the body off (RFC 3261, 18.3).
func TestUDPContentLength(t *testing.T) {
	tr, r := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	p := dialPhone(t, "udp", addr(tr, 0))
	p.say(strings.Replace(request(p.via(""), "1"), "Content-Length: 0", "Content-Length: 6", 1) + "hello")
	if got := p.datagram(); status(got) != "400" {
		t.Errorf("got %q", got)
	}
	p.say(strings.Replace(request(p.via(""), "2"), "Content-Length: 0", "Content-Length: 4", 1) + "hello")
	if got := p.datagram(); status(got) != "200" {
		t.Errorf("got %q", got)
	}
	if h := r.next(t); string(h.req.Body()) != "hell" {
		t.Errorf("body %q", h.req.Body())
	}
}

// hardening 3: memory follows what was received, not what was announced.
func TestAnnouncedLengthCostsNothing(t *testing.T) {
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	before := heap()
	const n = 100
	phones := make([]*phone, n)
	for i := range phones {
		phones[i] = dialPhone(t, "tcp", addr(tr, 0))
		phones[i].say(strings.Replace(request(phones[i].via(""), "1"), "Content-Length: 0", "Content-Length: 4294967295", 1))
	}
	for _, p := range phones {
		if got := p.message(); status(got) != "413" && status(got) != "400" && status(got) != "513" {
			t.Errorf("got %q", got)
		}
	}
	// The phones' own 64 KB buffers are not the server's.
	if grown := int64(heap()) - int64(before) - n<<16; grown > n<<16 {
		t.Errorf("%d bytes for %d connections", grown, n)
	}
}

// hardening 6, 7, 8 and 9: headers in odd spellings, controls, doubles and line ends mean the same on every transport.
func TestTransportsAgree(t *testing.T) {
	ca := testCA(t)
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}, TCP: []string{"127.0.0.1:0"}, TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate},
		func(tr *Transport) { tr.times.linger = time.Millisecond })
	for _, tt := range []struct{ name, old, new, want string }{
		{"hardening 6: blank before colon", "Max-Forwards: 70", "X-Bypass-me : lol", "200"},
		{"hardening 6: folded", "Max-Forwards: 70", "P-Asserted-Identity:\r\n <sip:boss@example.org>", "200"},
		{"hardening 7: control in name", "Max-Forwards: 70", "Contact\x01: <sip:x@192.0.2.1>", "400"},
		{"hardening 7: vertical tab in name", "Max-Forwards: 70", "To\x0b: <sip:x@192.0.2.1>;tag=x", "400"},
		{"hardening 8: two To", "Max-Forwards: 70", "To: <sip:mallory@example.org>", "400"},
		{"hardening 8: compact From", "Max-Forwards: 70", "f: <sip:mallory@example.org>;tag=1", "400"},
		{"hardening 8: two Call-ID", "Max-Forwards: 70", "i: other", "400"},
		{"hardening 8: two CSeq", "Max-Forwards: 70", "CSeq: 2 OPTIONS", "400"},
		{"hardening 8: two Max-Forwards", "Max-Forwards: 70", "Max-Forwards: 70\r\nMax-Forwards: 71", "400"},
		{"hardening 8: two Expires", "Max-Forwards: 70", "Expires: 1\r\nExpires: 2", "400"},
		{"hardening 9: bare LF", "Max-Forwards: 70\r\n", "Max-Forwards: 70\n", "400"},
		{"hardening 9: bare CR", "Max-Forwards: 70\r\n", "Max-Forwards: 70\r", "400"},
		{"hardening 9: CR CR LF", "Max-Forwards: 70\r\n", "Max-Forwards: 70\r\r\n", "400"},
		{"hardening 9: NUL", "Max-Forwards: 70", "X: a\x00b", "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]string{}
			for i, network := range []string{"udp", "tcp", "tls"} {
				var p *phone
				if network == "tls" {
					c, err := dialTLS(ca, addr(tr, i), "localhost")
					if err != nil {
						t.Fatal(err)
					}
					p = newPhone(t, c)
				} else {
					p = dialPhone(t, network, addr(tr, i))
				}
				via := fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bK1;rport", strings.ToUpper(network), p.LocalAddr())
				p.say(strings.Replace(request(via, "1"), tt.old, tt.new, 1))
				if network == "udp" {
					got[network] = status(p.datagram())
				} else {
					// A stream that cannot be framed may be closed, with the answer if enough could be read.
					s, err := p.tryMessage()
					if err != nil && s == "" {
						s = "SIP/2.0 400 closed"
					}
					got[network] = status(s)
				}
			}
			for network, code := range got {
				if code != tt.want {
					t.Errorf("%s: %s, want %s", network, code, tt.want)
				}
			}
			tr.rejects.mu.Lock()
			clear(tr.rejects.buckets[:]) // the test is one source
			tr.rejects.mu.Unlock()
		})
	}
}

// hardening 50 and figure 22: hundreds of connections that say nothing, or stop in a message or a handshake, keep nobody out and are gone in time.
func TestSlowloris(t *testing.T) {
	ca := testCA(t)
	const perAddress = 64
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}, TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate, Limits: Limits{PerAddress: perAddress}},
		func(tr *Transport) {
			tr.times.firstMessage, tr.times.message, tr.times.handshake = 2*time.Second, 2*time.Second, 2*time.Second
		})
	before := runtime.NumGoroutine()
	var slow []*phone
	for i := range 200 {
		p := dialPhone(t, "tcp", addr(tr, i%2))
		switch i % 4 {
		case 0:
			p.say("OPTIONS sip:example.org SIP/2.0\r\n")
		case 1:
			p.say("\x16\x03\x01\x02\x00\x01") // a ClientHello begins
		}
		slow = append(slow, p)
	}
	good := dialPhone(t, "tcp", addr(tr, 0))
	good.say(request(good.via(""), "1"))
	good.message() // served, though the address is far over its limit
	if n := runtime.NumGoroutine() - before; n > 3*perAddress {
		t.Errorf("%d goroutines for at most %d connections", n, perAddress)
	}
	for _, p := range slow {
		_ = p.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, p.r); errors.Is(err, unix.ETIMEDOUT) || isTimeout(err) {
			t.Fatal("a slow connection is still there")
		}
	}
	good.say(request(good.via(""), "2"))
	good.message() // and who has said something stays
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// hardening 50: a message that comes a byte at a time must be complete in time, also after a good one.
func TestDribble(t *testing.T) {
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}}, func(tr *Transport) { tr.times.message = 200 * time.Millisecond })
	p := dialPhone(t, "tcp", addr(tr, 0))
	p.say(request(p.via(""), "1") + "OPTIONS ")
	if got := p.message(); status(got) != "200" {
		t.Errorf("got %q", got)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, err := p.Write([]byte("x")); err != nil {
				return // reset by the server
			}
		}
	})
	_ = p.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, p.r); isTimeout(err) {
		t.Error("still there")
	}
	p.Close()
	wg.Wait()
}

// An idle connection is closed after a long time, a busy one is not.
func TestIdle(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}}, func(tr *Transport) { tr.times.idle = 300 * time.Millisecond })
	p := dialPhone(t, "tcp", addr(tr, 0))
	p.say(request(p.via(""), "1"))
	p.message()
	told := make(chan error, 1)
	r.next(t).flow.OnClose(func(err error) { told <- err })
	p.closed()
	if err := <-told; !errors.Is(err, errIdle) {
		t.Errorf("told %v", err)
	}
}

// RFC 5626, 5.4: a connection whose phone promised keep-alives ends without them, as one whose bindings are lost with it; a double CRLF keeps it, and others stay.
func TestPromisedKeepAlive(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	r.answer = func(f Flow, req *wire.Request) {
		if req.CallID == "promised" {
			ExpectKeepAlive(f, 300*time.Millisecond)
		}
	}
	p, other := dialPhone(t, "tcp", addr(tr, 0)), dialPhone(t, "tcp", addr(tr, 0))
	other.say(request(other.via(""), "other"))
	r.next(t)
	p.say(request(p.via(""), "promised"))
	told := make(chan error, 1)
	r.next(t).flow.OnClose(func(err error) { told <- err })
	p.say("\r\n\r\n")
	if b, err := p.r.ReadByte(); err != nil || b != '\r' { // RFC 5626, 4.4.1
		t.Errorf("pong %q, %v", b, err)
	}
	if err := <-told; !errors.Is(err, errIdle) {
		t.Errorf("told %v", err)
	}
	other.say(request(other.via(""), "again"))
	r.next(t)
}

// hardening 51: bursts of requests followed by a reset leave nothing behind (goleak looks after the test).
func TestBurstThenReset(t *testing.T) {
	ca := testCA(t)
	tr, _ := begin(t, Config{TCP: []string{"127.0.0.1:0"}, TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate})
	tr.receiver.(*recorder).heard = nil
	before := heap()
	for i := range 300 {
		c, err := net.Dial("tcp", addr(tr, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		one := strings.ReplaceAll(request("SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1", fmt.Sprint(i)), "OPTIONS", "INVITE")
		_, _ = io.WriteString(c, strings.Repeat(one, 20)+one[:len(one)/2])
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	p := dialPhone(t, "tcp", addr(tr, 0))
	p.say(request(p.via(""), "last"))
	p.message()
	waitForConns(t, tr, 1)
	if grown := int64(heap()) - int64(before); grown > 5<<20 {
		t.Errorf("%d bytes more", grown)
	}
}

// waitForConns waits until no more than n connections live.
func waitForConns(t *testing.T, tr *Transport, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
		tr.conns.mu.Lock()
		have := len(tr.conns.all)
		tr.conns.mu.Unlock()
		if have <= n {
			return
		}
	}
	t.Fatal("connections are left over")
}

// Over the limit the oldest connection that has said nothing makes room; if all have, the new one is refused.
func TestConnectionLimits(t *testing.T) {
	for _, limits := range []Limits{{PerAddress: 3}, {Connections: 3}} {
		tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}, Limits: limits})
		talk := func(p *phone) {
			t.Helper()
			p.say(request(p.via(""), "1"))
			p.message()
			r.next(t)
		}
		a := dialPhone(t, "tcp", addr(tr, 0))
		talk(a)
		b, c := dialPhone(t, "tcp", addr(tr, 0)), dialPhone(t, "tcp", addr(tr, 0))
		d := dialPhone(t, "tcp", addr(tr, 0))
		b.closed() // the oldest silent one
		talk(c)
		talk(d)
		if e, err := net.Dial("tcp", addr(tr, 0).String()); err == nil { // all three have said something
			newPhone(t, e).closed()
		} else if !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(err)
		}
		talk(a)
		a.Close()
		waitForConns(t, tr, 2)
		talk(dialPhone(t, "tcp", addr(tr, 0)))
	}
}

// hardening 46: a flow is a connection, not an address and port. Who comes from the same port later is not found, nor dialled.
func TestPortReuse(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	alice := dialPhone(t, "tcp", addr(tr, 0))
	alice.say(request(alice.via(""), "alice"))
	flow := r.next(t).flow
	id, at := flow.ID(), alice.local()
	alice.message()
	gone := make(chan error, 1)
	flow.OnClose(func(err error) { gone <- err })
	_ = alice.Conn.(*net.TCPConn).SetLinger(0)
	alice.Close()
	<-gone

	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(at)}
	c, err := d.Dial("tcp", addr(tr, 0).String())
	if err != nil {
		t.Skip("the port was taken meanwhile: ", err)
	}
	mallory := newPhone(t, c)
	mallory.say(request(mallory.via(""), "mallory"))
	theirs := r.next(t).flow
	mallory.message()
	if _, ok := tr.Find(id); ok {
		t.Error("alice's flow leads to mallory")
	}
	if theirs.ID().Remote != id.Remote || theirs.ID() == id {
		t.Errorf("identities %v, %v", id, theirs.ID())
	}
	f, err := tr.Dial(wire.Hop{Proto: wire.TCP, Addr: at})
	if err == nil {
		if f == theirs {
			t.Error("a dial to alice's address takes mallory's connection")
		}
		told := make(chan error, 1)
		f.OnClose(func(err error) { told <- err })
		if err := <-told; !errors.Is(err, unix.ECONNREFUSED) && err == nil {
			t.Errorf("dialled: %v", err)
		}
	}
}

// hardening 41: nothing a message says makes transport connect anywhere.
func TestNoConnectOutside(t *testing.T) {
	tr, r := begin(t, Config{UDP: []string{"127.0.0.1:0"}, TCP: []string{"127.0.0.1:0"}})
	victim, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	udpVictim, err := net.ListenPacket("udp", "127.0.1.1:0") // of another network than the sender
	if err != nil {
		t.Fatal(err)
	}
	defer udpVictim.Close()
	at, udpAt := victim.Addr().String(), udpVictim.LocalAddr().(*net.UDPAddr)
	for i, network := range []string{"udp", "tcp"} {
		p := dialPhone(t, network, addr(tr, i))
		via := fmt.Sprintf("SIP/2.0/%s 127.0.1.1:%d;branch=z9hG4bK1;rport;maddr=127.0.1.1;received=127.0.1.1", strings.ToUpper(network), udpAt.Port)
		s := strings.Replace(request(via, "1"), "Max-Forwards: 70", "Max-Forwards: 70\r\nRoute: <sip:"+at+";transport=tcp;lr>\r\nContact: <sip:x@"+at+";transport=tcp>", 1)
		p.say(s)
		p.say(strings.Replace(s, "CSeq: 1", "CSeq: x", 1))
		for range 2 {
			if network == "udp" {
				p.datagram()
			} else {
				p.message()
			}
		}
		r.next(t)
	}
	_ = udpVictim.SetReadDeadline(time.Unix(1, 0))
	if n, _, err := udpVictim.ReadFrom(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes were sent elsewhere", n)
	}
	_ = victim.(*net.TCPListener).SetDeadline(time.Unix(1, 0))
	if _, err := victim.Accept(); err == nil {
		t.Error("connected elsewhere")
	}
}

// A connection that only listens costs little: 10,000 of them must be no burden.
func TestIdleConnectionsAreCheap(t *testing.T) {
	tr, r := begin(t, Config{TCP: []string{"127.0.0.1:0"}})
	one := func() net.Conn {
		c, err := net.Dial("tcp", addr(tr, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, request("SIP/2.0/TCP "+c.LocalAddr().String()+";branch=z9hG4bK1", "1"))
		_, _ = c.Read(make([]byte, 1000))
		r.next(t)
		return c
	}
	one().Close()
	before, goroutines := heap(), runtime.NumGoroutine()
	const n = 300
	var all []net.Conn
	for range n {
		all = append(all, one())
	}
	if grown := (int64(heap()) - int64(before)) / n; grown > 16<<10 {
		t.Errorf("%d bytes of heap for each connection", grown)
	}
	if grown := runtime.NumGoroutine() - goroutines; grown > n+8 {
		t.Errorf("%d goroutines for %d connections", grown, n)
	}
	for _, c := range all {
		c.Close()
	}
}
