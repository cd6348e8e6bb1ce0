package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Each message of RFC 4475 and RFC 5118, and what the RFC wants done with it, as far as it is the codec's to do: 0 is a message to accept and
// to forward as it is, else the status of the answer. "Should be dropped" of a response is any error: callers drop what they cannot answer.
var torture = []struct {
	file string
	code int
	why  string
}{
	{"rfc4475/wsinv", 0, "RFC 4475, 3.1.1.1: all elements treat it as well formed"},
	{"rfc4475/intmeth", 0, "RFC 4475, 3.1.1.2: a wide range of valid characters"},
	{"rfc4475/esc01", 0, "RFC 4475, 3.1.1.3: a parser must accept it"},
	{"rfc4475/escnull", 0, "RFC 4475, 3.1.1.4: parsers must accept it"},
	{"rfc4475/esc02", 0, "RFC 4475, 3.1.1.5: % is no escape in most places"},
	{"rfc4475/lwsdisp", 0, "RFC 4475, 3.1.1.6: elements should accept it"},
	{"rfc4475/longreq", 0, "RFC 4475, 3.1.1.7: well formed, with long values"},
	{"rfc4475/dblreq", 0, "RFC 4475, 3.1.1.8: the extra octets are ignored and not forwarded"},
	{"rfc4475/semiuri", 0, "RFC 4475, 3.1.1.9: receiving elements accept it"},
	{"rfc4475/transports", 0, "RFC 4475, 3.1.1.10: parsers must accept unknown transports"},
	{"rfc4475/mpart01", 0, "RFC 4475, 3.1.1.11: parsers must accept it, NULs in the body too"},
	{"rfc4475/unreason", 0, "RFC 4475, 3.1.1.12: a parser must accept the reason phrase"},
	{"rfc4475/noreason", 0, "RFC 4475, 3.1.1.13: a parser must accept it"},

	{"rfc4475/badinv01", 400, "RFC 4475, 3.1.2.1: should respond with 400"},
	{"rfc4475/clerr", 400, "RFC 4475, 3.1.2.2: over UDP should respond with 400"},
	{"rfc4475/ncl", 400, "RFC 4475, 3.1.2.3: should respond with an error"},
	{"rfc4475/scalar02", 400, "RFC 4475, 3.1.2.4: 400 due to the CSeq error"},
	{"rfc4475/scalarlg", 400, "RFC 4475, 3.1.2.5: a response, discarded"},
	{"rfc4475/quotbal", 400, "RFC 4475, 3.1.2.6: should return 400"},
	{"rfc4475/ltgtruri", 400, "RFC 4475, 3.1.2.7: reasonable always to reject with 400"},
	{"rfc4475/lwsruri", 400, "RFC 4475, 3.1.2.8: should respond with 400"},
	{"rfc4475/lwsstart", 400, "RFC 4475, 3.1.2.9: acceptable to reject"},
	{"rfc4475/trws", 400, "RFC 4475, 3.1.2.10: acceptable to reject"},
	{"rfc4475/escruri", 400, "RFC 4475, 3.1.2.11: acceptable to reject with 400"},
	{"rfc4475/baddate", 0, "RFC 4475, 3.1.2.12: should not be rejected by who does not need the Date"},
	{"rfc4475/regbadct", 0, "RFC 4475, 3.1.2.13: 400 is the registrar's, which reads the Contact; see TestTortureContact"},
	{"rfc4475/badaspec", 400, "RFC 4475, 3.1.2.14: reasonable to reject with 400"},
	{"rfc4475/baddn", 400, "RFC 4475, 3.1.2.15: reasonable always to reject with 400"},
	{"rfc4475/badvers", 505, "RFC 4475, 3.1.2.16: should respond with 505"},
	{"rfc4475/mismatch01", 400, "RFC 4475, 3.1.2.17: any element responds with 400"},
	{"rfc4475/mismatch02", 400, "RFC 4475, 3.1.2.18: 400 is acceptable"},
	{"rfc4475/bigcode", 400, "RFC 4475, 3.1.2.19: a response, dropped"},

	{"rfc4475/badbranch", 0, "RFC 4475, 3.2.1: a parser must not break; transactions decide"},
	{"rfc4475/insuf", 400, "RFC 4475, 3.3.1: ideally 400"},
	{"rfc4475/unkscm", 0, "RFC 4475, 3.3.2: a parser must accept it; 416 is the proxy's"},
	{"rfc4475/novelsc", 0, "RFC 4475, 3.3.3: a parser must accept it; 416 is the proxy's"},
	{"rfc4475/unksm2", 0, "RFC 4475, 3.3.4: parsers must not fail; 400 is the registrar's"},
	{"rfc4475/bext01", 0, "RFC 4475, 3.3.5: 420 is for whom the extension is"},
	{"rfc4475/invut", 0, "RFC 4475, 3.3.6: a parser must not fail"},
	{"rfc4475/regaut01", 0, "RFC 4475, 3.3.7: a parser must not fail; 401 is the registrar's"},
	{"rfc4475/multi01", 400, "RFC 4475, 3.3.8: would respond with 400"},
	{"rfc4475/mcl01", 400, "RFC 4475, 3.3.9: should respond with an error"},
	{"rfc4475/bcast", 0, "RFC 4475, 3.3.10: parsers must not fail; the proxy drops it"},
	{"rfc4475/zeromf", 0, "RFC 4475, 3.3.11: legal; 483 is the proxy's"},
	{"rfc4475/cparam01", 0, "RFC 4475, 3.3.12: should succeed"},
	{"rfc4475/cparam02", 0, "RFC 4475, 3.3.13: should succeed"},
	{"rfc4475/regescrt", 0, "RFC 4475, 3.3.14: should succeed"},
	{"rfc4475/sdp01", 0, "RFC 4475, 3.3.15: 406 is the callee's"},
	{"rfc4475/inv2543", 0, "RFC 4475, 3.4.1: should be accepted"},
	{"rfc4475/test", 400, "in the archive only: a request line without a version"},

	{"rfc5118/ipv6-good", 0, "RFC 5118, 4.1: well formed"},
	{"rfc5118/ipv6-bad", 400, "RFC 5118, 4.2: should respond with 400"},
	{"rfc5118/port-ambiguous", 0, "RFC 5118, 4.3: well formed, though not as meant"},
	{"rfc5118/port-unambiguous", 0, "RFC 5118, 4.4: well formed"},
	{"rfc5118/via-received-param-with-delim", 0, "RFC 5118, 4.5: must be parsed"},
	{"rfc5118/via-received-param-no-delim", 0, "RFC 5118, 4.5: must be parsed"},
	{"rfc5118/ipv6-in-sdp", 0, "RFC 5118, 4.6: well formed"},
	{"rfc5118/mult-ip-in-header", 0, "RFC 5118, 4.7: well formed"},
	{"rfc5118/mult-ip-in-sdp", 0, "RFC 5118, 4.8: well formed"},
	{"rfc5118/ipv4-mapped-ipv6", 0, "RFC 5118, 4.9: must be parsed"},
	{"rfc5118/ipv6-bug-abnf-3-colons", 0, "RFC 5118, 4.10: an implementation must tolerate both"},
	{"rfc5118/ipv6-correct-abnf-2-colons", 0, "RFC 5118, 4.10: an implementation must tolerate both"},
}

