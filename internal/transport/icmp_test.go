package transport

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"signalbox/internal/wire"
)

// closedPort is an address of this machine where nobody listens.
func closedPort(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("no UDP on %s: %v", host, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// RFC 3261, 18.4: a request that comes to a port where nobody listens is reported, by method and branch; a response is not. Whom it does not concern is
// served as ever. hardening 56
func TestUnreachable(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		t.Run(listen, func(t *testing.T) {
			host := "127.0.0.1"
			if strings.HasPrefix(listen, "[") {
				host = "::1"
			}
			nobody := closedPort(t, host)
			tr, err := New(Config{UDP: []string{listen}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { end(t, tr) })
			r := &recorder{answer: ok, unreachable: make(chan string, 1024)}
			tr.Start(r)
			f, err := tr.Dial(wire.Hop{Proto: wire.UDP, Addr: nobody})
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Send([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKresponse\r\n\r\n"))
			for _, branch := range []string{"z9hG4bKone", "z9hG4bKtwo"} {
				_ = f.Send([]byte(request("SIP/2.0/UDP 127.0.0.1:5060;branch="+branch, branch)))
				select {
				case got := <-r.unreachable:
					if want := fmt.Sprint(nobody, " OPTIONS ", branch); got != want {
						t.Errorf("told of %q, want %q", got, want)
					}
				case <-time.After(patience):
					t.Fatalf("nobody was told of %s", branch)
				}
			}
			p := dialPhone(t, "udp", addr(tr, 0))
			for i := range 50 {
				_ = f.Send([]byte(request("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKmore", "more")))
				p.say(request(p.via(""), fmt.Sprint(i)))
				if got := p.datagram(); status(got) != "200" || callID(got) != fmt.Sprint(i) {
					t.Fatalf("request %d was answered %q", i, got)
				}
			}
		})
	}
}

// RFC 3261, 18.4: what the kernel refuses to send is reported as well: here, what no datagram can hold.
func TestUnsendable(t *testing.T) {
	tr, err := New(Config{UDP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, tr) })
	r := &recorder{answer: ok, unreachable: make(chan string, 1)}
	tr.Start(r)
	f, err := tr.Dial(wire.Hop{Proto: wire.UDP, Addr: netip.MustParseAddrPort("127.0.0.1:5070")})
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Send([]byte(request("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKone", strings.Repeat("1", datagramSize))))
	select {
	case got := <-r.unreachable:
		if got != "127.0.0.1:5070 OPTIONS z9hG4bKone" {
			t.Errorf("told of %q", got)
		}
	case <-time.After(patience):
		t.Fatal("nobody was told")
	}
}

// RFC 3261, 18.4: which ICMP errors are told and which are ignored.
func TestWhichErrors(t *testing.T) {
	const v4, v6 = unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6
	for _, tt := range []struct {
		what               string
		origin, kind, code byte
		want               bool
	}{
		{"network unreachable", v4, 3, 0, true},
		{"host unreachable", v4, 3, 1, true},
		{"protocol unreachable", v4, 3, 2, true},
		{"port unreachable", v4, 3, 3, true},
		{"too large", v4, 3, 4, false},
		{"parameter problem", v4, 12, 0, true},
		{"source quench", v4, 4, 0, false},
		{"TTL exceeded", v4, 11, 0, false},
		{"IPv6 port unreachable", v6, 1, 4, true},
		{"IPv6 parameter problem", v6, 4, 0, true},
		{"IPv6 too large", v6, 2, 0, false},
		{"IPv6 hop limit exceeded", v6, 3, 0, false},
		{"our own", unix.SO_EE_ORIGIN_LOCAL, 3, 3, false},
	} {
		control := make([]byte, unix.CmsgSpace(16))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_RECVERR
		if tt.origin == v6 {
			h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		}
		h.SetLen(unix.CmsgLen(16))
		copy(control[unix.CmsgLen(4):], []byte{tt.origin, tt.kind, tt.code})
		if got := unreachable(control); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
		for n := range control {
			unreachable(control[:n])
		}
	}
}

func TestQuotedRequest(t *testing.T) {
	whole := request("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKone;rport", "1")
	via := strings.Index(whole, "From:")
	for n := range len(whole) {
		method, branch, ok := quotedRequest([]byte(whole[:n]))
		if want := n >= via; ok != want || ok && (method != "OPTIONS" || branch != "z9hG4bKone") {
			t.Fatalf("%q: %q %q %v", whole[:n], method, branch, ok)
		}
	}
	call := strings.Replace(whole, "Via: ", "Record-Route: <sip:192.0.2.1;lr;branch=none>\r\nVia: ", 1)
	if _, branch, ok := quotedRequest([]byte(call)); !ok || branch != "z9hG4bKone" {
		t.Errorf("behind a Record-Route: %q %v", branch, ok)
	}
	for _, b := range []string{
		"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKone\r\n\r\n",
		"MESSAGE sip:a SIP/2.0\r\nFrom: <sip:alice@example.org>\r\n\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKbody\r\n",
		"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n",
		"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=\r\n",
		"\r\n\r\n",
	} {
		if method, branch, ok := quotedRequest([]byte(b)); ok {
			t.Errorf("%q: %q %q", b, method, branch)
		}
	}
}

// An ICMP error quotes what anybody wrote.
func FuzzQuotedRequest(f *testing.F) {
	f.Add([]byte(request("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKone;rport", "1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, branch, ok := quotedRequest(b); ok && strings.ContainsAny(branch, ";\r") {
			t.Errorf("branch %q", branch)
		}
	})
}
