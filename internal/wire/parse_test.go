package wire

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// options is a plain request; the %s stand for what a test changes.
const options = "OPTIONS sip:bob@example.org SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1;rport\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: <sip:alice@example.org>;tag=1\r\n" +
	"To: <sip:bob@example.org>\r\n" +
	"Call-ID: call1@192.0.2.10\r\n" +
	"CSeq: 7 OPTIONS\r\n"

// with replaces the line of options that starts as line does, up to its colon, or adds it.
func with(line string) string {
	name, _, _ := strings.Cut(line, ":")
	lines := strings.SplitAfter(options, "\r\n")
	for i, l := range lines {
		if strings.HasPrefix(l, name+":") {
			lines[i] = line + "\r\n"
			return strings.Join(lines, "") + "\r\n"
		}
	}
	return options + line + "\r\n\r\n"
}

// without drops a line.
func without(name string) string {
	lines := strings.SplitAfter(options, "\r\n")
	for i, l := range lines {
		if strings.HasPrefix(l, name) {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "") + "\r\n"
}

// sameMessage fails unless both messages say the same.
func sameMessage(t testing.TB, a, b Message) {
	t.Helper()
	type plain struct {
		Start   any
		Head    Head
		Max     int
		Headers []string
		Body    string
	}
	flat := func(m Message) (p plain) {
		switch m := m.(type) {
		case *Request:
			p.Start, p.Max = [...]any{m.Method, m.URI, m.Recipient.Host, m.Recipient.Port, m.Recipient.User}, m.MaxForwards
		case *Response:
			p.Start = [...]any{m.StatusCode, m.Reason}
		}
		p.Head, p.Body = *m.head(), string(m.Body())
		for _, h := range m.Headers() {
			if identify(h.Name()) != fieldContentLength {
				p.Headers = append(p.Headers, h.Name()+": "+h.Value())
			}
		}
		return p
	}
	if diff := cmp.Diff(flat(a), flat(b)); diff != "" {
		t.Errorf("the messages differ (-first +second):\n%s", diff)
	}
}

// RFC 3261, 7: start line, header fields, an empty line, a body.
func TestParse(t *testing.T) {
	m, err := Parse([]byte(benchInvite))
	if err != nil {
		t.Fatal(err)
	}
	r := m.(*Request)
	if r.Method != "INVITE" || r.SipVersion != "SIP/2.0" || r.URI.Raw != "sip:bob@example.org" || r.MaxForwards != 70 {
		t.Errorf("%+v", r)
	}
	if r.Recipient.User != "bob" || r.Recipient.Host != "example.org" || r.Recipient.Scheme != "sip" {
		t.Errorf("Recipient %+v", r.Recipient)
	}
	want := Head{
		Via: Via{
			Raw: "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK.pR5cT0aVw;rport", Transport: "UDP", Host: "192.0.2.10", Port: 5060,
			Params: ";branch=z9hG4bK.pR5cT0aVw;rport", Branch: "z9hG4bK.pR5cT0aVw", HasRPort: true,
		},
		From: Address{
			Raw: `"Alice" <sip:alice@example.org>;tag=9fxced76sl`, Display: `"Alice"`,
			URI:    URI{Raw: "sip:alice@example.org", Scheme: "sip", User: "alice", Host: "example.org"},
			Params: ";tag=9fxced76sl", Tag: "9fxced76sl",
		},
		To:     Address{Raw: "<sip:bob@example.org>", URI: URI{Raw: "sip:bob@example.org", Scheme: "sip", User: "bob", Host: "example.org"}},
		CallID: "3848276298220188511@192.0.2.10",
		CSeq:   CSeq{20, "INVITE"},
	}
	if diff := cmp.Diff(want, r.Head); diff != "" {
		t.Error(diff)
	}
	if string(r.Body()) != benchSDP {
		t.Errorf("body %q", r.Body())
	}
	if got := string(Append(nil, m)); got != benchInvite {
		t.Errorf("written:\n%s", got)
	}
	// The embedded message is sipgo's own and can be used as such.
	if got := r.Request.String(); got != benchInvite {
		t.Errorf("sipgo writes:\n%s", got)
	}
	if v := r.Request.Via(); v == nil || v.Host != "192.0.2.10" {
		t.Errorf("sipgo reads Via %v", v)
	}
}

func TestParseResponse(t *testing.T) {
	r := mustParse(t, benchOK).(*Response)
	if r.StatusCode != 200 || r.Reason != "OK" || r.CSeq != (CSeq{20, "INVITE"}) || r.To.Tag != "314159" || r.Via.Host != "192.0.2.1" {
		t.Errorf("%+v", r)
	}
	if got := r.Response.String(); got != benchOK {
		t.Errorf("sipgo writes:\n%s", got)
	}
}

// Parse keeps nothing of the buffer it reads.
func TestParseCopies(t *testing.T) {
	raw := []byte(benchInvite)
	m, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if got := string(Append(nil, m)); got != benchInvite {
		t.Errorf("written:\n%s", got)
	}
}

// What phones send and the parser must not mind.
func TestParseLenient(t *testing.T) {
	for name, text := range map[string]string{
		"CRLF before the start line: RFC 3261, 7.5": "\r\n\r\n" + options + "\r\n",
		"no Max-Forwards: RFC 4475, 3.4.1":          without("Max-Forwards"),
		"empty header value":                        with("Supported:"),
		"only white space as value":                 with("Subject: \t "),
		"space before the colon: RFC 3261, 25.1":    with("Subject : lunch"),
		"tabs":                                      with("CSeq:\t7\tOPTIONS"),
		"lower-case transport":                      with("Via: SIP/2.0/udp 192.0.2.10;branch=z9hG4bK1"),
		"rport with = and no value":                 with("Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1;rport="),
		"space around the sent-by's colon":          with("Via: SIP / 2.0 / UDP 192.0.2.10 : 5060 ; branch = z9hG4bK1"),
		"underscore in sent-by":                     with("Via: SIP/2.0/TCP my_phone;branch=z9hG4bK1"),
		"a Via of another version":                  with("Via: SIP/3.0/UDP 192.0.2.10;branch=z9hG4bK1"),
		"garbage in Expires":                        with("Expires: soon"),
		"unknown parameters":                        with("From: <sip:alice@example.org>;tag=1;x;y=\"a;b\";z=1/2"),
		"UTF-8 in a display name":                   with("From: Zoë <sip:alice@example.org>;tag=1"),
		"base64 in a branch":                        with("Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK/a+b=="),
		"host name in sent-by that starts as hex":   with("Via: SIP/2.0/WS 5k6v7t8a.invalid;branch=z9hG4bK1"),
		"= in Call-ID":                              with("Call-ID: abc=def&ghi"),
		"version in lower case: RFC 3261, 7.1":      strings.Replace(options, "SIP/2.0", "sip/2.0", 1) + "\r\n",
		"# in a user part":                          strings.Replace(options, "sip:bob@", "sip:*21#@", 1) + "\r\n",
		"Max-Forwards of 255: RFC 3261, 20.22":      with("Max-Forwards: 255"),
		"largest CSeq: RFC 3261, 8.1.1.5":           with("CSeq: 2147483647 OPTIONS"),
		"compact names: RFC 3261, 7.3.3": "OPTIONS tel:+15551234 SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.10\r\nf: <sip:a@example.org>\r\n" +
			"T: <sip:b@example.org>\r\ni: 1\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n",
		"no reason and no space before it: RFC 4475, 3.1.1.13": strings.Replace(options, "OPTIONS sip:bob@example.org SIP/2.0", "SIP/2.0 200", 1) + "\r\n",
		"NUL quoted: RFC 3261, 25.1":                           with("From: \"a\\\x00b\" <sip:alice@example.org>;tag=1"),
	} {
		m, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again, err := Parse(Append(nil, m)); err != nil {
			t.Errorf("%s: written: %v", name, err)
		} else {
			sameMessage(t, m, again)
		}
	}
}

// RFC 3261, 25: what the grammar does not allow.
func TestParseErrors(t *testing.T) {
	long := func(n int) string { return strings.Repeat("A", n) }
	for _, tt := range []struct {
		name, text string
		code       int
	}{
		{"empty", "", 400},
		{"only CRLF", "\r\n\r\n", 400},
		{"no end of the header", options, 400},
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", 400},
		{"version 3: RFC 3261, 21.5.6", strings.Replace(options, "SIP/2.0", "SIP/3.0", 1) + "\r\n", 505},
		{"version in a response", "SIP/2.1 200 OK\r\n\r\n", 505},
		{"method with a separator", strings.Replace(options, "OPTIONS", "OPT@IONS", 1) + "\r\n", 400},
		{"no Request-URI", strings.Replace(options, " sip:bob@example.org", "", 1) + "\r\n", 400},
		{"tab in the request line", strings.Replace(options, "OPTIONS ", "OPTIONS\t", 1) + "\r\n", 400},
		{"Request-URI too long: RFC 3261, 21.4.12", strings.Replace(options, "bob", long(MaxURI), 1) + "\r\n", 414},
		{"message too large: RFC 3261, 21.5.7", options + "\r\n" + long(MaxMessage), 513},
		{"status 099", "SIP/2.0 099 No\r\n" + options[strings.Index(options, "Via"):] + "\r\n", 400},
		{"status 700", "SIP/2.0 700 No\r\n" + options[strings.Index(options, "Via"):] + "\r\n", 400},
		{"header folded into the request line", strings.Replace(options, "\r\nVia", "\r\n Via", 1) + "\r\n", 400},

		// hardening 7: control characters in a name are not white space.
		{"hardening 7: SOH in a name", with("Contact\x01: <sip:alice@192.0.2.10>"), 400},
		{"hardening 7: VT in a name", with("To\x0b: <sip:carol@example.org>;tag=x"), 400},
		{"no colon", with("Subject"), 400},
		{"empty name", with(": x"), 400},

		// hardening 8: duplicate singletons, long and compact forms mixed.
		{"hardening 8: To", with("t: <sip:carol@example.org>"), 400},
		{"hardening 8: From", with("F: <sip:carol@example.org>;tag=2"), 400},
		{"hardening 8: Call-ID", with("i: other"), 400},
		{"hardening 8: CSeq", with("CSEQ: 8 OPTIONS"), 400},
		{"hardening 8: Max-Forwards", with("max-forwards: 7"), 400},
		{"hardening 8: Expires", with("Expires: 1\r\nexpires: 2"), 400},
		{"hardening 8: Content-Type", with("c: a/b\r\nContent-Type: c/d"), 400},
		{"hardening 2: Content-Length and l", with("l: 5\r\nContent-Length: 0"), 400},
		{"hardening 2: Content-Length twice the same", with("Content-Length: 0\r\nContent-Length : 0"), 400},

		// hardening 9: CR and LF come in pairs, NUL not at all; one rule on all transports.
		{"hardening 9: LF for CRLF", strings.ReplaceAll(options, "\r\n", "\n") + "\n", 400},
		{"hardening 9: one bare LF", strings.Replace(options, "\r\nFrom", "\nFrom", 1) + "\r\n", 400},
		{"hardening 9: CR for CRLF", strings.ReplaceAll(options, "\r\n", "\r") + "\r", 400},
		{"hardening 9: CR CR LF", strings.Replace(options, "\r\nFrom", "\r\r\nFrom", 1) + "\r\n", 400},
		{"hardening 9: CR in a value", with("Subject: a\rInjected: b"), 400},
		{"hardening 9: LF in a value", with("Subject: a\nInjected: b"), 400},
		{"hardening 9: NUL in a value", with("Subject: a\x00b"), 400},
		{"hardening 9: NUL in a quoted string, not escaped", with("From: \"a\x00b\" <sip:alice@example.org>;tag=1"), 400},
		{"hardening 9: NUL escaped outside a quoted string", with("Subject: a\\\x00b"), 400},
		{"hardening 9: NUL in the request line", "\x00" + options + "\r\n", 400},

		// RFC 3261, 8.1.1: what every request has.
		{"no Via", without("Via"), 400},
		{"no From", without("From"), 400},
		{"no To", without("To"), 400},
		{"no Call-ID", without("Call-ID"), 400},
		{"no CSeq", without("CSeq"), 400},

		{"CSeq of another method", with("CSeq: 7 INVITE"), 400},
		{"method compares with case: RFC 3261, 7.1", with("CSeq: 7 Options"), 400},
		{"hardening 16: CSeq 2^31", with("CSeq: 2147483648 OPTIONS"), 400},
		{"hardening 16: CSeq 2^32", with("CSeq: 4294967296 OPTIONS"), 400},
		{"hardening 16: CSeq -1", with("CSeq: -1 OPTIONS"), 400},
		{"hardening 16: CSeq of 40 digits", with("CSeq: " + strings.Repeat("9", 40) + " OPTIONS"), 400},
		{"hardening 16: CSeq method of 3,000 A", with("CSeq: 7 " + long(3000)), 400},
		{"hardening 16: method of 3,000 A", strings.ReplaceAll(options, "OPTIONS", long(3000)) + "\r\n", 400},
		{"CSeq without method", with("CSeq: 7"), 400},
		{"CSeq without space", with("CSeq: 7OPTIONS"), 400},
		{"Max-Forwards 256", with("Max-Forwards: 256"), 400},
		{"Max-Forwards -1", with("Max-Forwards: -1"), 400},
		{"Max-Forwards empty", with("Max-Forwards:"), 400},
		{"space in Call-ID", with("Call-ID: a b"), 400},
		{"empty Call-ID", with("Call-ID: "), 400},
		{"star as To", with("To: *"), 400},
		{"empty tag", with("From: <sip:alice@example.org>;tag="), 400},
		{"two tags", with("From: <sip:alice@example.org>;tag=1;Tag=2"), 400},
		{"two addresses in From", with("From: <sip:alice@example.org>;tag=1, <sip:bob@example.org>"), 400},
		{"two branches", with("Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1;branch=z9hG4bK2"), 400},
		{"Via without transport", with("Via: SIP/2.0 192.0.2.10"), 400},
		{"first Via empty", with("Via: , SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1"), 400},
		{"Via port of 0", with("Via: SIP/2.0/UDP 192.0.2.10:0;branch=z9hG4bK1"), 400},
		{"hardening 12: Via of the fuzzer", "OPTIONS sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/\x16UD~PTo :::]\nVia: SIP/2.0/\x16UD~PTo :::]\nTo:. <sv:>;tga\x91o5;tga=0fe\r\n\r\n", 400},
		{"hardening 12: To of the fuzzer", with("To:. <sv:>;tga\x91o5;tga=0fe"), 400},

		// hardening 1 and 2, as a datagram.
		{"Content-Length larger than the datagram: RFC 3261, 18.3", with("Content-Length: 1"), 400},
		{"Content-Length +0", with("Content-Length: +0"), 400},
		{"Content-Length -0", with("Content-Length: -0"), 400},
		{"Content-Length 0x0", with("Content-Length: 0x0"), 400},
		{"Content-Length 0 0", with("Content-Length: 0 0"), 400},
		{"Content-Length 0,0", with("Content-Length: 0,0"), 400},
		{"Content-Length empty", with("Content-Length:"), 400},
		{"Content-Length 2^32", with("Content-Length: 4294967296"), 513},
		{"Content-Length 2^64", with("Content-Length: 18446744073709551616"), 400},

		{"hardening 17: too many headers", options + strings.Repeat("Accept: a/b\r\n", 1000) + "\r\n", 400},
		{"hardening 17: 60 KB of commas in Via", with("Via: " + strings.Repeat(",", 60000)), 400},
		{"hardening 17: 60 KB of semicolons in From", with("From: <sip:alice@example.org>" + strings.Repeat(";", 60000)), 400},
		{"a value too long", with("Subject: " + long(MaxHeaderValue+1)), 400},
		{"too many parameters", with("From: <sip:alice@example.org>;tag=1" + strings.Repeat(";x", MaxParams)), 400},
	} {
		m, err := Parse([]byte(tt.text))
		if codeOf(err) != tt.code {
			t.Errorf("%s: got %v, want %d", tt.name, err, tt.code)
		}
		if m != nil && m.Body() != nil {
			t.Errorf("%s: a message in error has a body", tt.name)
		}
	}
}

// RFC 3261, 8.2.6: a request in error is answered as far as it could be read, and nothing in the answer starts a header of its own.
func TestParseErrorAnswer(t *testing.T) {
	for _, tt := range []struct{ name, text, missing string }{
		{"bad From", with("From: <sip:alice"), ""},
		{"bad line end", with("Subject: a\nInjected: b"), ""},
		{"CR in To", with("To: <sip:bob@example.org>\rInjected: x"), "To"},
		{"NUL in Call-ID", with("Call-ID: a\x00b"), "Call-ID"},
		{"another version", strings.Replace(options, "SIP/2.0", "SIP/7.0", 1) + "\r\n", ""},
		{"no end", options, ""},
	} {
		m, err := Parse([]byte(tt.text))
		req, ok := m.(*Request)
		if !ok || err == nil {
			t.Errorf("%s: %v, %v", tt.name, m, err)
			continue
		}
		out := Append(nil, NewResponse(req, err.Code, err.Reason, "t1"))
		for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
			if got := bytes.Contains(out, []byte("\r\n"+name+": ")); got == (name == tt.missing) {
				t.Errorf("%s: %s in the answer: %v\n%q", tt.name, name, got, out)
			}
		}
		if bytes.Count(out, []byte("\r")) != bytes.Count(out, []byte("\r\n")) || bytes.Count(out, []byte("\n")) != bytes.Count(out, []byte("\r\n")) ||
			bytes.IndexByte(out, 0) >= 0 || bytes.Contains(out, []byte("\r\nInjected")) {
			t.Errorf("%s: the answer carries the fault on: %q", tt.name, out)
		}
	}
}