func readTorture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)+".dat"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hardening 17: all messages of RFC 4475 and RFC 5118, none skipped.
func TestTorture(t *testing.T) {
	for _, tt := range torture {
		t.Run(tt.file, func(t *testing.T) {
			raw := readTorture(t, tt.file)
			m, err := Parse(raw)
			if code := codeOf(err); code != tt.code {
				t.Fatalf("got %v, want %d: %s", err, tt.code, tt.why)
			}
			if err == nil {
				checkIntact(t, raw, m)
			}
		})
	}
	files, err := filepath.Glob("testdata/rfc*/*.dat")
	if err != nil || len(files) != len(torture) {
		t.Errorf("%d files, %d rows (%v)", len(files), len(torture), err)
	}
}

// hardening 17: byte by byte. What a stream can frame gives the same as a datagram; what it cannot is an error, never silence.
func TestTortureFramed(t *testing.T) {
	for _, tt := range torture {
		t.Run(tt.file, func(t *testing.T) {
			raw := readTorture(t, tt.file)
			var f Framer
			for i := range raw {
				if err := f.Write(raw[i : i+1]); err != nil {
					t.Fatal(err)
				}
				msg, _, ok, err := f.Next()
				if err != nil {
					if tt.code == 0 && Has(mustParse(t, string(raw)), "Content-Length") {
						t.Fatalf("after %d bytes: %v", i+1, err)
					}
					return
				}
				if ok {
					if _, err := Parse(msg); codeOf(err) != tt.code {
						t.Fatalf("got %v, want %d", err, tt.code)
					}
					return
				}
			}
			if tt.file != "rfc4475/clerr" { // waits for its body, as the RFC says
				t.Error("the stream gave nothing")
			}
		})
	}
}

