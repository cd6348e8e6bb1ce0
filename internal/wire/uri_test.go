package wire

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// RFC 3261, 19.1.1 and 19.1.3.
// RFC 3261, 19.1: scheme, user, host, port, parameters and headers.
func TestParseURI(t *testing.T) {
	for _, want := range []URI{
		{Raw: "sip:alice@example.org", Scheme: "sip", User: "alice", Host: "example.org"},
		{Raw: "SIPS:alice:secret@EXAMPLE.org:5061;transport=tcp", Scheme: "sips", User: "alice", Password: "secret", Host: "example.org", Port: 5061, Params: ";transport=tcp"},
		{Raw: "sip:example.org", Scheme: "sip", Host: "example.org"},
		{Raw: "sip:example.org.", Scheme: "sip", Host: "example.org."},
		{Raw: "sip:+1-212-555-1212:1234@gateway.example.org;user=phone", Scheme: "sip", User: "+1-212-555-1212", Password: "1234", Host: "gateway.example.org", Params: ";user=phone"},
		{Raw: "sip:alice;day=tuesday@example.org", Scheme: "sip", User: "alice;day=tuesday", Host: "example.org"},
		{Raw: "sip:alice@192.0.2.4:7", Scheme: "sip", User: "alice", Host: "192.0.2.4", Port: 7},
		{Raw: "sip:[2001:DB8::10]:5070;lr", Scheme: "sip", Host: "2001:db8::10", Port: 5070, Params: ";lr"},
		{Raw: "sip:[2001:db8:::192.0.2.1]", Scheme: "sip", Host: "2001:db8::192.0.2.1"},
		{Raw: "sip:example.org;method=REGISTER?to=alice%40example.org&x=", Scheme: "sip", Host: "example.org", Params: ";method=REGISTER", Headers: "?to=alice%40example.org&x="},
		{Raw: "sip:a@b?x=y", Scheme: "sip", User: "a", Host: "b", Headers: "?x=y"},
		{Raw: "sip:%00@example.org", Scheme: "sip", User: "%00", Host: "example.org"},
		{Raw: "sip:a:@b", Scheme: "sip", User: "a", Host: "b"},
		{Raw: "sip:5k6v7t8a.invalid;transport=ws", Scheme: "sip", Host: "5k6v7t8a.invalid", Params: ";transport=ws"},
		{Raw: "sip:a@3f2a9c1b4d5e", Scheme: "sip", User: "a", Host: "3f2a9c1b4d5e"},
		{Raw: "Tel:+1-201-555-0123;phone-context=example.org", Scheme: "tel"},
		{Raw: "urn:service:sos", Scheme: "urn"},
		{Raw: "soap.beep://192.0.2.103:3002", Scheme: "soap.beep"},
		{Raw: "h323:alice@example.org", Scheme: "h323"},
	} {
		got, err := ParseURI(want.Raw)
		if err != nil {
			t.Errorf("%s: %v", want.Raw, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", want.Raw, diff)
		}
	}
}

// hardening 13 and what else is no URI, or not the same one to everybody.
func TestParseURIErrors(t *testing.T) {
	for _, s := range []string{
		"", ":", "sip", "sip:", "sip:@", "sip:@example.org", "sip:::", "urn:", "1abc:x", "+a:b", "a b:c", "sip:alice@", "sip:alice@:5060",
		"sip:example.org:", "sip:example.org:0", "sip:example.org:99999", "sip:example.org:65536", "sip:example.org:" + strings.Repeat("1", 40), "sip:example.org:5060x",
		"sip:example.org:-1", "sip:a@b@c", "sip:a b@example.org", "sip:alice@exam ple.org", "<sip:alice@example.org>", "sip:alice@example.org>", "sip:alice@example.org; lr",
		"sip:%@example.org", "sip:%4@example.org", "sip:%zz@example.org", "sip:a%@b", "sip:alice@example.org;", "sip:alice@example.org;;lr", "sip:alice@example.org;=x",
		"sip:alice@example.org;a=b=c", "sip:alice@example.org;lr;lr", "sip:alice@example.org;lr;%6Cr", "sip:alice@example.org?", "sip:alice@example.org?x", "sip:alice@example.org?x=1&", "sip:alice@example.org?=1",
		"sip:alice@example.org;transport=udp;Transport=tcp", "sip:alice@ex..ample.org", "sip:.example.org", "sip:[2001:db8::1", "sip:2001:db8::1", "sip:[192.0.2.1]",
		"sip:[fe80::1%25eth0]", "sip:[]", "sip:[::1]]", "sip:[2001:db8::::1]", "sip:alice@example.org/x", "sip:al\xc3\xa9@example.org", "sip:alice@ex\x00ample.org",
		"sip:alice@" + strings.Repeat("a.", 300) + "org", "sip:alice@" + strings.Repeat("a", 5000), "sip:" + strings.Repeat("a", MaxURI) + "@b",
		"sip:a@b" + strings.Repeat(";x", MaxParams+1), "tel:+1 2", "tel:\"x\"", "http://<x>",
		// hardening 41: addresses in disguise.
		"sip:2130706433", "sip:0177.0.0.1", "sip:0x7f000001", "sip:0x7f.1", "sip:127.1", "sip:127.0.0.1.", "sip:256.0.0.1", "sip:1.2.3.4.5", "sip:010.0.0.1", "sip:a.0X7F",
	} {
		if u, err := ParseURI(s); err == nil {
			t.Errorf("%.60q is accepted: %+v", s, u)
		}
	}
}

// RFC 3261, 19.1.4: the RFC's own examples, and the rules they leave out.
func TestURIEqual(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},

		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false}, // equality is not transitive

		{"sip:bob@example.org", "sips:bob@example.org", false},
		{"sip:bob@example.org", "sip:example.org", false},
		{"sip:bob:x@example.org", "sip:bob@example.org", false},
		{"sip:bob:x@example.org", "sip:bob:X@example.org", false},
		{"sip:bob@example.org;user=phone", "sip:bob@example.org", false},
		{"sip:bob@example.org;ttl=1", "sip:bob@example.org", false},
		{"sip:bob@example.org;method=INVITE", "sip:bob@example.org", false},
		{"sip:bob@example.org;maddr=192.0.2.1", "sip:bob@example.org", false},
		{"sip:bob@example.org;m%61ddr=192.0.2.1", "sip:bob@example.org", false},
		{"sip:bob@example.org;lr", "sip:bob@example.org", true},
		{"sip:bob@example.org;x=%41", "sip:bob@example.org;X=a", true},
		{"sip:bob@example.org?a=b&a=b", "sip:bob@example.org?a=b&c=d", false},
		{"sip:bob@example.org?a=b", "sip:bob@example.org?A=B", true},
		{"sip:a%3Bb@example.org", "sip:a;b@example.org", false}, // reserved: the escape is another character
		{"sip:a%3bb@example.org", "sip:a%3Bb@example.org", true},
		{"sip:[2001:db8::1]", "sip:[2001:DB8:0::1]", true},
		{"sip:[::ffff:192.0.2.1]", "sip:192.0.2.1", false},
		{"TEL:+15551234", "tel:+15551234", true},
		{"tel:+15551234", "tel:+15551235", false},
	} {
		u, err := ParseURI(tt.a)
		if err != nil {
			t.Fatal(tt.a, err)
		}
		v, err := ParseURI(tt.b)
		if err != nil {
			t.Fatal(tt.b, err)
		}
		if u.Equal(v) != tt.want || v.Equal(u) != tt.want || !u.Equal(u) || !v.Equal(v) {
			t.Errorf("%s and %s: %v and %v, want %v", tt.a, tt.b, u.Equal(v), v.Equal(u), tt.want)
		}
	}
	if (URI{}).Equal(URI{Raw: "sip:a", Scheme: "sip", Host: "a"}) || !(URI{Raw: "*"}).Equal(URI{Raw: "*"}) {
		t.Error("URIs without scheme")
	}
}