// hardening 9: who ends lines with LF, as by hand with nc, is told that, and not that something is missing.
func TestParseLineFeeds(t *testing.T) {
	m, err := Parse([]byte(strings.ReplaceAll(options, "\r\n", "\n") + "\n"))
	if req, ok := m.(*Request); !ok || req.Via.Host != "192.0.2.10" || err == nil || err.Code != 400 || err.Reason != "Bad Line End" {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := Parse([]byte(options)); err == nil || err.Reason != "Incomplete Header" {
		t.Errorf("without an end: %v", err)
	}
}

// RFC 3261, 7.3.1: a fold is one space; the value is otherwise as it came.
func TestParseFold(t *testing.T) {
	m := mustParse(t, with("Subject: I know you're there,  \r\n\t  pick up \r\n the phone\r\nX:\r\n \r\n\ty"))
	if got := Get(m, "Subject"); got != "I know you're there, pick up the phone" {
		t.Errorf("Subject %q", got)
	}
	if got := Get(m, "X"); got != "y" {
		t.Errorf("X %q", got)
	}
}

// hardening 6: a header with white space before its colon is that header.
func TestParseSpaceBeforeColon(t *testing.T) {
	for _, line := range []string{"X-Bypass-Me : lol", "X-Bypass-Me\t: lol", "x-bypass-me  :\r\n lol"} {
		m := mustParse(t, with(line))
		if Get(m, "X-Bypass-Me") != "lol" {
			t.Errorf("%q is not found", line)
		}
		Del(m, "X-Bypass-Me")
		if out := Append(nil, m); bytes.Contains(bytes.ToLower(out), []byte("bypass")) {
			t.Errorf("%q is still there: %q", line, out)
		}
	}
}

// hardening 10: long tags and branches are taken or refused, and come back whole.
func TestParseLongValues(t *testing.T) {
	for _, n := range []int{255, 256, 512, 4096, 65000} {
		long := strings.Repeat("x", n)
		for _, line := range []string{"From: <sip:alice@example.org>;tag=" + long, "Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK" + long} {
			m, err := Parse([]byte(with(line)))
			if ok := n < MaxHeaderValue; ok != (err == nil) {
				t.Errorf("%d: %v", n, err)
			} else if ok && !bytes.Contains(Append(nil, m), []byte(line)) {
				t.Errorf("%d: the value changed", n)
			}
		}
	}
}

// hardening 17: what one message costs is bounded by its size.
func TestParseMemory(t *testing.T) {
	for name, text := range map[string]string{
		"headers":    options + strings.Repeat("a:\r\n", 15000) + "\r\n",
		"commas":     with("Route: " + strings.Repeat(",", MaxHeaderValue)),
		"parameters": with("From: <sip:alice@example.org>;tag=1" + strings.Repeat(";x", MaxHeaderValue/2-30)),
		"dots":       with("Authorization: Bearer " + strings.Repeat(".", MaxHeaderValue-10)),
		"contacts":   with("Contact: " + strings.Repeat("a,", MaxHeaderValue/2)),
	} {
		raw := []byte(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if m, _ := Parse(raw); m != nil {
			List(m, "Route")
			List(m, "Contact")
		}
		runtime.ReadMemStats(&after)
		got := after.TotalAlloc - before.TotalAlloc
		if got > 20*uint64(len(raw)) {
			t.Errorf("%s: %d bytes for a message of %d", name, got, len(raw))
		}
	}
}