func codeOf(err *Error) int {
	if err == nil {
		return 0
	}
	return err.Code
}

// checkIntact: what is written has each line of what was read, unfolded, in its order, and the body.
func checkIntact(t *testing.T, raw []byte, m Message) {
	t.Helper()
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	_, want := cutLine(unfold(string(head) + "\r\n"))
	for _, h := range m.Headers() {
		var line string
		line, want = cutLine(want)
		name, value, ok := cutField(line)
		if !ok || name != h.Name() || value != h.Value() {
			t.Errorf("%q became %q: %q", line, h.Name(), h.Value())
		}
	}
	if !bytes.HasPrefix(body, m.Body()) {
		t.Error("the body changed")
	}
	again, err := Parse(Append(nil, m))
	if err != nil {
		t.Fatalf("written, it is no longer readable: %v", err)
	}
	sameMessage(t, m, again)
}

// RFC 4475, 3.1.1.4, 3.1.2.13, 3.3.12, 3.3.13, 3.3.14: what the registrar reads of the Contact.
func TestTortureContact(t *testing.T) {
	type contact struct {
		uri, params string
		bad         bool
	}
	for file, want := range map[string][]contact{
		"rfc4475/escnull":  {{uri: "sip:%00@host5.example.com"}, {uri: "sip:%00%00@host5.example.com"}},
		"rfc4475/regbadct": {{bad: true}},
		"rfc4475/cparam01": {{uri: "sip:+19725552222@gw1.example.net", params: ";unknownparam"}},
		"rfc4475/cparam02": {{uri: "sip:+19725552222@gw1.example.net;unknownparam"}},
		"rfc4475/regescrt": {{uri: "sip:user@example.com?Route=%3Csip:sip.example.com%3E"}},
		"rfc4475/esc02":    {{uri: "sip:alias1@host1.example.com"}, {uri: "sip:alias3@host3.example.com"}},
		"rfc4475/unksm2":   {{uri: "name:John_Smith"}},
	} {
		values := List(mustParse(t, string(readTorture(t, file))), "Contact")
		if len(values) != len(want) {
			t.Errorf("%s: %d contacts, want %d", file, len(values), len(want))
			continue
		}
		for i, v := range values {
			a, err := ParseAddress(v)
			if got := (contact{a.URI.Raw, a.Params, err != nil}); got != want[i] {
				t.Errorf("%s: %q gives %+v, want %+v", file, v, got, want[i])
			}
		}
	}
}

