package wire

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const listed = "SIP/2.0 200 OK\r\n" +
	"v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1 ,SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2\r\n" +
	"VIA: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK3\r\n" +
	"Route: <sip:a,b@example.org;lr>, \"x, y\" <sip:c@example.org>\r\n" +
	"k: path\r\n" +
	"Supported:\r\n" +
	"Supported: , gruu,,outbound ,\r\n" +
	"From: <sip:alice@example.org>;tag=1\r\n" +
	"To: <sip:bob@example.org>;tag=2\r\n" +
	"Call-ID: 1\r\n" +
	"CSeq: 1 INVITE\r\n" +
	"\r\n"

// RFC 3261, 7.3.1: a list in one field and in several is the same list. RFC 3261, 7.3.3: compact names are the same names.
func TestList(t *testing.T) {
	m := mustParse(t, listed)
	for name, want := range map[string][]string{
		"Via":       {"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2", "SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK3"},
		"ROUTE":     {"<sip:a,b@example.org;lr>", `"x, y" <sip:c@example.org>`},
		"Supported": {"path", "gruu", "outbound"},
		"Contact":   nil,
	} {
		if diff := cmp.Diff(want, List(m, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		first := ""
		if len(want) > 0 {
			first = want[0]
		}
		if got := First(m, name); got != first {
			t.Errorf("first %s: %q", name, got)
		}
	}
	if Get(m, "supported") != "path" || Get(m, "i") != "1" || Get(m, "Contact") != "" || !Has(m, "K") || Has(m, "Contact") {
		t.Error("Get or Has")
	}
	for s, want := range map[string][]string{
		`"a,b`: {`"a,b`}, "<a,b": {"<a,b"}, `"\",",c`: {`"\","`, "c"}, " , ,": {}, `<">,a`: {`<">`, "a"},
	} {
		Set(m, "X", s)
		if got := List(m, "x"); !slices.Equal(got, want) {
			t.Errorf("%s: %q", s, got)
		}
	}
}

// RFC 3261, 16.7 step 3: the topmost Via goes, the others stay as they were.
func TestPop(t *testing.T) {
	m := mustParse(t, listed).(*Response).Clone()
	for i, want := range []string{"z9hG4bK1", "z9hG4bK2", "z9hG4bK3"} {
		if m.Via.Branch != want {
			t.Errorf("%d: Head has %q", i, m.Via.Branch)
		}
		if v, ok := Pop(m, "Via"); !ok || !strings.HasSuffix(v, want) {
			t.Errorf("%d: %q %v", i, v, ok)
		}
	}
	if _, ok := Pop(m, "Via"); ok || m.Via != (Via{}) || Has(m, "Via") {
		t.Error("a Via is left")
	}
	if v, ok := Pop(m, "Route"); !ok || v != "<sip:a,b@example.org;lr>" || Get(m, "Route") != `"x, y" <sip:c@example.org>` {
		t.Errorf("%q, rest %q", v, Get(m, "Route"))
	}
	for _, want := range []string{"path", "gruu", "outbound"} {
		if v, ok := Pop(m, "Supported"); !ok || v != want {
			t.Errorf("%q %v, want %q", v, ok, want)
		}
	}
	if _, ok := Pop(m, "Supported"); ok || Has(m, "Supported") {
		t.Error("empty headers are left")
	}
}

func names(m Message) (out []string) {
	for _, h := range m.Headers() {
		out = append(out, h.Name())
	}
	return out
}

// RFC 3261, 16.6 steps 3, 4 and 8: what a proxy changes in its copy, and that the received request stays as it was.
func TestCloneAndChange(t *testing.T) {
	req := mustParse(t, benchInvite).(*Request)
	before := string(Append(nil, req))
	a, b := req.Clone(), req.Clone()
	c := a.Clone()
	for i, m := range []*Request{a, b, c} {
		branch := "z9hG4bK" + string(rune('a'+i))
		m.SetMaxForwards(m.MaxForwards - 1)
		Push(m, "Record-Route", "<sip:192.0.2.1;lr>")
		Push(m, "Record-Route", "<sip:192.0.2.2;lr>")
		Push(m, "Via", "SIP/2.0/UDP 192.0.2.1;branch="+branch)
		Push(m, "Path", "<sip:p>")
		Push(m, "Route", "<sip:r>")
		m.SetURI(URI{Raw: "sip:bob@192.0.2.20", Scheme: "sip", User: "bob", Host: "192.0.2.20"})
		if m.Via.Branch != branch || m.MaxForwards != 69 || m.Recipient.Host != "192.0.2.20" {
			t.Errorf("%d: %+v %d", i, m.Via, m.MaxForwards)
		}
	}
	want := []string{"Route", "Path", "Record-Route", "Record-Route", "Via", "Via", "From", "To", "CSeq", "Call-ID", "Max-Forwards", "Supported", "Allow",
		"Content-Type", "Content-Length", "Contact", "User-Agent"}
	for i, m := range []*Request{a, b, c} {
		if diff := cmp.Diff(want, names(m)); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
		if got := List(m, "Via")[0]; !strings.HasSuffix(got, m.Via.Branch) {
			t.Errorf("%d: top Via %q", i, got)
		}
		if again := mustParse(t, m.String()); !bytes.Equal(again.Body(), req.Body()) {
			t.Errorf("%d: body", i)
		}
	}
	if after := string(Append(nil, req)); after != before {
		t.Errorf("the received request changed:\n%s", after)
	}
}

func TestSetDel(t *testing.T) {
	m := mustParse(t, listed).(*Response).Clone()
	Set(m, "supported", "timer")
	Set(m, "Server", "x")
	Set(m, "To", "<sip:carol@example.org>;tag=9")
	Set(m, "CSeq", "2 BYE")
	Set(m, "Call-ID", "c2")
	if m.To.Tag != "9" || m.To.URI.User != "carol" || m.CSeq != (CSeq{2, "BYE"}) || m.CallID != "c2" {
		t.Errorf("Head %+v", m.Head)
	}
	want := []string{"v", "VIA", "Route", "k", "From", "To", "Call-ID", "CSeq", "Server"}
	if diff := cmp.Diff(want, names(m)); diff != "" {
		t.Error(diff)
	}
	Del(m, "Via")
	Del(m, "Nothing")
	if diff := cmp.Diff(want[2:], names(m)); diff != "" || m.Via != (Via{}) {
		t.Error(diff, m.Via)
	}
	Add(m, "Via", "SIP/2.0/UDP a;branch=z9hG4bK9")
	Add(m, "Via", "SIP/2.0/UDP b;branch=z9hG4bK8")
	if m.Via.Branch != "z9hG4bK9" {
		t.Errorf("Head %+v", m.Via)
	}
}

// hardening 71: whatever a room puts into a header, it starts no other.
func TestHeaderInjection(t *testing.T) {
	m := mustParse(t, benchInvite).(*Request).Clone()
	const evil = "x\r\nInjected: y\x00\n"
	Add(m, "A", evil)
	Set(m, "User-Agent", evil)
	Push(m, "Via", evil)
	m.AppendHeader(NewHeader("B", evil))
	e := Errorf(400, evil, "for the log").With("C", evil)
	res := NewResponse(m, e.Code, e.Reason, "t")
	for _, h := range e.Headers {
		res.AppendHeader(h)
	}
	for _, out := range []string{m.String(), res.String()} {
		if strings.Contains(out, "\nInjected") || strings.Count(out, "\n") != strings.Count(out, "\r\n") {
			t.Errorf("%q", out)
		}
	}
}

// RFC 3261, 7.3.3: every compact form is found by its long name, and the other way round; also those that came later (RFC 6665, 8.2.2).
func TestCompactNames(t *testing.T) {
	for c := byte('a'); c <= 'z'; c++ {
		long := longName(string(c))
		if len(long) == 1 {
			continue
		}
		r := NewRequest("OPTIONS", URI{Raw: "sip:example.org"})
		Add(r, string(c-'a'+'A'), "1")
		if Get(r, long) != "1" || identify(string(c)) != identify(long) {
			t.Errorf("%c is not %s", c, long)
		}
		r = NewRequest("OPTIONS", URI{Raw: "sip:example.org"})
		Add(r, long, "1")
		if Get(r, string(c)) != "1" {
			t.Errorf("%s is not %c", long, c)
		}
	}
}
