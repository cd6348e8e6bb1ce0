package wire

import (
	"strings"
	"testing"
)

// RFC 3261, 7.2: a status line is a version, a code of three digits and a phrase for people, which passes as it is.
func TestStatusLine(t *testing.T) {
	rest := benchOK[strings.Index(benchOK, "\r\n"):]
	for line, want := range map[string]struct {
		code   int
		reason string
	}{
		"SIP/2.0 200 OK":                   {200, "OK"},
		"SIP/2.0 200 ":                     {200, ""},
		"SIP/2.0 183 Nous y voil\u00e0!":   {183, "Nous y voil\u00e0!"},
		"SIP/2.0 699 One of the last ones": {699, "One of the last ones"},
		"SIP/2.0 100 a:b;c <d> %20":        {100, "a:b;c <d> %20"},
	} {
		m, err := Parse([]byte(line + rest))
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		r := m.(*Response)
		if r.StatusCode != want.code || r.Reason != want.reason {
			t.Errorf("%q: %d %q", line, r.StatusCode, r.Reason)
		}
		if got, _, _ := strings.Cut(string(Append(nil, r)), "\r\n"); got != line {
			t.Errorf("%q is written as %q", line, got)
		}
	}
	for _, line := range []string{"SIP/2.0 20 OK", "SIP/2.0 2000 OK", "SIP/2.0 2x0 OK", "SIP/2.0  200 OK", "SIP/2.0 -20 OK", "SIP/2.0"} {
		if _, err := Parse([]byte(line + rest)); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

// RFC 3261, 21: each code of the standard has its phrase there, and a code that nobody defined has none.
func TestPhrase(t *testing.T) {
	for code, want := range map[int]string{
		100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
		200: "OK", 300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service",
		400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
		406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone", 413: "Request Entity Too Large",
		414: "Request-URI Too Long", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required",
		423: "Interval Too Brief", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops",
		484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 491: "Request Pending",
		493: "Undecipherable", 500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
		504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large", 600: "Busy Everywhere", 603: "Decline",
		604: "Does Not Exist Anywhere", 606: "Not Acceptable", 299: "", 599: "",
	} {
		if got := Phrase(code); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}

// RFC 3261, 20.20 and 20.39: From and To with and without display name; without angle brackets the parameters are the header's (RFC 3261, 20).
func TestFromAndTo(t *testing.T) {
	for value, want := range map[string]struct{ uri, tag string }{
		`"A. G. Bell" <sip:agb@bell-telephone.example.org> ;tag=a48s`: {"sip:agb@bell-telephone.example.org", "a48s"},
		`sip:+12125551212@server.example.org;tag=887s`:                {"sip:+12125551212@server.example.org", "887s"},
		`Anonymous <sip:c8oqz84zk7z@example.org>;tag=hyh8`:            {"sip:c8oqz84zk7z@example.org", "hyh8"},
		`"a\"<sip:x@y>;tag=no" <sip:b@example.org;tag=uri>;TAG=b`:     {"sip:b@example.org;tag=uri", "b"},
		`<sip:b@example.org>`: {"sip:b@example.org", ""},
	} {
		from := mustParse(t, with("From: "+value)).(*Request).From
		to := mustParse(t, with("To: "+value)).(*Request).To
		for _, a := range []Address{from, to} {
			if a.URI.Raw != want.uri || a.Tag != want.tag {
				t.Errorf("%s: %q %q", value, a.URI.Raw, a.Tag)
			}
		}
	}
}

// RFC 3261, 20.16: a sequence number below 2**31 and a method.
func TestCSeq(t *testing.T) {
	for value, want := range map[string]uint32{"0 OPTIONS": 0, "2147483647 OPTIONS": 1<<31 - 1, "007 OPTIONS": 7, "9\t OPTIONS": 9} {
		m, err := Parse([]byte(with("CSeq: " + value)))
		if err != nil {
			t.Errorf("%q: %v", value, err)
			continue
		}
		if got := m.(*Request).CSeq; got.Seq != want || got.Method != "OPTIONS" {
			t.Errorf("%q: %+v", value, got)
		}
	}
}
