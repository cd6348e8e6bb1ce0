package interop

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// trap is a machine that is no party: another address of loopback, UDP and TCP. Nobody may be sent to it.
type trap struct {
	addr  string
	heard atomic.Int64
}

// newTrap listens in another /24 than the senders: a maddr of theirs would be followed (RFC 3261, 18.2.2).
func newTrap(t *testing.T) *trap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.77.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); u.Close() })
	p := &trap{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.heard.Add(1)
			c.Close()
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			p.heard.Add(1)
			line, _, _ := bytes.Cut(b[:n], []byte("\r\n"))
			t.Logf("the trap heard %q from %v", line, from)
		}
	}()
	return p
}

// mingle sends a request, over UDP again and again (RFC 3261, 17.1.2.2), and returns its final response; whoever calls meanwhile hears 480.
func (u *ua) mingle(m *sip) *sip {
	u.t.Helper()
	u.send(m)
	for again := 0; ; {
		_ = u.conn.SetReadDeadline(time.Now().Add(time.Second))
		got, err := u.message()
		if isTimeout(err) && again < 20 {
			again++
			if u.proto == "udp" {
				u.send(m)
			}
			continue
		}
		if err != nil {
			u.t.Fatalf("no answer: %v, to\n%s", err, m.bytes())
		}
		if got.isResponse() {
			if got.get("CSeq") == m.get("CSeq") && got.get("Call-ID") == m.get("Call-ID") && got.code() >= 200 {
				return got
			}
			continue
		}
		if strings.HasPrefix(got.start, "ACK ") {
			continue
		}
		res := &sip{start: "SIP/2.0 480 Gone"}
		for _, f := range got.fields {
			switch f[0] {
			case "Via", "From", "Call-ID", "CSeq":
				res.fields = append(res.fields, f)
			case "To":
				res.fields = append(res.fields, [2]string{"To", f[1] + ";tag=gone"})
			}
		}
		u.send(res)
	}
}

// insist is mingle with the answer to a challenge.
func (u *ua) insist(method, uri string, fields ...string) *sip {
	u.t.Helper()
	res := u.mingle(u.request(method, uri, fields...))
	challenge := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[res.code()]
	if challenge == "" {
		return res
	}
	again := u.request(method, uri, fields...)
	again.set(map[int]string{401: "Authorization", 407: "Proxy-Authorization"}[res.code()], u.answer(res.get(challenge), method, uri))
	return u.mingle(again)
}

