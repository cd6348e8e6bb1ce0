package wire

import (
	"errors"
	"strings"
	"testing"
)

// RFC 3261, 8.2.6.2.
func TestNewResponse(t *testing.T) {
	req := mustParse(t, strings.Replace(benchInvite, "Max-Forwards", "Via: SIP/2.0/TCP 192.0.2.99;branch=z9hG4bK2\r\nTimestamp: 54\r\nMax-Forwards", 1)).(*Request)
	res := NewResponse(req, 486, "", "ours")
	want := "SIP/2.0 486 Busy Here\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK.pR5cT0aVw;rport\r\n" +
		"From: \"Alice\" <sip:alice@example.org>;tag=9fxced76sl\r\n" +
		"To: <sip:bob@example.org>;tag=ours\r\n" +
		"CSeq: 20 INVITE\r\n" +
		"Call-ID: 3848276298220188511@192.0.2.10\r\n" +
		"Via: SIP/2.0/TCP 192.0.2.99;branch=z9hG4bK2\r\n" +
		"Content-Length: 0\r\n\r\n"
	if got := res.String(); got != want {
		t.Errorf("got:\n%s", got)
	}
	if a, err := ParseAddress(Get(res, "To")); err != nil || a != res.To || res.To.Tag != "ours" {
		t.Errorf("Head has %+v, the header %+v", res.To, a)
	}
	if req.To.Tag != "" || Get(req, "To") != "<sip:bob@example.org>" {
		t.Error("the request changed")
	}
	// A 100 gets no tag, and Timestamp (RFC 3261, 8.2.6.1).
	res = NewResponse(req, 100, "", "ours")
	if res.To.Tag != "" || Get(res, "To") != "<sip:bob@example.org>" || Get(res, "Timestamp") != "54" || res.Reason != "Trying" {
		t.Errorf("got:\n%s", res)
	}
	// A To that has a tag keeps it; a reason of our own stands.
	tagged := mustParse(t, strings.Replace(benchInvite, "<sip:bob@example.org>", "<sip:bob@example.org>;x=y;tag=theirs", 1)).(*Request)
	if res = NewResponse(tagged, 481, "Gone", "ours"); res.To.Tag != "theirs" || res.Reason != "Gone" || Get(res, "To") != "<sip:bob@example.org>;x=y;tag=theirs" {
		t.Errorf("got:\n%s", res)
	}
	bare := mustParse(t, strings.Replace(benchInvite, "<sip:bob@example.org>", "sip:bob@example.org;x=y", 1)).(*Request)
	if res = NewResponse(bare, 404, "", "ours"); res.To.Params != ";x=y;tag=ours" || res.To.URI.Raw != "sip:bob@example.org" {
		t.Errorf("%+v", res.To)
	}
}

// RFC 3261, 8.1.1: a request of our own, built header by header.
func TestNewRequest(t *testing.T) {
	uri, err := ParseURI("sip:bob@example.org")
	if err != nil {
		t.Fatal(err)
	}
	r := NewRequest("MESSAGE", uri)
	Add(r, "Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
	r.SetMaxForwards(70)
	Add(r, "From", "<sip:alice@example.org>;tag=1")
	Add(r, "To", "<sip:bob@example.org>")
	Add(r, "Call-ID", "1")
	Add(r, "CSeq", "1 MESSAGE")
	r.SetBody([]byte("hello"))
	again := mustParse(t, r.String())
	sameMessage(t, r, again)
	if r.Via.Branch != "z9hG4bK1" || r.CSeq.Seq != 1 || r.MaxForwards != 70 || r.From.Tag != "1" || string(again.Body()) != "hello" {
		t.Errorf("%+v", r)
	}
}

// RFC 3261, 20.14: Content-Length is true, once, and where it stood.
func TestAppendContentLength(t *testing.T) {
	m := mustParse(t, strings.Replace(benchInvite, "Content-Length", "l", 1)).(*Request).Clone()
	m.SetBody([]byte("hi"))
	if out := m.String(); !strings.Contains(out, "sdp\r\nl: 2\r\nContact") || strings.Contains(out, "Content-Length") || !strings.HasSuffix(out, "\r\n\r\nhi") {
		t.Errorf("got:\n%s", out)
	}
	m = mustParse(t, options+"\r\nhello").(*Request)
	if out := m.String(); !strings.HasSuffix(out, "OPTIONS\r\nContent-Length: 5\r\n\r\nhello") {
		t.Errorf("got:\n%s", out)
	}
}

func TestAllocations(t *testing.T) {
	req := mustParse(t, benchInvite).(*Request)
	raw := []byte(benchRegister)
	buf := make([]byte, 0, 4096)
	uri, other := req.URI, req.From.URI
	for name, tt := range map[string]struct {
		max float64
		fn  func()
	}{
		"parse REGISTER": {4, func() { _, _ = Parse(raw) }},
		"append":         {0, func() { buf = Append(buf[:0], req) }},
		"equal":          {0, func() { uri.Equal(other) }},
		"get":            {0, func() { Get(req, "Contact") }},
		"branch":         {1, func() { NewBranch() }},
	} {
		if got := testing.AllocsPerRun(100, tt.fn); got > tt.max {
			t.Errorf("%s: %v allocations, at most %v", name, got, tt.max)
		}
	}
}

// RFC 3261, 8.1.1.7 and 19.3.
func TestIdentifiers(t *testing.T) {
	seen := map[string]bool{}
	for range 10000 {
		b, tag := NewBranch(), NewTag()
		if !strings.HasPrefix(b, MagicCookie) || len(b) != 27 || !all(b, isToken) || len(tag) != 12 || !all(tag, isToken) {
			t.Fatal(b, tag)
		}
		if seen[b] || seen[tag] {
			t.Fatal("twice")
		}
		seen[b], seen[tag] = true, true
	}
}

func TestError(t *testing.T) {
	inner := errors.New("disk full")
	err := Errorf(503, "Try Later", "location: %w", inner).With("Retry-After", "5")
	if err.Error() != "503 Try Later: location: disk full" || !errors.Is(err, inner) || err.Headers[0].Value() != "5" {
		t.Error(err)
	}
	if got := (&Error{Code: 404}).Error(); got != "404 Not Found" {
		t.Error(got)
	}
}

func TestProto(t *testing.T) {
	for p := UDP; p <= WSS; p++ {
		if got, ok := ParseProto(strings.ToLower(p.String())); !ok || got != p {
			t.Error(p, got, ok)
		}
	}
	if _, ok := ParseProto(""); ok || Proto(9).String() != "" || Proto(0).String() != "" || UDP.Reliable() || !TCP.Reliable() || TCP.Secure() || !WSS.Secure() {
		t.Error("Proto")
	}
}

// What UserText writes is a user part as it stands, and no header field to those who look for one everywhere in a message.
func TestUserText(t *testing.T) {
	for x := range 256 {
		text := UserText.EncodeToString([]byte{byte(x), byte(x), byte(x)})
		if strings.Contains(text, "C") || !IsUserText(text) || !all(text, isUser) {
			t.Errorf("%02x is written %q", x, text)
		}
	}
	for text, is := range map[string]bool{"": false, "abcC": false, "ab=": false, "a.B-_9": true} {
		if IsUserText(text) != is {
			t.Errorf("IsUserText(%q) is not %v", text, is)
		}
	}
}
