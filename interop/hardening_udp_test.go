package interop

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spoofer sends datagrams from any address of 127.0.0.0/8, and hears what comes back to its port.
type spoofer struct {
	t                 *testing.T
	conn              *net.UDPConn
	port              int
	to                unix.RawSockaddrInet4
	answers, answered atomic.Int64 // datagrams, bytes
}

func (s *victim) spoofer() *spoofer {
	s.t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadBuffer(4 << 20)
	to, err := net.ResolveUDPAddr("udp4", s.udp)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &spoofer{t: s.t, conn: conn, port: conn.LocalAddr().(*net.UDPAddr).Port}
	p.to = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(to.Port>>8 | to.Port&0xff<<8), Addr: [4]byte(to.IP.To4())}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			p.answers.Add(1)
			p.answered.Add(int64(n))
		}
	}()
	return p
}

// spoof sends one datagram for each source, 64 by a system call.
func (p *spoofer) spoof(sources int, message func(ip string, i int) string) (sent int64) {
	p.t.Helper()
	raw, err := p.conn.SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	const batch = 64
	type header struct {
		unix.Msghdr
		n uint32
	}
	var headers [batch]header
	var iovs [batch]unix.Iovec
	var controls [batch][32]byte
	for first := 0; first < sources; first += batch {
		n := min(batch, sources-first)
		for k := range n {
			i := first + k
			ip := [4]byte{127, byte(2 + i>>16), byte(i >> 8), byte(i)}
			b := []byte(message(net.IP(ip[:]).String(), i))
			sent += int64(len(b))
			iovs[k] = unix.Iovec{Base: &b[0]}
			iovs[k].SetLen(len(b))
			c := (*unix.Cmsghdr)(unsafe.Pointer(&controls[k][0]))
			c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
			c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
			copy(controls[k][unix.CmsgLen(4):], ip[:]) // ipi_spec_dst
			h := &headers[k]
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&p.to)), unix.SizeofSockaddrInet4
			h.Iov = &iovs[k]
			h.SetIovlen(1)
			h.Control = &controls[k][0]
			h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
		}
		err := raw.Write(func(fd uintptr) bool {
			for done := 0; done < n; {
				m, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&headers[done])), uintptr(n-done), 0, 0, 0)
				if errno == unix.EAGAIN {
					return false
				}
				if errno != 0 {
					p.t.Errorf("sendmmsg: %v", errno)
					return true
				}
				done += int(m)
			}
			return true
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
	return sent
}

// hardening 52 and 53: REGISTERs from a million forged addresses leave the program below 512 MB and its guests served; less comes back than three times what was sent.
func TestSpoofedSources(t *testing.T) {
	s := newVictim(t, "", "", "alice")
	g := s.guests()
	p := s.spoofer()
	before := s.rss()
	const sources = 1_000_000
	sent := p.spoof(sources, func(ip string, i int) string {
		return fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s:%d;branch=z9hG4bKf%d\r\nMax-Forwards: 70\r\nFrom: <sip:u%[4]d@%[1]s>;tag=f\r\nTo: <sip:u%[4]d@%[1]s>\r\nCall-ID: f%[4]d\r\nCSeq: 1 REGISTER\r\nContact: <sip:u@%[2]s>\r\nContent-Length: 0\r\n\r\n", domain, ip, p.port, i)
	})
	g.leave()
	st, after := s.status(), s.rss()
	t.Logf("%d sources: %d answers, %d transactions kept, %d refused, %d KB before, %d after", sources, p.answers.Load(), st.Kept, st.Refused, before, after)
	if after > 512<<10 {
		t.Errorf("%d KB", after)
	}
	if back := p.answered.Load(); back == 0 || back > 3*sent {
		t.Errorf("%d bytes came back for %d", back, sent)
	}
	if st.Goroutines > 200 {
		t.Errorf("%d goroutines", st.Goroutines)
	}
}

