package transport

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"signalbox/internal/wire"
)

// echo answers every request with the same bytes: what is measured is transport and the parser.
type echo struct{ response []byte }

func (e echo) ReceiveRequest(f Flow, _ *wire.Request)   { _ = f.Send(e.response) }
func (e echo) ReceiveResponse(f Flow, _ *wire.Response) {}

func (e echo) ReceiveUnreachable(netip.AddrPort, string, string) {}

const benchRequest = "REGISTER sip:example.org SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bKnashds7;rport\r\n" +
	"Max-Forwards: 70\r\n" +
	"To: Bob <sip:bob@example.org>\r\n" +
	"From: Bob <sip:bob@example.org>;tag=456248\r\n" +
	"Call-ID: 843817637684230@998sdasdh09\r\n" +
	"CSeq: 1826 REGISTER\r\n" +
	"Contact: <sip:bob@192.0.2.4>\r\n" +
	"Expires: 7200\r\n" +
	"Content-Length: 0\r\n\r\n"

func benchEcho(b *testing.B, c Config) *Transport {
	tr, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	req := parseRequest(b, benchRequest)
	tr.Start(echo{wire.Append(nil, wire.NewResponse(req, 200, "", "1"))})
	b.Cleanup(func() {
		if err := tr.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return tr
}

// cpu is what the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkUDPEcho is one request and its response over the kernel's loopback, with 64 under way. The client is this package's own batch code, and its cost is
// part of the figures: about half of the system calls.
func BenchmarkUDPEcho(b *testing.B) {
	const window = 64
	tr := benchEcho(b, Config{UDP: []string{"127.0.0.1:0"}})
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer pc.Close()
	raw, err := pc.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	q := newUDPQueue(raw, func(Reason) {}, func(datagram) {})
	local := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	f := &udpFlow{q: q, id: wire.FlowID{Proto: wire.UDP, Local: local, Remote: addr(tr, 0)}}
	f.name, f.nameLen = makeSockaddr(addr(tr, 0))
	batch := newRecvBatch(false)
	request := []byte(benchRequest)

	b.ReportAllocs()
	before := cpu(b)
	underWay, done := 0, 0
	var n int
	var failed error
	recv := func(fd uintptr) bool {
		n, failed = batch.recv(fd)
		return !wouldBlock(failed)
	}
	for b.Loop() {
		if underWay < window {
			_ = q.push(request, f)
			underWay++
			continue
		}
		q.flush()
		if err := raw.Read(recv); err != nil || failed != nil {
			b.Fatal(err, failed)
		}
		underWay -= n
		done += n
	}
	q.flush()
	b.ReportMetric(float64(cpu(b)-before)/float64(max(done, 1)), "cpu-ns/exchange")
}

// BenchmarkTCPEcho is the same over one connection.
func BenchmarkTCPEcho(b *testing.B) { benchStream(b, Config{TCP: []string{"127.0.0.1:0"}}, dialTCP) }

// BenchmarkTLSEcho is the same with TLS 1.3.
func BenchmarkTLSEcho(b *testing.B) {
	ca, err := OpenLocalCA(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	benchStream(b, Config{TLS: []string{"127.0.0.1:0"}, Certificate: ca.Certificate}, func(a netip.AddrPort) (net.Conn, error) {
		return dialTLS(ca, a, "localhost")
	})
}

func dialTCP(a netip.AddrPort) (net.Conn, error) { return net.Dial("tcp", a.String()) }

func benchStream(b *testing.B, c Config, dial func(netip.AddrPort) (net.Conn, error)) {
	const window = 16
	tr := benchEcho(b, c)
	nc, err := dial(addr(tr, 0))
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	var requests []byte
	for range window {
		requests = append(requests, benchRequest...)
	}
	var framer wire.Framer
	buf := make([]byte, 1<<15)
	b.ReportAllocs()
	before := cpu(b)
	underWay, done := 0, 0
	for b.Loop() {
		if underWay < window {
			underWay++
			continue
		}
		if _, err := nc.Write(requests); err != nil {
			b.Fatal(err)
		}
		for underWay > 0 {
			n, err := nc.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			if err := framer.Write(buf[:n]); err != nil {
				b.Fatal(err)
			}
			for {
				_, _, ok, err := framer.Next()
				if err != nil {
					b.Fatal(err)
				}
				if !ok {
					break
				}
				underWay--
				done++
			}
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(max(done, 1)), "cpu-ns/exchange")
}

// BenchmarkDialUDP is what a forwarded request pays for its flow.
func BenchmarkDialUDP(b *testing.B) {
	tr := benchEcho(b, Config{UDP: []string{":0"}})
	hop := wire.Hop{Proto: wire.UDP, Addr: netip.MustParseAddrPort("127.0.0.1:9")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.Dial(hop); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFindUDP is what a request to a registered phone pays for its flow.
func BenchmarkFindUDP(b *testing.B) {
	tr := benchEcho(b, Config{UDP: []string{":0"}})
	f, err := tr.Dial(wire.Hop{Proto: wire.UDP, Addr: netip.MustParseAddrPort("127.0.0.1:9")})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := tr.Find(f.ID()); !ok {
			b.Fatal("not found")
		}
	}
}

// BenchmarkReceiveUDP is one datagram from the reader's hands to the receiver: parser, Via, flow.
func BenchmarkReceiveUDP(b *testing.B) {
	tr := benchEcho(b, Config{UDP: []string{"127.0.0.1:0"}})
	tr.receiver = new(recorder)
	s := tr.udp[0].sockets[0]
	from := netip.MustParseAddrPort("192.0.2.4:5060")
	b.ReportAllocs()
	for b.Loop() {
		s.take([]byte(benchRequest), from, netip.Addr{})
	}
}
