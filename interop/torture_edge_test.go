package interop

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// tortureForwarded are the valid requests of RFC 4475 and RFC 5118, as a proxy sees them that stands in front of the domains they are for: it forwards each intact, by name or
// by address.
var tortureForwarded = []struct{ file, why string }{
	{"rfc4475/wsinv", "RFC 4475, 3.1.1.1: well formed; the Route is not ours and stays"},
	{"rfc4475/intmeth", "RFC 4475, 3.1.1.2: well formed"},
	{"rfc4475/esc01", "RFC 4475, 3.1.1.3: well formed"},
	{"rfc4475/escnull", "RFC 4475, 3.1.1.4: well formed"},
	{"rfc4475/esc02", "RFC 4475, 3.1.1.5: an unknown method; C%6Fntact is no Contact"},
	{"rfc4475/lwsdisp", "RFC 4475, 3.1.1.6: well formed"},
	{"rfc4475/longreq", "RFC 4475, 3.1.1.7: well formed"},
	{"rfc4475/dblreq", "RFC 4475, 3.1.1.8: without the octets behind it"},
	{"rfc4475/semiuri", "RFC 4475, 3.1.1.9: well formed"},
	{"rfc4475/transports", "RFC 4475, 3.1.1.10: well formed"},
	{"rfc4475/mpart01", "RFC 4475, 3.1.1.11: well formed, with its null octets; the Route is ours"},
	{"rfc4475/baddate", "RFC 4475, 3.1.2.12: a proxy does not need the Date"},
	{"rfc4475/badbranch", "RFC 4475, 3.2.1: a transaction by the rules of RFC 2543"},
	{"rfc4475/invut", "RFC 4475, 3.3.6: the body is the callee's business"},
	{"rfc4475/regaut01", "RFC 4475, 3.3.7: with its credentials of an unknown scheme"},
	{"rfc4475/cparam01", "RFC 4475, 3.3.12"},
	{"rfc4475/cparam02", "RFC 4475, 3.3.13"},
	{"rfc4475/regescrt", "RFC 4475, 3.3.14"},
	{"rfc4475/sdp01", "RFC 4475, 3.3.15: what the caller accepts is the callee's business"},
	{"rfc4475/inv2543", "RFC 4475, 3.4.1: should be accepted"},
	{"rfc5118/ipv6-good", "RFC 5118, 4.1"},
	{"rfc5118/port-ambiguous", "RFC 5118, 4.3: to where it says, if not to where it means"},
	{"rfc5118/port-unambiguous", "RFC 5118, 4.4: to port 5070"},
	{"rfc5118/via-received-param-with-delim", "RFC 5118, 4.5"},
	{"rfc5118/via-received-param-no-delim", "RFC 5118, 4.5"},
	{"rfc5118/ipv6-in-sdp", "RFC 5118, 4.6"},
	{"rfc5118/mult-ip-in-header", "RFC 5118, 4.7"},
	{"rfc5118/mult-ip-in-sdp", "RFC 5118, 4.8"},
	{"rfc5118/ipv4-mapped-ipv6", "RFC 5118, 4.9"},
	{"rfc5118/ipv6-bug-abnf-3-colons", "RFC 5118, 4.10: tolerated"},
	{"rfc5118/ipv6-correct-abnf-2-colons", "RFC 5118, 4.10"},
}

// hardening 17: every valid request of RFC 4475 and RFC 5118 is forwarded intact, to the very address it names, in a network of its own with the addresses and names of the RFCs.
func TestTortureForwarded(t *testing.T) {
	t.Parallel()
	l := newNamespaces(t, "torture messages in a network of their own", "server")
	for _, addr := range []string{"2001:db8::53", "2001:db8::10", "2001:db8::10:5070", "2001:db8::192.0.2.1"} {
		l.run("server", "ip", "addr", "add", addr+"/128", "dev", "lo")
	}
	names := []string{"example.com", "example.net", "example.org", "chair-dnrc.example.com", "services.example.com", "registrar.example.com", "host.example.net",
		"ift.client.example.net", "ss1.example.net", "east.example.com"}
	numbers := []string{"2001:db8::10", "2001:db8::10:5070", "2001:db8::192.0.2.1"}
	var phone *torturePhone
	if err := l.inside("server", func() {
		phone = newTorturePhone(t, "[2001:db8::10]:5060", "[2001:db8::10]:5070", "[2001:db8::10:5070]:5060", "[2001:db8::192.0.2.1]:5060")
		serveNames(t, "127.0.0.1:53", names, "2001:db8::10")
	}); err != nil {
		t.Fatal(err)
	}
	l.resolver("server", "127.0.0.1")
	s := l.serveIn("server", "edge.example", []string{"127.0.0.1:5080", "[2001:db8::53]:5080"}, "[proxy]\nedge = [\""+strings.Join(append(names, numbers...), `", "`)+"\"]\n")
	for _, network := range []string{"udp", "tcp"} {
		for _, tt := range tortureForwarded {
			if network == "tcp" && tt.file == "rfc4475/inv2543" { // no Content-Length: the stream cannot be framed (RFC 3261, 18.3)
				continue
			}
			t.Run(tt.file+"/"+network, func(t *testing.T) {
				raw, err := os.ReadFile(filepath.Join("..", "internal", "wire", "testdata", filepath.FromSlash(tt.file)+".dat"))
				if err != nil {
					t.Fatal(err)
				}
				if network == "tcp" && tt.file == "rfc4475/dblreq" { // as in TestTortureAdmitted
					raw = raw[:bytes.Index(raw, []byte("\r\n\r\n"))+4]
				}
				raw = ownBranch(raw, network)
				var c net.Conn
				if e := l.inside("server", func() { c, err = tortureDialer(network, raw).Dial(network, "127.0.0.1:5080") }); e != nil || err != nil {
					t.Fatal(e, err)
				}
				defer c.Close()
				routesOfOurs := 0
				if tt.file == "rfc4475/mpart01" {
					routesOfOurs = 1
				}
				if got, answer := tortureBy(t, c, phone, raw, routesOfOurs); got != "forward" {
					t.Errorf("got %s, want it forwarded: %s\n%s", got, tt.why, answer)
				}
			})
		}
		results.passed(t, "RFC 4475 and RFC 5118", "All valid requests: forwarded intact to the server they are for, by name and by address", "TestTortureForwarded", network)
	}
	s.stop()
}

// serveNames is a name server that knows one address for all names.
func serveNames(t *testing.T, addr string, names []string, to string) {
	t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for _, name := range names {
			if q.Question[0].Name == dns.Fqdn(name) && q.Question[0].Qtype == dns.TypeAAAA {
				rr, _ := dns.NewRR(q.Question[0].Name + " 60 AAAA " + to)
				m.Answer = append(m.Answer, rr)
			}
		}
		w.WriteMsg(m)
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
}
