package interop

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
)

// hardening 14 and 15: what is in a body is the endpoints' business: descriptions and multiparts that have broken parsers pass through the proxy unread and unchanged.
func TestBodiesPass(t *testing.T) {
	t.Parallel()
	s := newVictim(t, "", "", "alice", "bob")
	bob, alice := s.dial("tcp", "bob"), s.dial("tcp", "alice")
	if code := bob.registerAs("bob"); code != 200 {
		t.Fatal(code)
	}
	const sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
	nested := ""
	for i := range 1000 {
		nested += fmt.Sprintf("--b%d\r\nContent-Type: multipart/mixed;boundary=b%d\r\n\r\n", i, i+1)
	}
	for _, tt := range []struct{ name, kind, body string }{
		{"hardening 14: no final line end", "application/sdp", strings.TrimSuffix(sdp, "\r\n")},
		{"hardening 14: b= without a colon", "application/sdp", sdp + "b=AS64\r\n"},
		{"hardening 14: empty a=", "application/sdp", sdp + "m=audio 6000 RTP/AVP 0\r\na=\r\n"},
		{"hardening 14: 3,000 m-lines", "application/sdp", sdp + strings.Repeat("m=audio 1 RTP/AVP\r\n", 3000)},
		{"hardening 14: 2,000 times the same type", "application/sdp", sdp + "m=audio 6000 RTP/AVP 0\r\n" + strings.Repeat("a=rtpmap:96 x/8000\r\n", 2000)},
		{"hardening 14: components that are none", "application/sdp", sdp + "m=audio 6000 RTP/AVP 0\r\na=candidate:1 999 UDP 1 192.0.2.1 1 typ host\r\na=candidate:1 0 UDP 1 192.0.2.1 1 typ host\r\n"},
		{"hardening 14: NUL at the end", "application/sdp", sdp + "a\x00"},
		{"hardening 14: one byte", "application/sdp", "v"},
		{"hardening 14: nothing", "application/sdp", ""},
		{"hardening 15: no boundary", "multipart/mixed", "--x\r\n\r\n--x--\r\n"},
		{"hardening 15: an empty boundary", "multipart/mixed;boundary=", "--\r\n\r\n----\r\n"},
		{"hardening 15: never closed", "multipart/mixed;boundary=x", "--x\r\n\r\nhello"},
		{"hardening 15: nested 1,000 deep", "multipart/mixed;boundary=b0", nested},
	} {
		t.Run(tt.name, func(t *testing.T) {
			uri := "sip:bob@" + domain
			m := alice.request("MESSAGE", uri, "Content-Type: "+tt.kind)
			m.body = tt.body
			res := alice.exchange(m)
			m = alice.request("MESSAGE", uri, "Content-Type: "+tt.kind, "Proxy-Authorization: "+alice.answer(res.get("Proxy-Authenticate"), "MESSAGE", uri))
			m.body = tt.body
			alice.send(m)
			got := bob.await("MESSAGE", 20e9)
			if got.body != tt.body || got.get("Content-Type") != tt.kind {
				t.Errorf("%d bytes of %s arrived as %d of %s", len(tt.body), tt.kind, len(got.body), got.get("Content-Type"))
			}
			if res := alice.read(20e9); res.code() != 200 {
				t.Error(res.start)
			}
		})
	}
}

