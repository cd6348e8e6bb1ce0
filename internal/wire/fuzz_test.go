package wire

import (
	"strings"
	"testing"
)

// hardening 17 and 18: parse, write and parse agree, and no bytes break the parser.
func FuzzParse(f *testing.F) {
	for _, tt := range torture {
		f.Add(readTorture(f, tt.file))
	}
	for _, s := range []string{benchRegister, benchInvite, benchOK, with("Subject:\r\n a\r\n\tb"), with("From: \"\\\x00\" <sip:a@b>;tag=1")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if m == nil {
			if err == nil {
				t.Fatal("neither message nor error")
			}
			return
		}
		out := Append(nil, m)
		if n := strings.Count(string(out[:len(out)-len(m.Body())]), "\r\n"); err == nil && n != len(m.Headers())+2 && n != len(m.Headers())+3 {
			t.Fatalf("%d lines for %d headers: %q", n, len(m.Headers()), out)
		}
		if req, ok := m.(*Request); ok {
			checkAnswer(t, req)
		}
		if err != nil {
			return
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("written, it is no longer readable: %v\n%q", err, out)
		}
		sameMessage(t, m, again)
		for _, name := range []string{"Via", "Route", "Contact"} {
			n := len(List(m, name))
			for range n {
				if _, ok := Pop(again, name); !ok {
					t.Fatalf("%s: List has %d values, Pop fewer", name, n)
				}
			}
			if _, ok := Pop(again, name); ok {
				t.Fatalf("%s: List has %d values, Pop more", name, n)
			}
		}
	})
}

// checkAnswer: whatever was read, the answer to it is clean.
func checkAnswer(t *testing.T, req *Request) {
	out := string(Append(nil, NewResponse(req, 400, "", "t")))
	lines := strings.Count(out, "\r\n")
	if strings.Count(out, "\n") != lines || strings.Count(out, "\r") != lines {
		t.Fatalf("line ends in the answer: %q", out)
	}
	for _, line := range strings.Split(out, "\r\n")[1:] {
		if line == "" {
			break
		}
		if _, _, ok := cutField(line); !ok || !quotedNULs(line) {
			t.Fatalf("the answer has %q", line)
		}
	}
}

// hardening 1 and 17: a stream gives the same messages however it is cut, and each is whole to Parse.
func FuzzFramer(f *testing.F) {
	for _, s := range []string{benchInvite, "\r\n\r\n" + benchOK + benchRegister, with("l:\r\n 3") + "abc", with("Content-Length: 4294967296")} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		if len(b) > MaxMessage {
			return
		}
		var whole, cut Framer
		msgs, pings, err := feed(t, &whole, string(b), len(b))
		cutMsgs, cutPings, cutErr := feed(t, &cut, string(b), int(n)+1)
		if strings.Join(msgs, "|") != strings.Join(cutMsgs, "|") || pings != cutPings || codeOf(err) != codeOf(cutErr) {
			t.Fatalf("whole: %q %d %v, cut: %q %d %v", msgs, pings, err, cutMsgs, cutPings, cutErr)
		}
		for _, msg := range msgs {
			m, err := Parse([]byte(msg))
			if err != nil {
				continue
			}
			if !strings.HasSuffix(msg, "\r\n\r\n"+string(m.Body())) {
				t.Fatalf("frame and message differ: %q", msg)
			}
		}
	})
}

// RFC 3261, 19.1.4: Equal is reflexive and symmetric; what is written is what was read.
func FuzzURI(f *testing.F) {
	f.Add("sip:%61lice:p@atlanta.com:5060;transport=TCP;lr?a=b&c=d", "sip:alice@AtLanTa.CoM;Transport=tcp")
	f.Add("sip:[2001:db8:::192.0.2.1]", "tel:+1;x")
	f.Fuzz(func(t *testing.T, a, b string) {
		u, err := ParseURI(a)
		if err != nil {
			return
		}
		if u.String() != a || !u.Equal(u) {
			t.Fatalf("%q: %+v", a, u)
		}
		if addr, ok := u.Addr(); ok && addr.Is4In6() {
			t.Fatalf("%q: %v", a, addr)
		}
		d := NewDomains([]string{u.Host}, nil)
		if aor, ok := d.AOR(u); ok {
			back, err := ParseURI(aor.String())
			if err != nil {
				t.Fatalf("%q: %q: %v", a, aor, err)
			}
			if again, ok := d.AOR(back); !ok || again != aor {
				t.Fatalf("%q: %+v and %+v", a, aor, again)
			}
		}
		v, err := ParseURI(b)
		if err == nil && u.Equal(v) != v.Equal(u) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

func FuzzAddress(f *testing.F) {
	f.Add(`"A \" B" <sip:alice@example.org;lr>;tag=1;+sip.instance="<urn:uuid:1>"`)
	f.Add("sip:alice@example.org;tag=1")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if tag, ok := a.Param("tag"); Unquote(a.Tag) != tag || ok != (a.Tag != "") {
			t.Fatalf("%q: tag %q and %q", s, a.Tag, tag)
		}
		if again, err := ParseAddress(a.Raw); err != nil || again != a {
			t.Fatalf("%q: %+v and %+v, %v", s, a, again, err)
		}
		if a.Raw == "*" {
			return
		}
		// One address is one element of a list.
		if first, rest := cutListValue(a.Raw); first != a.Raw || rest != "" {
			t.Fatalf("%q splits into %q and %q", a.Raw, first, rest)
		}
	})
}

func FuzzVia(f *testing.F) {
	f.Add("SIP / 2.0 / UDP [2001:db8::1] : 5060 ; branch=z9hG4bK1;rport=1;received=[::1]")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVia(s)
		if err != nil {
			return
		}
		if again, err := ParseVia(v.Raw); err != nil || again != v {
			t.Fatalf("%q: %+v and %+v, %v", s, v, again, err)
		}
		if b, ok := v.Param("branch"); ok != (v.Branch != "") || b != Unquote(v.Branch) {
			t.Fatalf("%q: branch %q and %q", s, v.Branch, b)
		}
		if first, rest := cutListValue(v.Raw); first != v.Raw || rest != "" {
			t.Fatalf("%q splits into %q and %q", v.Raw, first, rest)
		}
	})
}

// A list is its elements, whatever they hold.
func FuzzList(f *testing.F) {
	f.Add(`<sip:a,b@c>, "x,\"" <sip:d@e>,,f`)
	f.Fuzz(func(t *testing.T, s string) {
		s = trim(oneLine(s))
		r := NewRequest("OPTIONS", URI{Raw: "sip:example.org"})
		Add(r, "X", s)
		values := List(r, "X")
		for _, want := range values {
			if first := First(r, "X"); first != want {
				t.Fatalf("%q: first %q, want %q", s, first, want)
			}
			if v, ok := Pop(r, "X"); !ok || v != want {
				t.Fatalf("%q: popped %q, want %q", s, v, want)
			}
		}
		if v, ok := Pop(r, "X"); ok || len(r.Headers()) != 0 {
			t.Fatalf("%q: %q is left", s, v)
		}
	})
}