func TestURIParam(t *testing.T) {
	u, err := ParseURI("sip:a@b;Transport=tc%70;lr;x=")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"transport": "tcp", "lr": "", "x": ""} {
		if v, ok := u.Param(name); !ok || v != want {
			t.Errorf("%s: %q %v", name, v, ok)
		}
	}
	if _, ok := u.Param("maddr"); ok {
		t.Error("maddr is not there")
	}
}

// hardening 41: checks of addresses must see what an address is.
func TestURIAddr(t *testing.T) {
	for s, want := range map[string]string{
		"sip:192.0.2.7": "192.0.2.7", "sip:[2001:db8::7]": "2001:db8::7", "sip:[::ffff:127.0.0.1]": "127.0.0.1", "sip:[::FFFF:7f00:1]": "127.0.0.1",
		"sip:example.org": "", "sip:3f2a9c1b4d5e": "", "tel:1": "",
	} {
		u, err := ParseURI(s)
		if err != nil {
			t.Fatal(s, err)
		}
		a, ok := u.Addr()
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("%s: %v %v", s, a, ok)
		}
	}
}

// RFC 3261, 10.3 step 5.
// RFC 3261, 19.1.2: what is escaped means the same as what is not, and comes back escaped where it must be.
func TestDomainsAOR(t *testing.T) {
	d := NewDomains([]string{"Example.org", "example.com"}, []string{"192.0.2.7", "[2001:db8::7]", "sip.example.net"})
	for s, want := range map[string]AOR{
		"sip:alice@example.org":                        {"alice", "example.org"},
		"sips:alice@EXAMPLE.ORG:5061;transport=tcp;lr": {"alice", "example.org"},
		"sip:%61lice@example.org":                      {"alice", "example.org"}, // hardening 19
		"sip:alice@example.com.":                       {"alice", "example.com"},
		"sip:alice@192.0.2.7:5070":                     {"alice", "example.org"},
		"sip:alice@[2001:DB8:0::7]":                    {"alice", "example.org"},
		"sip:alice@[::ffff:192.0.2.7]":                 {"alice", "example.org"},
		"sip:alice@sip.example.net":                    {"alice", "example.org"},
		"sip:Alice@example.org":                        {"Alice", "example.org"},
		"sip:example.org":                              {"", "example.org"},
		"sip:I%20have%20spaces@example.org":            {"I have spaces", "example.org"},
		"sip:al%C3%A9@example.org":                     {"al\u00e9", "example.org"},
	} {
		u, err := ParseURI(s)
		if err != nil {
			t.Fatal(s, err)
		}
		got, ok := d.AOR(u)
		if !ok || got != want {
			t.Errorf("%s: %+v %v", s, got, ok)
		}
		back, err := ParseURI(got.String())
		if err != nil {
			t.Errorf("%s: %v", got, err)
		} else if again, ok := d.AOR(back); !ok || again != got {
			t.Errorf("%s comes back as %+v", got, again)
		}
	}
	for _, s := range []string{
		"sip:alice@example.net", "tel:+15551234", "sip:alice@192.0.2.8",
		"sip:alice%00x@example.org", "sip:null-%00-null@example.org", "sip:%0d%0a@example.org", "sip:%7f@example.org", // hardening 19
		"sip:%C0%AE@example.org", "sip:%E0%80%AF@example.org", "sip:%ff@example.org", // overlong and broken UTF-8
	} {
		u, err := ParseURI(s)
		if err != nil {
			t.Fatal(s, err)
		}
		if a, ok := d.AOR(u); ok {
			t.Errorf("%s is ours: %+v", s, a)
		}
	}
	if got := (AOR{"a@b;c#\x00", "2001:db8::1"}).String(); got != "sip:a%40b;c%23%00@[2001:db8::1]" {
		t.Error(got)
	}
	if d.Primary() != "example.org" || len(d.Names()) != 2 {
		t.Error(d.Primary(), d.Names())
	}
	var none Domains
	if _, ok := none.AOR(URI{Scheme: "sip", Host: "example.org"}); ok || none.Primary() != "" {
		t.Error("the zero value owns something")
	}
}