// hardening 27: no header makes an address of its sender; an account without a password lets nobody in.
func TestTrustedAddressesClaimed(t *testing.T) {
	t.Parallel()
	s := newVictim(t, "", "", "alice")
	for _, claim := range []string{
		"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1", "P-Asserted-Identity: <sip:alice@" + domain + ">", "Remote-Party-ID: <sip:alice@" + domain + ">;party=calling",
		"P-Preferred-Identity: <sip:alice@" + domain + ">", "X-Auth-User: alice", "Authorization: Basic YWxpY2U6", "Authorization: Digest username=\"alice\", realm=\"" + domain + "\"",
	} {
		u := s.dial("tcp", "alice")
		if res := u.exchange(u.request("REGISTER", "sip:"+domain, claim)); res.code() != 401 && res.code() != 400 {
			t.Errorf("%s: %s", claim, res.start)
		}
		if res := u.exchange(u.request("MESSAGE", "sip:alice@"+domain, claim)); res.code() != 407 && res.code() != 400 {
			t.Errorf("%s: %s", claim, res.start)
		}
	}
	u := s.dial("udp", "alice")
	for _, via := range []string{"127.0.0.1;received=127.0.0.1", s.udp, "localhost"} {
		m := u.request("REGISTER", "sip:"+domain)
		m.set("Via", fmt.Sprintf("SIP/2.0/UDP %s;rport;branch=z9hG4bKclaim%d", via, u.branches))
		if res := u.exchange(m); res.code() != 401 {
			t.Errorf("Via %s: %s", via, res.start)
		}
	}
	conn, err := net.Dial("tcp", s.tcp) // what a load balancer says before it lets a client speak
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PROXY TCP4 127.0.0.1 127.0.0.1 5060 5060\r\n%s", options("tcp", "127.0.0.1", guestNumber.Add(1)))
	b := make([]byte, 2048)
	if n, err := conn.Read(b); err == nil && !strings.HasPrefix(string(b[:n]), "SIP/2.0 400 ") {
		t.Errorf("PROXY: %q", b[:n])
	}
}

var changing = regexp.MustCompile(`nonce="[^"]*"|tag=[^;\r\n]*|branch=[^;\r\n]*|TCP [0-9.:]*|received=[0-9.]*|rport=[0-9]*|(user|nobody)\d{4}`)

// hardening 25: who has an account cannot be found out: names that exist and names that do not get the same answer, header by header, to every method, with a wrong password as without
// one.
func TestEnumeration(t *testing.T) {
	t.Parallel()
	const n = 250
	source := 0
	s := newVictim(t, "", "", manyUsers(n)...)
	for _, method := range []string{"REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE"} {
		answers := map[string]int{}
		u := s.dial("tcp", "")
		ask := func(name string) {
			u.user = name
			uri := "sip:" + name + "@" + domain
			if method == "REGISTER" {
				uri = "sip:" + domain
			}
			m := u.request(method, uri, "Event: presence", fmt.Sprintf("Call-ID: enum%07d", u.cseq+1))
			res := u.exchange(m)
			answers[whole(res, m)]++
			field := map[int]string{401: "Authorization", 407: "Proxy-Authorization"}[res.code()]
			challenge := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[res.code()]
			if field == "" {
				return
			}
			wrong := u.answer(res.get(challenge), "ANOTHER", uri)
			m = u.request(method, uri, "Event: presence", fmt.Sprintf("Call-ID: enum%07d", u.cseq+1), field+": "+wrong)
			answers["wrong password: "+whole(u.exchange(m), m)]++
		}
		for i := range n {
			if i%5 == 0 { // a source with too many wrong passwords is refused, whoever it asks for (hardening 29): so take another
				source++
				u.conn = s.from(source*900, s.tcp)
				u.in = bufio.NewReader(u.conn)
				defer u.conn.Close()
			}
			ask(fmt.Sprintf("user%04d", i))
			ask(fmt.Sprintf("nobody%04d", i))
		}
		for answer, times := range answers {
			if times != 2*n {
				t.Errorf("%s: %d of %d got\n%s", method, times, 2*n, answer)
			}
		}
	}
}

// whole is a response without what is of one request.
func whole(res, req *sip) string {
	text := strings.ReplaceAll(string(res.bytes()), req.get("Call-ID"), "ID")
	text = strings.ReplaceAll(text, "CSeq: "+req.get("CSeq"), "CSeq")
	return changing.ReplaceAllString(text, "*")
}
