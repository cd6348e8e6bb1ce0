package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

var sampleTokens = map[string]token{
	"two phones": {
		caller: leg{flow: wire.FlowID{Proto: wire.UDP, Local: netip.MustParseAddrPort("192.0.2.100:5060"), Remote: netip.MustParseAddrPort("192.0.2.1:5060")}},
		callee: leg{flow: wire.FlowID{Proto: wire.TLS, Local: netip.MustParseAddrPort("[2001:db8::100]:5061"), Remote: netip.MustParseAddrPort("[2001:db8::2]:40000"), Serial: 1<<63 + 7}},
	},
	"to another domain": {
		caller: leg{flow: wire.FlowID{Proto: wire.TCP, Local: netip.AddrPort{}, Remote: netip.MustParseAddrPort("192.0.2.1:5060"), Serial: 9}},
		callee: leg{foreign: true},
	},
	"from another domain": {
		caller: leg{foreign: true},
		callee: leg{flow: wire.FlowID{Proto: wire.WSS, Local: netip.MustParseAddrPort("192.0.2.100:443"), Remote: netip.MustParseAddrPort("[2001:db8::2]:40000"), Serial: 1}},
	},
	"registered phones": {
		caller: leg{routed: true, member: member{"alice", 1<<64 - 1}, flow: wire.FlowID{Proto: wire.UDP, Local: netip.MustParseAddrPort("192.0.2.100:5060"), Remote: netip.MustParseAddrPort("192.0.2.1:5060")}},
		callee: leg{member: member{"a user name of the longest kind: 40 bytes", 1}, flow: wire.FlowID{Proto: wire.TLS, Local: netip.MustParseAddrPort("[2001:db8::100]:5061"), Remote: netip.MustParseAddrPort("[2001:db8::2]:40000"), Serial: 1}},
	},
	"through": {caller: leg{foreign: true}, callee: leg{foreign: true}},
}

// RFC 3261, 16.6 step 4: the Record-Route value carries the proxy's state.
func TestTokenRoundTrip(t *testing.T) {
	s := newSigner(make([]byte, 32))
	for name, want := range sampleTokens {
		text := string(s.sign(nil, want, "c1", "a"))
		if len(text) > maxTokenText || !looksLikeToken(text) {
			t.Errorf("%s: %q", name, text)
		}
		for _, fromCaller := range []bool{true, false} {
			from, to := "a", "b"
			if !fromCaller {
				from, to = to, from
			}
			got, dir, ok := s.verify(text, "c1", from, to)
			want := want // a member hears the name of the other side only
			if fromCaller {
				want.caller.member = member{}
			} else {
				want.callee.member = member{}
			}
			if !ok || dir != fromCaller || got != want {
				t.Errorf("%s: %+v, from caller %v, %v; want %+v", name, got, dir, ok, want)
			}
		}
	}
}

