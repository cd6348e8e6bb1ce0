package wire

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// RFC 3261, 20.10 and 25.1.
func TestParseAddress(t *testing.T) {
	uri := func(s string) URI {
		u, err := ParseURI(s)
		if err != nil {
			t.Fatal(s, err)
		}
		return u
	}
	for _, want := range []Address{
		{Raw: "sip:alice@example.org", URI: uri("sip:alice@example.org")},
		{Raw: "sip:alice@example.org;tag=1", URI: uri("sip:alice@example.org"), Params: ";tag=1", Tag: "1"},
		{Raw: "sip:alice@example.org ; tag = 1", URI: uri("sip:alice@example.org"), Params: "; tag = 1", Tag: "1"},
		{Raw: "<sip:alice@example.org;lr>;q=0.5", URI: uri("sip:alice@example.org;lr"), Params: ";q=0.5"},
		{Raw: "<sip:a@b>  ;TAG=x", URI: uri("sip:a@b"), Params: ";TAG=x", Tag: "x"},
		{Raw: `"A \"<,;> B" <sip:a@b>`, Display: `"A \"<,;> B"`, URI: uri("sip:a@b")},
		{Raw: `"A"<sip:a@b>`, Display: `"A"`, URI: uri("sip:a@b")},
		{Raw: "Alice Liddell <sip:a@b>", Display: "Alice Liddell", URI: uri("sip:a@b")},
		{Raw: "caller<sip:a@b>", Display: "caller", URI: uri("sip:a@b")}, // RFC 4475, 3.1.1.6
		{Raw: "<tel:+15551234>;tag=1", URI: uri("tel:+15551234"), Params: ";tag=1", Tag: "1"},
		{Raw: "*", URI: URI{Raw: "*"}},
		{Raw: `<sip:a@b>;+sip.instance="<urn:uuid:1>";reg-id=1`, URI: uri("sip:a@b"), Params: `;+sip.instance="<urn:uuid:1>";reg-id=1`},
	} {
		got, err := ParseAddress("  " + want.Raw + "\t")
		if err != nil {
			t.Errorf("%s: %v", want.Raw, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", want.Raw, diff)
		}
	}
	for _, s := range []string{
		"", "alice", "<>", "<sip:a@b", "sip:a@b>", `"A <sip:a@b>`, `"A" sip:a@b`, `"A`, "A, B <sip:a@b>", "a@b <sip:a@b>", "< sip:a@b>", "<sip:a@b >", "<sip:a@b> x",
		"<sip:a@b>;", "<sip:a@b>;;", "<sip:a@b>,", "<sip:a@b>;x=\"y", "<sip:a@b>;x=a b", "<sip:a@b>;=x", "sip:a@b?x=y", "sip:a,b@c", "<sip:a@b>;tag=1;tag=1", "<sip:a@b>;tag=",
		"**", "<*>", "<sip:a@b>;x=<y>", strings.Repeat("(", 5000),
	} {
		if a, err := ParseAddress(s); err == nil {
			t.Errorf("%.40q is accepted: %+v", s, a)
		}
	}
}

func TestParam(t *testing.T) {
	const params = `;a=1; B = "x;y\"z" ;c;tag=`
	for name, want := range map[string]string{"a": "1", "b": `x;y"z`, "c": "", "tag": ""} {
		if v, ok := Param(params, name); !ok || v != want {
			t.Errorf("%s: %q %v", name, v, ok)
		}
	}
	for _, s := range []string{params, "", "x", ";", ";;d", `;a="`, ";a b;d"} {
		if v, ok := Param(s, "d"); ok {
			t.Errorf("%q: %q", s, v)
		}
	}
	if param, rest := SplitParam(`;a="x;y\";z";b`); param != `;a="x;y\";z"` || rest != ";b" {
		t.Errorf("split into %q and %q", param, rest)
	}
	for s, want := range map[string]string{`"`: `"`, `""`: "", `"a\`: `"a\`, `"a\"`: `a\`, "x": "x", `"a\\b"`: `a\b`} {
		if got := Unquote(s); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
}

// RFC 3261, 20.42; RFC 3581, 3.
func TestParseVia(t *testing.T) {
	for _, want := range []Via{
		{Raw: "SIP/2.0/UDP example.org;branch=z9hG4bK1", Transport: "UDP", Host: "example.org", Params: ";branch=z9hG4bK1", Branch: "z9hG4bK1"},
		{Raw: "SIP/2.0/tls [2001:db8::9:1]:5061", Transport: "TLS", Host: "2001:db8::9:1", Port: 5061},
		{Raw: "sip / 2.0 / TCP a.example.org : 5062 ; Branch = x ;received=192.0.2.1;rport=5070", Transport: "TCP", Host: "a.example.org", Port: 5062,
			Params: "; Branch = x ;received=192.0.2.1;rport=5070", Branch: "x", Received: "192.0.2.1", RPort: 5070, HasRPort: true},
		{Raw: "SIP/2.0/UDP a;rport", Transport: "UDP", Host: "a", Params: ";rport", HasRPort: true},
		{Raw: "SIP/2.0/UDP a;received=[2001:db8::1]", Transport: "UDP", Host: "a", Params: ";received=[2001:db8::1]", Received: "2001:db8::1"},
		{Raw: "SIP/2.0/UDP a;maddr=192.0.2.9;ttl=16", Transport: "UDP", Host: "a", Params: ";maddr=192.0.2.9;ttl=16", HasMaddr: true},
	} {
		got, err := ParseVia(want.Raw)
		if err != nil {
			t.Errorf("%s: %v", want.Raw, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", want.Raw, diff)
		}
	}
	if v, err := ParseVia("SIP/2.0/UDP a;MAddr=192.0.2.9"); err != nil {
		t.Error(err)
	} else if maddr, ok := v.Param("maddr"); !ok || maddr != "192.0.2.9" {
		t.Error(maddr, ok)
	}
	for _, s := range []string{
		"", "SIP", "SIP/2.0", "SIP/2.0/", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/UDP ;x", "SIP//UDP a", "/2.0/UDP a", "SIP/2.0/U@P a", "SIP/2.0/UDP a:", "SIP/2.0/UDP a:0",
		"SIP/2.0/UDP a:65536", "SIP/2.0/UDP a:x", "SIP/2.0/UDP a b", "SIP/2.0/UDP a;", "SIP/2.0/UDP a;;x", "SIP/2.0/UDP a;branch=", "SIP/2.0/UDP a;branch", "SIP/2.0/UDP a;branch=1;branch=1",
		"SIP/2.0/UDP a;rport=x", "SIP/2.0/UDP a;rport=70000", "SIP/2.0/UDP a;rport;rport", "SIP/2.0/UDP a;received=1;received=2", "SIP/2.0/UDP 0177.0.0.1", "SIP/2.0/UDP [::1", "SIP/2.0/UDP a, b",
	} {
		if v, err := ParseVia(s); err == nil {
			t.Errorf("%q is accepted: %+v", s, v)
		}
	}
}