// hardening 53: whatever a forged source asks, and it never acknowledges, it hears at most three bytes for one, retransmissions included: 17.2.1's are only for who is authenticated.
// RFC 3261, 8.2.7
func TestReflection(t *testing.T) {
	t.Parallel()
	s := newVictim(t, "", "[auth]\ninbound = \"any\"\n", "alice", "bob", "carol")
	bob, carol := newHandset(t, s.server, "bob"), newHandset(t, s.server, "carol")
	invite := func(more string) string {
		return "INVITE sip:alice@" + domain + " SIP/2.0\r\nFrom: <sip:m@example.org>;tag=m\r\nTo: <sip:alice@" + domain + ">\r\nCSeq: 1 INVITE\r\n" + more
	}
	asked := map[string]string{
		"INVITE, nobody there":        invite(""),
		"INVITE, busy":                strings.ReplaceAll(invite("Contact: <sip:m@example.org>\r\n"), "alice", "bob"),
		"INVITE, answered":            strings.ReplaceAll(invite("Contact: <sip:m@example.org>\r\n"), "alice", "carol"),
		"INVITE, out of hops":         invite("Max-Forwards: 0\r\n"),
		"INVITE, Proxy-Require":       invite("Proxy-Require: x\r\n"),
		"INVITE, Max-Breadth":         invite("Max-Breadth: 0\r\n"),
		"INVITE, unknown":             strings.ReplaceAll(invite(""), "alice", "nobody"),
		"INVITE, of ours":             strings.ReplaceAll(invite(""), "m@example.org", "alice@"+domain),
		"INVITE, elsewhere":           strings.ReplaceAll(invite(""), "INVITE sip:alice@"+domain, "INVITE sip:x@example.net"),
		"INVITE, tel":                 strings.ReplaceAll(invite(""), "INVITE sip:alice@"+domain, "INVITE tel:+19005550100"),
		"INVITE, malformed":           invite("Max-Forwards: x\r\n"),
		"INVITE, version":             strings.ReplaceAll(invite(""), "SIP/2.0\r\nFrom", "SIP/3.0\r\nFrom"),
		"INVITE, in a dialog":         strings.ReplaceAll(invite(""), "To: <sip:alice@"+domain+">", "To: <sip:alice@"+domain+">;tag=t"),
		"INVITE, fake credentials":    invite("Proxy-Authorization: Digest username=\"alice\", realm=\"" + domain + "\", nonce=\"x\", uri=\"sip:x\", response=\"00000000000000000000000000000000\"\r\n"),
		"INVITE, fake, out of hops":   invite("Max-Forwards: 0\r\nProxy-Authorization: Digest username=\"alice\", realm=\"" + domain + "\", nonce=\"x\", uri=\"sip:x\", response=\"00000000000000000000000000000000\"\r\n"),
		"REGISTER":                    "REGISTER sip:" + domain + " SIP/2.0\r\nFrom: <sip:alice@" + domain + ">;tag=m\r\nTo: <sip:alice@" + domain + ">\r\nCSeq: 1 REGISTER\r\n",
		"OPTIONS":                     "OPTIONS sip:" + domain + " SIP/2.0\r\nFrom: <sip:m@example.org>;tag=m\r\nTo: <sip:" + domain + ">\r\nCSeq: 1 OPTIONS\r\n",
		"MESSAGE":                     "MESSAGE sip:alice@" + domain + " SIP/2.0\r\nFrom: <sip:m@example.org>;tag=m\r\nTo: <sip:alice@" + domain + ">\r\nCSeq: 1 MESSAGE\r\n",
		"SUBSCRIBE":                   "SUBSCRIBE sip:alice@" + domain + " SIP/2.0\r\nFrom: <sip:m@example.org>;tag=m\r\nTo: <sip:alice@" + domain + ">\r\nCSeq: 1 SUBSCRIBE\r\nEvent: reg\r\n",
		"BYE":                         "BYE sip:alice@" + domain + " SIP/2.0\r\nFrom: <sip:m@example.org>;tag=m\r\nTo: <sip:alice@" + domain + ">;tag=t\r\nCSeq: 1 BYE\r\n",
		"CANCEL":                      "CANCEL sip:alice@" + domain + " SIP/2.0\r\nFrom: <sip:m@example.org>;tag=m\r\nTo: <sip:alice@" + domain + ">\r\nCSeq: 1 CANCEL\r\n",
		"STUN":                        "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl",
		"keep-alive":                  "\r\n\r\n",
		"one byte":                    "x",
		"a response nobody waits for": "SIP/2.0 200 OK\r\nFrom: <sip:m@example.org>;tag=m\r\nTo: <sip:alice@" + domain + ">;tag=t\r\nCSeq: 1 INVITE\r\n",
	}
	var all sync.WaitGroup
	for name, text := range asked {
		all.Go(func() {
			p := s.spoofer()
			sent := p.spoof(1, func(ip string, _ int) string {
				head, rest, found := strings.Cut(text, "\r\nFrom")
				if !found {
					return text
				}
				msg := fmt.Sprintf("%s\r\nVia: SIP/2.0/UDP %s:%d;branch=z9hG4bK%d\r\nFrom%sCall-ID: %s\r\n", head, ip, p.port, p.port, rest, strings.ReplaceAll(name, " ", ""))
				if !strings.Contains(msg, "Max-Forwards") {
					msg += "Max-Forwards: 70\r\n"
				}
				return msg + "Content-Length: 0\r\n\r\n"
			})
			time.Sleep(4 * time.Second) // retransmissions would come after 0.5, 1.5 and 3.5 s
			if back := p.answered.Load(); back > 3*sent {
				t.Errorf("%s: %d bytes sent, %d came back in %d datagrams", name, sent, back, p.answers.Load())
			} else {
				t.Logf("%s: %d bytes sent, %d came back in %d datagrams", name, sent, back, p.answers.Load())
			}
		})
	}
	ringing := bob.expect("INVITE")
	bob.respond(ringing, 180, "Ringing", "")
	bob.respond(ringing, 486, "Busy Here", "")
	answered := carol.expect("INVITE")
	for range 11 {
		carol.respond(answered, 200, "OK", "") // as a phone repeats it that hears no ACK (RFC 3261, 13.3.1.4)
	}
	all.Wait()
	if err := s.served("udp"); err != nil {
		t.Error(err)
	}
}