// A token proves membership of one dialog, signed by us, and nothing else.
func TestTokenRefused(t *testing.T) {
	s, other := newSigner(make([]byte, 32)), newSigner([]byte("another key, of another 32 bytes"))
	text := string(s.sign(nil, sampleTokens["two phones"], "c1", "a"))
	for name, v := range map[string]struct{ text, callID, from, to string }{
		"another dialog":   {text, "c2", "a", "b"},
		"another caller":   {text, "c1", "x", "b"},
		"shifted names":    {text, "c1a", "", "b"},
		"another key":      {string(other.sign(nil, sampleTokens["two phones"], "c1", "a")), "c1", "a", "b"},
		"no caller's tag":  {string(s.sign(nil, sampleTokens["two phones"], "c1", "")), "c1", "", ""},
		"cut":              {text[:len(text)-4], "c1", "a", "b"},
		"longer":           {text + "AAAA", "c1", "a", "b"},
		"far too long":     {text + text + text + text, "c1", "a", "b"},
		"empty":            {"", "c1", "a", "b"},
		"not base64":       {"A***", "c1", "a", "b"},
		"another version":  {"B" + text[1:], "c1", "a", "b"},
		"somebody's name":  {"alice", "c1", "a", "b"},
		"a line in base64": {text[:8] + "\n" + text[8:], "c1", "a", "b"},
	} {
		if _, _, ok := s.verify(v.text, v.callID, v.from, v.to); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range text { // every single change
		altered := []byte(text)
		altered[i] ^= 1
		if _, _, ok := s.verify(string(altered), "c1", "a", "b"); ok {
			t.Errorf("accepted with byte %d altered", i)
		}
	}
}

// hardening 55: under overload only those requests are known to belong to a call that carry its route: in the Route, or where a strict router puts it (RFC 3261, 16.4).
func TestMember(t *testing.T) {
	p := &Proxy{signer: newSigner(make([]byte, 32))}
	text := string(p.signer.sign(nil, sampleTokens["two phones"], "c1", "a"))
	ours := "<sip:" + text + "@192.0.2.100;lr>"
	for name, tt := range map[string]struct {
		uri, tag, route string
		want            bool
	}{
		"by the caller":         {"sip:bob@192.0.2.2", "b", ours, true},
		"two values":            {"sip:bob@192.0.2.2", "b", "<sip:" + text + "@192.0.2.100;transport=tcp;lr>, " + ours, true},
		"behind another proxy":  {"sip:bob@192.0.2.2", "b", "<sip:192.0.2.50;lr>, " + ours, true},
		"by a strict router":    {"sip:" + text + "@192.0.2.100;lr", "b", "<sip:bob@192.0.2.2>", true},
		"no Route":              {"sip:bob@192.0.2.2", "forged", "", false},
		"a Route without token": {"sip:bob@192.0.2.2", "forged", "<sip:192.0.2.100;lr>", false},
		"an altered token":      {"sip:bob@192.0.2.2", "b", "<sip:" + text[:len(text)-4] + "AAAA@192.0.2.100;lr>", false},
		"no URI":                {"sip:bob@192.0.2.2", "b", "<<>", false},
		"of another call":       {"sip:bob@192.0.2.2", "b", strings.Replace(ours, text, string(p.signer.sign(nil, sampleTokens["through"], "c2", "a")), 1), false},
		"too far behind":        {"sip:bob@192.0.2.2", "b", strings.Repeat("<sip:192.0.2.50;lr>, ", 20) + ours, false},
	} {
		route := ""
		if tt.route != "" {
			route = "Route: " + tt.route + "\r\n"
		}
		m, err := wire.Parse([]byte("BYE " + tt.uri + " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n" + route +
			"From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.org>;tag=" + tt.tag + "\r\nCall-ID: c1\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := p.Member(m.(*wire.Request)); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzToken(f *testing.F) {
	s := newSigner(make([]byte, 32))
	for _, t := range sampleTokens {
		f.Add(string(s.sign(nil, t, "c1", "a")))
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, _, ok := s.verify(text, "c1", "a", "b")
		back, _, _ := s.verify(text, "c1", "b", "a")
		got.caller.member = back.caller.member
		if ok && string(s.sign(nil, got, "c1", "a")) != text {
			t.Errorf("%q is accepted and is not what we sign", text)
		}
		// What a valid signature protects is parsed as carefully.
		var l leg
		if rest, ok := l.parse([]byte(text), true); ok {
			if again := l.append(nil); len(again)+len(rest) != len(text) {
				t.Errorf("%q: %d bytes read, %d written", text, len(text)-len(rest), len(again))
			}
		}
	})
}

func BenchmarkTokenSign(b *testing.B) {
	s := newSigner(make([]byte, 32))
	room := make([]byte, 0, maxTokenText)
	b.ReportAllocs()
	for b.Loop() {
		s.sign(room, sampleTokens["two phones"], "a84b4c76e66710@192.0.2.1", "1928301774")
	}
}

func BenchmarkTokenVerify(b *testing.B) {
	s := newSigner(make([]byte, 32))
	text := string(s.sign(nil, sampleTokens["two phones"], "a84b4c76e66710@192.0.2.1", "1928301774"))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := s.verify(text, "a84b4c76e66710@192.0.2.1", "1928301774", "a6c85cf"); !ok {
			b.Fatal("refused")
		}
	}
}
