package wire

import (
	"strings"
	"testing"
)

// Messages as phones send them, in size and in what they hold.
var (
	benchRegister = crlf(`REGISTER sip:example.org SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK.8qJ2mXyV1;rport
From: <sip:alice@example.org>;tag=Kx0Zb3dGf
To: sip:alice@example.org
CSeq: 21 REGISTER
Call-ID: pNwJ8a9WqZ
Max-Forwards: 70
Supported: replaces, outbound, gruu, path
Accept: application/sdp, text/plain, application/vnd.gsma.rcs-ft-http+xml
Contact: <sip:alice@192.0.2.10;transport=udp>;+sip.instance="<urn:uuid:5b1e1b2a-6c1f-4a65-9f8e-0d3a3a5f1c11>";expires=3600
Expires: 3600
User-Agent: Example Phone 5.2.0
Authorization: Digest realm="example.org", nonce="8xv1pSkqk3QWPQ2vJm7f1w", algorithm=SHA-256, username="alice", uri="sip:example.org", response="0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", cnonce="oVnBZkq1", nc=00000001, qop=auth
Content-Length: 0

`)
	benchSDP = crlf(`v=0
o=alice 2890844526 2890844526 IN IP4 192.0.2.10
s=-
c=IN IP4 192.0.2.10
t=0 0
m=audio 49172 RTP/AVP 0 8 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
`)
	benchInvite = crlf(`INVITE sip:bob@example.org SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK.pR5cT0aVw;rport
From: "Alice" <sip:alice@example.org>;tag=9fxced76sl
To: <sip:bob@example.org>
CSeq: 20 INVITE
Call-ID: 3848276298220188511@192.0.2.10
Max-Forwards: 70
Supported: replaces, outbound, gruu
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, PRACK, UPDATE
Content-Type: application/sdp
Content-Length: 226
Contact: <sip:alice@192.0.2.10;transport=udp>
User-Agent: Example Phone 5.2.0

`) + benchSDP
	benchOK = crlf(`SIP/2.0 200 OK
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabcdefghijklmnopqrst
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK.pR5cT0aVw;rport=5060;received=192.0.2.10
Record-Route: <sip:192.0.2.1;lr>
From: "Alice" <sip:alice@example.org>;tag=9fxced76sl
To: <sip:bob@example.org>;tag=314159
CSeq: 20 INVITE
Call-ID: 3848276298220188511@192.0.2.10
Contact: <sip:bob@192.0.2.20:5060>
Content-Type: application/sdp
Content-Length: 226

`) + benchSDP
)

// crlf gives a text the line ends of the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func BenchmarkParse(b *testing.B) {
	for _, m := range [][2]string{{"REGISTER", benchRegister}, {"INVITE", benchInvite}, {"200", benchOK}} {
		b.Run(m[0], func(b *testing.B) {
			raw := []byte(m[1])
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	m := mustParse(b, benchInvite)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], m)
	}
}

// What a proxy does for each branch (RFC 3261, 16.6 steps 1 to 4 and 8), and writing it.
func BenchmarkRewrite(b *testing.B) {
	req := mustParse(b, benchInvite).(*Request)
	target, err := ParseURI("sip:bob@192.0.2.20:5060;transport=udp")
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		c := req.Clone()
		c.SetURI(target)
		c.SetMaxForwards(c.MaxForwards - 1)
		Push(c, "Record-Route", "<sip:192.0.2.1;lr>")
		Push(c, "Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabcdefghijklmnopqrst")
		buf = Append(buf[:0], c)
	}
}

// What a proxy does with a response (RFC 3261, 16.7 steps 3 and 9).
func BenchmarkRewriteResponse(b *testing.B) {
	res := mustParse(b, benchOK).(*Response)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		c := res.Clone()
		Pop(c, "Via")
		buf = Append(buf[:0], c)
	}
}

func BenchmarkNewResponse(b *testing.B) {
	req := mustParse(b, benchRegister).(*Request)
	b.ReportAllocs()
	for b.Loop() {
		NewResponse(req, 401, "", "tag4us")
	}
}

func BenchmarkNewBranch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewBranch()
	}
}

func BenchmarkURIEqual(b *testing.B) {
	u, _ := ParseURI("sip:alice@192.0.2.10:5060;transport=udp;ob")
	v, _ := ParseURI("sip:alice@192.0.2.10:5060;ob;transport=UDP")
	b.ReportAllocs()
	for b.Loop() {
		if !u.Equal(v) {
			b.Fatal("not equal")
		}
	}
}

func BenchmarkAOR(b *testing.B) {
	d := NewDomains([]string{"example.org"}, []string{"192.0.2.7"})
	u, _ := ParseURI("sip:alice@example.org;transport=udp")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := d.AOR(u); !ok {
			b.Fatal("not ours")
		}
	}
}

func BenchmarkFramer(b *testing.B) {
	raw := []byte(benchInvite)
	var f Framer
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Write(raw); err != nil {
			b.Fatal(err)
		}
		for {
			if _, _, ok, err := f.Next(); err != nil {
				b.Fatal(err)
			} else if !ok {
				break
			}
		}
	}
}

func BenchmarkList(b *testing.B) {
	m := mustParse(b, benchOK)
	b.ReportAllocs()
	for b.Loop() {
		if len(List(m, "Via")) != 2 {
			b.Fatal("not two")
		}
	}
}

func mustParse(t testing.TB, text string) Message {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m
}