func TestTortureValues(t *testing.T) {
	request := func(file string) *Request { return mustParse(t, string(readTorture(t, file))).(*Request) }

	// RFC 4475, 3.1.1.1: folding, white space around separators, leading zeros.
	r := request("rfc4475/wsinv")
	if r.Via.Transport != "UDP" || r.Via.Host != "192.0.2.2" || r.Via.Branch != "390skdjuw" || r.MaxForwards != 68 ||
		r.CSeq != (CSeq{9, "INVITE"}) || r.To.Tag != "1918181833n" || r.From.Tag != "98asjd8" || len(r.Body()) != 150 {
		t.Errorf("wsinv: %+v", r.Head)
	}
	if vias := List(r, "Via"); len(vias) != 3 {
		t.Errorf("wsinv: %q", vias)
	} else if v, err := ParseVia(vias[1]); err != nil || v.Branch != "z9hG4bK9ikj8" || v.Host != "spindle.example.com" {
		t.Errorf("wsinv: %+v %v", v, err)
	}
	// RFC 4475, 3.1.1.2: the Request-URI's user and password.
	if r = request("rfc4475/intmeth"); r.URI.User != "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*" || r.URI.Host != "example.com" {
		t.Errorf("intmeth: %+v", r.URI)
	}
	// RFC 4475, 3.1.1.3: escapes in parameters; "value%41" is not unescaped twice.
	a, err := ParseAddress(Get(request("rfc4475/esc01"), "Contact"))
	if v, ok := a.URI.Param("name"); err != nil || !ok || v != "value%41" {
		t.Errorf("esc01: %q %v %v", v, ok, err)
	}
	if _, ok := a.URI.Param("lr"); !ok {
		t.Error("esc01: %6C%72 is lr")
	}
	// RFC 4475, 3.1.1.8: the body ends where Content-Length says.
	if r = request("rfc4475/dblreq"); len(r.Body()) != 0 || bytes.Contains(Append(nil, r), []byte("INVITE")) {
		t.Error("dblreq: the octets behind the message were kept")
	}
	// RFC 4475, 3.1.1.9.
	if r = request("rfc4475/semiuri"); unescape(r.URI.User) != "user;par=u@example.net" {
		t.Errorf("semiuri: %q", r.URI.User)
	}
	// RFC 4475, 3.4.1: no Max-Forwards, no Content-Length, no branch.
	if r = request("rfc4475/inv2543"); r.MaxForwards != -1 || len(r.Body()) == 0 || r.Via.Branch != "" {
		t.Errorf("inv2543: %+v", r.Head)
	}
	// RFC 5118, 4.5: the brackets around received are not part of the address.
	for _, file := range []string{"rfc5118/via-received-param-with-delim", "rfc5118/via-received-param-no-delim"} {
		if r = request(file); r.Via.Received != "2001:db8::9:255" {
			t.Errorf("%s: received is %q", file, r.Via.Received)
		}
	}
	// RFC 5118, 4.3 and 4.4: a port stands outside the brackets.
	if r = request("rfc5118/port-ambiguous"); r.URI.Host != "2001:db8::10:5070" || r.URI.Port != 0 {
		t.Errorf("port-ambiguous: %+v", r.URI)
	}
	if r = request("rfc5118/port-unambiguous"); r.URI.Host != "2001:db8::10" || r.URI.Port != 5070 {
		t.Errorf("port-unambiguous: %+v", r.URI)
	}
	// RFC 5118, 4.9: an IPv4-mapped address is the IPv4 address.
	r = request("rfc5118/ipv4-mapped-ipv6")
	if addr, ok := hostAddr(r.Via.Host); !ok || addr.String() != "192.0.2.10" || r.Via.Port != 19823 {
		t.Errorf("ipv4-mapped-ipv6: %+v", r.Via)
	}
	// RFC 5118, 4.10: the colon too many is ignored.
	if r = request("rfc5118/ipv6-bug-abnf-3-colons"); r.URI.Host != "2001:db8::192.0.2.1" {
		t.Errorf("ipv6-bug-abnf-3-colons: %+v", r.URI)
	}
}
