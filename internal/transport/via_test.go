package transport

import (
	"net/netip"
	"testing"

	"signalbox/internal/wire"
)

// RFC 3261, 18.2.1: a received parameter is added when the host of sent-by is a name or differs from the source address.
// RFC 3581, 4: with rport, both are filled in.
func TestStampVia(t *testing.T) {
	const source = "192.0.2.1:7000"
	for _, tt := range []struct{ name, source, via, want string }{
		{"same address", source, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", ""},
		{"same address, other port", source, "SIP/2.0/UDP 192.0.2.1:9;branch=z9hG4bK1", ""},
		{"a name", source, "SIP/2.0/UDP bobspc.example.org:5060", "SIP/2.0/UDP bobspc.example.org:5060;received=192.0.2.1"},
		{"other address", source, "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1;received=192.0.2.1"},
		{"rport", source, "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.1:5060;rport=7000;branch=z9hG4bK1;received=192.0.2.1"},
		{"rport at the end, any case", source, "SIP/2.0/UDP x.invalid ;branch=z9hG4bK1 ; RPORT", "SIP/2.0/UDP x.invalid;branch=z9hG4bK1 ;rport=7000;received=192.0.2.1"},
		{"forged rport", source, "SIP/2.0/UDP 192.0.2.1;rport=1;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.1;rport=7000;branch=z9hG4bK1;received=192.0.2.1"},
		{"forged received", source, "SIP/2.0/UDP 192.0.2.1;received=10.0.0.1;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"},
		{"forged received behind NAT", source, "SIP/2.0/UDP 10.0.0.1;received=10.0.0.1;branch=z9hG4bK1", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.1"},
		{"a quoted semicolon", source, `SIP/2.0/UDP a.example.org;x="a;rport";rport`, `SIP/2.0/UDP a.example.org;x="a;rport";rport=7000;received=192.0.2.1`},
		{"more values", source, "SIP/2.0/UDP a.example.org , SIP/2.0/UDP b;rport", "SIP/2.0/UDP a.example.org;received=192.0.2.1 , SIP/2.0/UDP b;rport"},
		{"IPv6", "[2001:db8::1]:7000", "SIP/2.0/UDP [2001:db8:0::1]:5060;branch=z9hG4bK1", ""},
		{"IPv6 rport", "[2001:db8::1]:7000", "SIP/2.0/UDP [2001:db8::2];rport", "SIP/2.0/UDP [2001:db8::2];rport=7000;received=2001:db8::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := parseRequest(t, request(tt.via, "1"))
			stampVia(req, netip.MustParseAddrPort(tt.source))
			want := tt.want
			if want == "" {
				want = tt.via
			}
			if got := wire.Get(req, "Via"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			again := parseRequest(t, string(wire.Append(nil, req)))
			if req.Via != again.Via {
				t.Errorf("Head.Via %+v does not say what the header says: %+v", req.Via, again.Via)
			}
		})
	}
}

// RFC 3261, 18.2.2 and RFC 3581, 4: over UDP a response goes to maddr, if that is in the network of the source, or to the source; to the port in rport, where there is
// no maddr (RFC 3581, 4), or else in sent-by, or 5060.
func TestReplyTo(t *testing.T) {
	for _, tt := range []struct{ source, via, want string }{
		{"192.0.2.1:7000", "SIP/2.0/UDP 192.0.2.1:5070;rport", "192.0.2.1:7000"},
		{"192.0.2.1:7000", "SIP/2.0/UDP 192.0.2.1:5070", "192.0.2.1:5070"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org", "192.0.2.1:5060"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org:5080;maddr=192.0.2.9", "192.0.2.9:5080"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org;rport;maddr=192.0.2.9", "192.0.2.9:5060"},
		{"[2001:db8::1]:7000", "SIP/2.0/UDP [2001:db8::1]:5070;maddr=[2001:DB8::9]", "[2001:db8::9]:5070"},
		{"[fe80::1%eth0]:7000", "SIP/2.0/UDP [fe80::1];maddr=[fe80::9]", "[fe80::9%eth0]:5060"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org:5080;maddr=192.0.3.9", "192.0.2.1:5080"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org:5080;rport;maddr=127.0.0.1", "192.0.2.1:7000"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org:5080;maddr=239.255.255.1", "192.0.2.1:5080"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org:5080;maddr=b.example.org", "192.0.2.1:5080"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org:5080;maddr", "192.0.2.1:5080"},
		{"192.0.2.1:7000", "SIP/2.0/UDP a.example.org:5080;maddr=[2001:db8::9]", "192.0.2.1:5080"},
		{"[2001:db8::1]:7000", "SIP/2.0/UDP a.example.org:5080;maddr=192.0.2.9", "[2001:db8::1]:5080"},
	} {
		v, err := wire.ParseVia(tt.via)
		if err != nil {
			t.Fatal(err)
		}
		if got := replyTo(&v, netip.MustParseAddrPort(tt.source)); got != netip.MustParseAddrPort(tt.want) {
			t.Errorf("from %s, %s: %s, want %s", tt.source, tt.via, got, tt.want)
		}
	}
}

// RFC 3261, 18.2.2: if the connection is gone, a new one is opened to received, or sent-by, with the port in sent-by or the default (RFC 7118, 5.5 for WebSocket).
func TestFallback(t *testing.T) {
	for _, tt := range []struct {
		via  string
		want wire.Hop
		ok   bool
	}{
		{"SIP/2.0/TCP 192.0.2.1:5070;branch=z9hG4bK1", hop(wire.TCP, "192.0.2.1:5070", ""), true},
		{"SIP/2.0/TCP 192.0.2.1", hop(wire.TCP, "192.0.2.1:5060", ""), true},
		{"SIP/2.0/TCP 10.0.0.1:5070;received=192.0.2.1;rport=7000", hop(wire.TCP, "192.0.2.1:5070", ""), true},
		{"SIP/2.0/WS 192.0.2.1", hop(wire.WS, "192.0.2.1:80", ""), true},
		{"SIP/2.0/WSS 192.0.2.1", hop(wire.WSS, "192.0.2.1:443", ""), true},
		{"SIP/2.0/TLS pbx.example.org;received=192.0.2.1", hop(wire.TLS, "192.0.2.1:5061", "pbx.example.org"), true},
		{"SIP/2.0/TLS 192.0.2.1;received=192.0.2.1", hop(wire.TLS, "192.0.2.1:5061", ""), true},
		{"SIP/2.0/UDP 10.0.0.1:5070;received=192.0.2.1;rport=7000", hop(wire.UDP, "192.0.2.1:7000", ""), true},
		{"SIP/2.0/UDP 10.0.0.1:5070;received=192.0.2.1", hop(wire.UDP, "192.0.2.1:5070", ""), true},
		{"SIP/2.0/TCP [2001:db8::1]:5070", hop(wire.TCP, "[2001:db8::1]:5070", ""), true},
		{"SIP/2.0/TCP pbx.example.org", wire.Hop{}, false},
		{"SIP/2.0/SCTP 192.0.2.1", wire.Hop{}, false},
	} {
		v, err := wire.ParseVia(tt.via)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := Fallback(v); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %v, %v", tt.via, got, ok)
		}
	}
}

func hop(p wire.Proto, addr, name string) wire.Hop {
	return wire.Hop{Proto: p, Addr: netip.MustParseAddrPort(addr), Name: name}
}

// Whatever a Via holds, the stamped one parses to what Head.Via says, and tells the true source.
func FuzzStampVia(f *testing.F) {
	for _, via := range []string{
		"SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1",
		`SIP/2.0/UDP [2001:db8::1] ; received="192.0.2.9" ;x="a;\"b";RPORT=7`,
		"SIP / 2.0 / TCP a.example.org : 5060 ;branch=z9hG4bK1, SIP/2.0/UDP b;rport",
	} {
		f.Add(via)
	}
	source := netip.MustParseAddrPort("192.0.2.1:7000")
	f.Fuzz(func(t *testing.T, via string) {
		m, err := wire.Parse([]byte(request(via, "1")))
		req, ok := m.(*wire.Request)
		if err != nil || !ok {
			return
		}
		before := req.Via
		stampVia(req, source)
		m, err = wire.Parse(wire.Append(nil, req))
		if err != nil {
			t.Fatalf("%q became %q: %v", before.Raw, req.Via.Raw, err)
		}
		if again := m.(*wire.Request); again.Via != req.Via {
			t.Errorf("Head.Via %+v, header %+v", req.Via, again.Via)
		}
		if r := req.Via.Received; r != "" && r != "192.0.2.1" || req.Via.HasRPort && req.Via.RPort != 7000 {
			t.Errorf("source %s/%d", r, req.Via.RPort)
		}
		if req.Via.Branch != before.Branch || req.Via.Host != before.Host || req.Via.Port != before.Port {
			t.Errorf("%+v became %+v", before, req.Via)
		}
	})
}

func BenchmarkStampVia(b *testing.B) {
	source := netip.MustParseAddrPort("192.0.2.1:7000")
	req := parseRequest(b, request("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1234567890;rport", "1"))
	header, via := req.Headers()[0], req.Via
	b.ReportAllocs()
	for b.Loop() {
		req.Headers()[0], req.Via = header, via
		stampVia(req, source)
	}
}
