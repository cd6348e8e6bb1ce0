package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"signalbox/internal/wire"
)

// A phone that was set up with a wrong domain hears 403 or 404 and shows no more than that: the log names the domain, once, and those of strangers not without end.
func TestStrayedPhoneIsNamed(t *testing.T) {
	var log bytes.Buffer
	s := &server{config: &config{domains: []string{"example.org"}, edge: []string{"sip.example.net"}}, log: slog.New(slog.NewTextHandler(&log, nil))}
	from := wire.FlowID{Proto: wire.UDP, Remote: netip.MustParseAddrPort("192.0.2.20:5060")}
	for range 3 {
		s.phoneStrayed("www.example.org", from)
		s.phoneStrayed("sip.example.net", from) // is registered with through us
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), `domain=www.example.org ours=example.org source=UDP:192.0.2.20:5060`) {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	for i := range 100 {
		s.phoneStrayed(fmt.Sprintf("%d.example", i), from)
	}
	if n := strings.Count(log.String(), "\n"); n != maxNamedOnce {
		t.Errorf("%d lines", n)
	}
}

// RFC 3261, 10.3 step 5: our address is no domain of ours. There is nobody else whom the request could be for, so nobody is asked for a password first.
func TestRegisterWithOurAddress(t *testing.T) {
	p := startProcess(t, t.TempDir(), "udp = \"127.0.0.1:0\"\ntcp = \"\"\ntls = \"\"\n")
	conn, err := net.Dial("udp", p.address("udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, tt := range []struct{ host, want string }{
		{p.address("udp"), "SIP/2.0 404 Domain Not Served Here\r\n"},
		{"example.org", "SIP/2.0 401 Unauthorized\r\n"},
		{"example.net", "SIP/2.0 407 Proxy Authentication Required\r\n"},
	} {
		fmt.Fprintf(conn, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:alice@%[1]s>;tag=1\r\nTo: <sip:alice@%[1]s>\r\n"+
			"Call-ID: %[1]s\r\nCSeq: 1 REGISTER\r\nContact: <sip:alice@%[2]s>\r\nContent-Length: 0\r\n\r\n", tt.host, conn.LocalAddr(), i)
		got := make([]byte, 2048)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := conn.Read(got)
		if err != nil || !strings.HasPrefix(string(got[:n]), tt.want) {
			t.Errorf("REGISTER sip:%s: %q %v, want %q", tt.host, got[:n], err, tt.want)
		}
	}
}
