package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unusualUser is the callee of RFC 4475, 3.1.1.2.
const unusualUser = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"

// tortureAdmitted is what the server does with the valid messages that TestTorture sees challenged, when they come with the credentials of a user: it forwards them intact
// ("forward"), or registers contacts, which it lists as they were sent, or answers with a status code.
var tortureAdmitted = []struct {
	file, sender string
	want         string
	contacts     []string // without what the registrar adds: expires
	routesOfOurs int
	why          string
}{
	{file: "rfc4475/wsinv", sender: "jdrosen", want: "forward", routesOfOurs: 1, why: "RFC 4475, 3.1.1.1: all elements treat it as well formed"},
	{file: "rfc4475/intmeth", sender: "mundane", want: "forward", why: "RFC 4475, 3.1.1.2: forwarded where this unusual URI is somebody's"},
	{file: "rfc4475/escnull", sender: "user", want: "404", why: "RFC 4475, 3.1.1.4: the name is not cut short at its null, and with it nobody's (hardening 19)"},
	{file: "rfc4475/lwsdisp", sender: "caller", want: "forward", why: "RFC 4475, 3.1.1.6"},
	{file: "rfc4475/dblreq", sender: "j.user", want: "200", contacts: []string{"<sip:j.user@host.example.com>"}, why: "RFC 4475, 3.1.1.8: the REGISTER alone"},
	{file: "rfc4475/transports", sender: "caller", want: "forward", why: "RFC 4475, 3.1.1.10"},
	{file: "rfc4475/unksm2", sender: "user", want: "400", why: "RFC 4475, 3.3.4: To has to be a SIP URI"},
	{file: "rfc4475/regaut01", sender: "j.user", want: "200", contacts: nil, why: "RFC 4475, 3.3.7: the credentials of the unknown scheme are nobody's business"},
	{file: "rfc4475/cparam01", sender: "watson", want: "200", contacts: []string{"<sip:+19725552222@gw1.example.net>;unknownparam"}, why: "RFC 4475, 3.3.12: a parameter of the contact"},
	{file: "rfc4475/cparam02", sender: "watson", want: "200", contacts: []string{"<sip:+19725552222@gw1.example.net;unknownparam>"}, why: "RFC 4475, 3.3.13: a parameter of the URI"},
	{file: "rfc4475/regescrt", sender: "user", want: "200", contacts: []string{"<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"}, why: "RFC 4475, 3.3.14: with the escaped header field"},
}

// hardening 17: the valid messages of RFC 4475 that need credentials go on when they have them, over UDP, TCP and WebSocket.
func TestTortureAdmitted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "internal", "wire", "testdata")
	for _, network := range []string{"udp", "tcp", "ws"} {
		t.Run(network, func(t *testing.T) {
			s := prepareServer(t, "example.com", "", "jdrosen", "mundane", "caller", "j.user", "watson", "user", unusualUser)
			conf, err := os.ReadFile(s.conf)
			if err != nil {
				t.Fatal(err)
			}
			domains := []byte(`domains = ["example.com", "chair-dnrc.example.com", "services.example.com"]`)
			s.file("signalbox.toml", string(bytes.Replace(conf, []byte(`domain = "example.com"`), domains, 1)))
			s.importUsers("chair-dnrc.example.com", "vivekg")
			s.start()
			phone := newTorturePhone(t, "127.0.0.1:0")
			s.registerTortured(phone, "user", "example.com")
			s.registerTortured(phone, "vivekg", "chair-dnrc.example.com")
			s.registerTortured(phone, unusualUser, "example.com")
			for _, tt := range tortureAdmitted {
				t.Run(tt.file, func(t *testing.T) {
					raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(tt.file)+".dat"))
					if err != nil {
						t.Fatal(err)
					}
					if network == "tcp" && tt.file == "rfc4475/dblreq" { // what follows is no noise in a stream, but a message, and then noise that ends the connection
						raw, _, _ = bytes.Cut(raw, []byte("INVITE"))
					}
					raw = ownBranch(raw, network)
					c := s.torturer(t, network, raw)
					got, answer := tortureBy(t, c, phone, admitted(t, c, network, raw, tt.sender), tt.routesOfOurs)
					if got != tt.want {
						t.Errorf("got %s, want %s: %s\n%s", got, tt.want, tt.why, answer)
					}
					for _, contact := range tt.contacts {
						if !strings.Contains(answer, "Contact: "+contact+";expires=") {
							t.Errorf("no contact %s in\n%s", contact, answer)
						}
					}
					alive(t, s.udp)
				})
			}
		})
		results.passed(t, "RFC 4475", "The valid messages that need credentials: forwarded intact, or registered as sent", "TestTortureAdmitted", network)
	}
}

// admitted adds the credentials of a sender to a message, for a challenge that comes to a request of the same sender.
func admitted(t *testing.T, c net.Conn, network string, raw []byte, sender string) []byte {
	t.Helper()
	challenge := exchangeText(t, c, fmt.Sprintf("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/%s phone.example.com;rport;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s@example.com>;tag=r\r\nTo: <sip:%[3]s@example.com>\r\nCall-ID: probe-%[2]d\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n",
		strings.ToUpper(network), rand.Int64(), sender))
	line, _, _ := bytes.Cut(raw, []byte("\r\n"))
	start := strings.Fields(string(line))
	name := "Proxy-Authorization"
	if start[0] == "REGISTER" {
		name = "Authorization"
	}
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return slices.Concat(head, fmt.Appendf(nil, "\r\n%s: %s\r\n\r\n", name, tortureCredentials(t, challenge, sender, start[0], start[1])), body)
}