// hardening 26, 40, 41 and 42: Via, Route, Record-Route, Path and Contact that point at another machine, from strangers and from users, move nothing there: responses go back where the
// request came from, requests to our users only.
func TestInjectedRoutes(t *testing.T) {
	t.Parallel()
	for _, inbound := range []string{"authenticated", "any"} {
		s := newVictim(t, "", fmt.Sprintf("[auth]\ninbound = %q\n", inbound), "alice", "bob", "carol")
		p := newTrap(t)
		host, port, _ := net.SplitHostPort(p.addr)
		route := func(uri string) string { return fmt.Sprintf("Route: <sip:%s;lr>,<%s>", s.udp, uri) }
		aimed := [][]string{
			{route("sip:" + p.addr + ";lr")},
			{route("sip:" + p.addr + ";transport=tcp;lr")},
			{route("sip:alice@" + p.addr + ";lr;maddr=" + host)},
			{"Route: <sip:" + p.addr + ";lr>"},
			{"Route: <sip:" + domain + ";lr;maddr=" + host + ">"},
			{"Route: <sip:" + s.udp + ">, <sip:alice@" + p.addr + ">"}, // a strict router
			{"Record-Route: <sip:" + p.addr + ";lr>"},
			{"Path: <sip:" + p.addr + ";lr>"},
			{"Contact: <sip:alice@" + p.addr + ">"},
			{"Contact: <sip:alice@" + p.addr + ";transport=tcp>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\";reg-id=1"},
			{"Service-Route: <sip:" + p.addr + ";lr>"},
		}
		uris := []string{
			"sip:alice@" + domain, "sip:x@" + p.addr, "sip:x@" + p.addr + ";transport=tcp", "sip:alice@" + domain + ";maddr=" + host, "sip:alice@" + domain + ";maddr=" + host + ";transport=tcp",
			"sip:x@[::ffff:" + host + "]:" + port, "sip:x@localhost:" + port,
		}
		disguised := []string{"sip:x@2130706509:" + port, "sip:x@0177.0.0.77:" + port}
		n := 0
		for _, user := range []string{"", "alice"} {
			for _, network := range []string{"udp", "tcp"} {
				u := s.dial(network, map[string]string{"udp": "alice", "tcp": "carol"}[network])
				self, uris := u.user, uris
				if network == "tcp" {
					uris = append(uris, disguised...) // no URI at all: over UDP only a few such requests a second are answered
				}
				if user == "" {
					u.user = "mallory"
				}
				ask := func(method, uri string, fields ...string) {
					n++
					fields = append(fields, fmt.Sprintf("Call-ID: inject-%d", n))
					if user == "" {
						u.mingle(u.request(method, uri, append(fields, "From: <sip:mallory@example.org>;tag=m")...))
						return
					}
					u.insist(method, uri, fields...)
				}
				for _, method := range []string{"MESSAGE", "INVITE", "OPTIONS", "BYE", "SUBSCRIBE"} {
					for _, fields := range aimed {
						ask(method, "sip:bob@"+domain, fields...)
						ask(method, "sip:bob@"+domain, append(fields, "To: <sip:bob@"+domain+">;tag=forged")...)
					}
					for _, uri := range uris {
						ask(method, strings.Replace(uri, "alice", self, 1))
					}
				}
				for _, fields := range aimed {
					ask("REGISTER", "sip:"+domain, strings.ReplaceAll(strings.Join(fields, ""), "alice", self))
					ask("MESSAGE", "sip:"+self+"@"+domain) // where the registration, if it was taken, leads
				}
			}
		}
		// The Via says where a response goes by itself; the source says where it really goes (RFC 3261, 18.2.1; RFC 3581, 4). maddr counts in the network of the source only (RFC 3261, 18.2.2).
		for i, via := range []string{p.addr, p.addr + ";maddr=" + host, p.addr + ";received=" + host, host + ":" + port + ";received=" + host, "example.org;maddr=" + host} {
			u := s.dial("udp", "mallory")
			m := u.request("OPTIONS", "sip:"+domain)
			m.set("Call-ID", fmt.Sprintf("trap%d", i))
			m.set("Via", fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bKtrap%d", via, i))
			u.send(m)
			m.set("Via", fmt.Sprintf("SIP/2.0/UDP %s;rport;branch=z9hG4bKwell%d", via, i))
			m.set("Call-ID", fmt.Sprintf("well%d", i))
			if res := u.mingle(m); !strings.Contains(res.get("Via"), "received=127.0.0.1") {
				t.Errorf("Via %s", res.get("Via"))
			}
		}
		time.Sleep(time.Second) // what was sent on would have been sent by now; what would be resent comes twice
		if heard := p.heard.Load(); heard > 0 {
			t.Errorf("inbound %s: the trap heard %d times", inbound, heard)
		}
	}
}

// hardening 45: ten thousand Contacts, and ten thousand registrations with ever new instances, leave ten bindings.
func TestContactFlood(t *testing.T) {
	t.Parallel()
	s := newVictim(t, "", "", "alice")
	u := s.dial("tcp", "alice")
	var list []string
	for i := range 10_000 {
		list = append(list, fmt.Sprintf("<sip:a%d@127.0.0.1>", i))
	}
	for _, n := range []int{11, 500, 10_000} {
		flooder := s.dial("tcp", "alice")
		if res := flooder.ask("REGISTER", "sip:"+domain, "Contact: "+strings.Join(list[:n], ",")); res.code() < 400 || res.code() >= 600 {
			t.Errorf("%d contacts: %s", n, res.start)
		}
	}
	accepted := 0
	for i := range 1000 {
		if res := u.ask("REGISTER", "sip:"+domain, fmt.Sprintf("Contact: %s;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-%012X>\"", strings.Replace(u.contact(), "alice@", fmt.Sprintf("a%d@", i), 1), i)); res.code() == 200 {
			accepted++
		} else if res.code() != 403 {
			t.Fatal(res.start)
		}
	}
	if accepted != 10 {
		t.Errorf("%d bindings were accepted", accepted)
	}
}
