package interop

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// tortureOutcomes is what the running server, responsible for the domain example.com and open to callers from elsewhere, does with each message of
// RFC 4475 and RFC 5118: "forward" to the phone of the callee, intact; "drop"; or the status code. Where the RFC leaves a choice, or asks an element to accept what our
// rules of access then refuse (a sender at example.com has to authenticate: 407), the reason says so.
var tortureOutcomes = []struct{ file, udp, why string }{
	{"rfc4475/wsinv", "407", "RFC 4475, 3.1.1.1: well formed; a Route of the caller's choice needs credentials"},
	{"rfc4475/intmeth", "407", "RFC 4475, 3.1.1.2: well formed; the sender is of our domain"},
	{"rfc4475/esc01", "407", "RFC 4475, 3.1.1.3: well formed; for another domain"},
	{"rfc4475/escnull", "401", "RFC 4475, 3.1.1.4: well formed; every REGISTER is challenged"},
	{"rfc4475/esc02", "407", "RFC 4475, 3.1.1.5: an unknown method, not REGISTER"},
	{"rfc4475/lwsdisp", "407", "RFC 4475, 3.1.1.6: well formed; the sender is of our domain"},
	{"rfc4475/longreq", "forward", "RFC 4475, 3.1.1.7"},
	{"rfc4475/dblreq", "401", "RFC 4475, 3.1.1.8: the REGISTER alone is processed, the octets behind it are not"},
	{"rfc4475/semiuri", "forward", "RFC 4475, 3.1.1.9"},
	{"rfc4475/transports", "407", "RFC 4475, 3.1.1.10: well formed; the sender is of our domain"},
	{"rfc4475/mpart01", "407", "RFC 4475, 3.1.1.11: well formed; for another domain"},
	{"rfc4475/unreason", "drop", "RFC 4475, 3.1.1.12: a response to nothing that we sent"},
	{"rfc4475/noreason", "drop", "RFC 4475, 3.1.1.13: a response to nothing that we sent"},
	{"rfc4475/badinv01", "400", "RFC 4475, 3.1.2.1"},
	{"rfc4475/clerr", "400", "RFC 4475, 3.1.2.2"},
	{"rfc4475/ncl", "400", "RFC 4475, 3.1.2.3"},
	{"rfc4475/scalar02", "400", "RFC 4475, 3.1.2.4"},
	{"rfc4475/scalarlg", "drop", "RFC 4475, 3.1.2.5"},
	{"rfc4475/quotbal", "400", "RFC 4475, 3.1.2.6"},
	{"rfc4475/ltgtruri", "400", "RFC 4475, 3.1.2.7"},
	{"rfc4475/lwsruri", "400", "RFC 4475, 3.1.2.8"},
	{"rfc4475/lwsstart", "400", "RFC 4475, 3.1.2.9"},
	{"rfc4475/trws", "400", "RFC 4475, 3.1.2.10"},
	{"rfc4475/escruri", "400", "RFC 4475, 3.1.2.11"},
	{"rfc4475/baddate", "forward", "RFC 4475, 3.1.2.12: a proxy does not need the Date"},
	{"rfc4475/regbadct", "400", "RFC 4475, 3.1.2.13"},
	{"rfc4475/badaspec", "400", "RFC 4475, 3.1.2.14"},
	{"rfc4475/baddn", "400", "RFC 4475, 3.1.2.15"},
	{"rfc4475/badvers", "505", "RFC 4475, 3.1.2.16"},
	{"rfc4475/mismatch01", "400", "RFC 4475, 3.1.2.17"},
	{"rfc4475/mismatch02", "400", "RFC 4475, 3.1.2.18"},
	{"rfc4475/bigcode", "drop", "RFC 4475, 3.1.2.19"},
	{"rfc4475/badbranch", "forward", "RFC 4475, 3.2.1: a transaction of its own by the rules of RFC 2543"},
	{"rfc4475/insuf", "400", "RFC 4475, 3.3.1"},
	{"rfc4475/unkscm", "416", "RFC 4475, 3.3.2"},
	{"rfc4475/novelsc", "416", "RFC 4475, 3.3.3"},
	{"rfc4475/unksm2", "400", "RFC 4475, 3.3.4: To has to be a SIP URI"},
	{"rfc4475/bext01", "420", "RFC 4475, 3.3.5: Proxy-Require"},
	{"rfc4475/invut", "forward", "RFC 4475, 3.3.6: the body is the callee's business"},
	{"rfc4475/regaut01", "401", "RFC 4475, 3.3.7: credentials of an unknown scheme"},
	{"rfc4475/multi01", "400", "RFC 4475, 3.3.8"},
	{"rfc4475/mcl01", "400", "RFC 4475, 3.3.9"},
	{"rfc4475/bcast", "drop", "RFC 4475, 3.3.10"},
	{"rfc4475/zeromf", "483", "RFC 4475, 3.3.11"},
	{"rfc4475/cparam01", "401", "RFC 4475, 3.3.12: well formed; every REGISTER is challenged"},
	{"rfc4475/cparam02", "401", "RFC 4475, 3.3.13: well formed; every REGISTER is challenged"},
	{"rfc4475/regescrt", "401", "RFC 4475, 3.3.14: well formed; every REGISTER is challenged"},
	{"rfc4475/sdp01", "forward", "RFC 4475, 3.3.15: what the caller accepts is the callee's business"},
	{"rfc4475/inv2543", "forward", "RFC 4475, 3.4.1"},
	{"rfc4475/test", "drop", "in the archive only: a line that is no request line of any version"},
	{"rfc5118/ipv6-good", "407", "RFC 5118, 4.1: well formed; for another registrar"},
	{"rfc5118/ipv6-bad", "400", "RFC 5118, 4.2"},
	{"rfc5118/port-ambiguous", "407", "RFC 5118, 4.3: well formed; for another registrar"},
	{"rfc5118/port-unambiguous", "407", "RFC 5118, 4.4: well formed; for another registrar"},
	{"rfc5118/via-received-param-with-delim", "407", "RFC 5118, 4.5: well formed; for somebody else"},
	{"rfc5118/via-received-param-no-delim", "407", "RFC 5118, 4.5: well formed; for somebody else"},
	{"rfc5118/ipv6-in-sdp", "407", "RFC 5118, 4.6: well formed; for another domain"},
	{"rfc5118/mult-ip-in-header", "407", "RFC 5118, 4.7: well formed; no dialog of ours"},
	{"rfc5118/mult-ip-in-sdp", "407", "RFC 5118, 4.8: well formed; for another domain"},
	{"rfc5118/ipv4-mapped-ipv6", "forward", "RFC 5118, 4.9"},
	{"rfc5118/ipv6-bug-abnf-3-colons", "407", "RFC 5118, 4.10: tolerated; for another domain"},
	{"rfc5118/ipv6-correct-abnf-2-colons", "407", "RFC 5118, 4.10: well formed; for another domain"},
}

// hardening 17: every message of RFC 4475 and RFC 5118 against the running server, over UDP and WebSocket and, as far as it can be framed, over TCP.
func TestTorture(t *testing.T) {
	s := newServerFor(t, "example.com", "[auth]\ninbound = \"any\"\n", "user", "UserB", "user;par=u@example.net", "vivekg")
	phone := newTorturePhone(t, "127.0.0.1:0")
	for _, user := range []string{"user", "UserB", "user;par=u%40example.net"} {
		s.registerTortured(phone, user, "example.com")
	}
	dir := filepath.Join("..", "internal", "wire", "testdata")
	for _, tt := range tortureOutcomes {
		raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(tt.file)+".dat"))
		if err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"udp", "tcp", "ws"} {
			t.Run(tt.file+"/"+network, func(t *testing.T) {
				want := tt.udp
				if network == "tcp" {
					switch tt.file {
					case "rfc4475/clerr":
						want = "drop" // waits for the rest of the body, as the RFC says
					case "rfc4475/regaut01":
						want = "482" // the same request came over UDP (RFC 3261, 8.2.2.2)
					case "rfc4475/test":
						want = "400"
					case "rfc4475/inv2543":
						want = "400" // no Content-Length: the stream cannot be framed (RFC 3261, 18.3)
					}
				}
				if network == "ws" { // framed as a datagram is (RFC 7118, 5), answered over its connection
					switch tt.file {
					case "rfc4475/regaut01":
						want = "482"
					case "rfc4475/test":
						want = "400"
					}
				}
				got := s.torture(t, phone, network, ownBranch(raw, network))
				if got != want {
					t.Errorf("got %s, want %s: %s", got, want, tt.why)
				}
			})
		}
	}
	results.passed(t, "RFC 4475 and RFC 5118", "All torture messages: forwarded intact, dropped, or answered as the RFC says", "TestTorture", "udp")
	results.passed(t, "RFC 4475 and RFC 5118", "All torture messages: forwarded intact, dropped, or answered as the RFC says", "TestTorture", "tcp")
	results.passed(t, "RFC 4475 and RFC 5118", "All torture messages: forwarded intact, dropped, or answered as the RFC says", "TestTorture", "ws")
}

// registerTortured registers a user by hand: REGISTER, 401, REGISTER with MD5 credentials.
func (s *server) registerTortured(phone *torturePhone, user, domain string) {
	s.t.Helper()
	c, err := net.Dial("udp", s.udp)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	tag := fmt.Sprintf("%x", md5.Sum([]byte(user+domain)))
	register := func(seq int, auth string) string {
		return exchangeText(s.t, c, fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%[1]s>;tag=r\r\nTo: <sip:%[5]s@%[1]s>\r\nCall-ID: reg-%[3]s\r\nCSeq: %[4]d REGISTER\r\nContact: <sip:phone@%[6]s>\r\n%[7]sContent-Length: 0\r\n\r\n",
			domain, c.LocalAddr(), tag, seq, user, phone.addr, auth))
	}
	challenge := register(1, "")
	res := register(2, "Authorization: "+tortureCredentials(s.t, challenge, strings.ReplaceAll(user, "%40", "@"), "REGISTER", "sip:"+domain)+"\r\n")
	if !strings.HasPrefix(res, "SIP/2.0 200") {
		s.t.Fatalf("REGISTER of %s: %s", user, res)
	}
}

// exchangeText sends a message and returns what comes.
func exchangeText(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 65536)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("no answer: %v, to\n%s", err, text)
	}
	return string(b[:n])
}

// tortureCredentials answers the MD5 challenge in a response (RFC 7616, 3.4).
func tortureCredentials(t *testing.T, challenge, name, method, uri string) string {
	t.Helper()
	m := regexp.MustCompile(`realm="([^"]+)", .*nonce="([^"]+)", algorithm=MD5`).FindStringSubmatch(challenge)
	if m == nil {
		t.Fatalf("no MD5 challenge:\n%s", challenge)
	}
	h := func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }
	response := h(h(name+":"+m[1]+":"+password(name)) + ":" + m[2] + ":00000001:c:auth:" + h(method+":"+uri))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", qop=auth, nc=00000001, cnonce="c", algorithm=MD5, response="%s"`, name, m[1], m[2], uri, response)
}

// torture sends one message, then an OPTIONS that the server must answer, and tells what became of the first.
func (s *server) torture(t *testing.T, phone *torturePhone, network string, raw []byte) string {
	t.Helper()
	code, _ := tortureBy(t, s.torturer(t, network, raw), phone, raw, 0)
	alive(t, s.udp)
	return code
}

// tortureBy sends one message and tells what became of it, with the answer.
func tortureBy(t *testing.T, c net.Conn, phone *torturePhone, raw []byte, routesOfOurs int) (code, answer string) {
	t.Helper()
	if _, err := c.Write(raw); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	reply, id := make([]byte, 65536), callID(raw)
	for code = "drop"; code == "drop"; {
		n, err := c.Read(reply)
		if err != nil {
			break
		}
		for text := range strings.SplitSeq(string(reply[:n]), "\r\n\r\n") { // a stream may bring several, each without a body
			if f := strings.Fields(text); len(f) > 1 && f[0] == "SIP/2.0" && f[1] != "100" && strings.Contains(text, id) {
				code, answer = f[1], text
			}
		}
	}
	if forwarded := phone.take(raw); forwarded != nil {
		intact(t, raw, forwarded, routesOfOurs)
		code = "forward"
	}
	return code, answer
}

// ownBranch makes the topmost branch unique: several of the messages share one, and would be retransmissions of each other.
func ownBranch(raw []byte, network string) []byte {
	raw = bytes.Replace(raw, []byte("\r\nCall-ID: longreq."), fmt.Appendf(nil, "\r\nCall-ID: %s-longreq.", network), 1) // has no branch on top
	at := branchValue.FindIndex(raw)
	if at == nil {
		return raw
	}
	return slices.Concat(raw[:at[1]], fmt.Appendf(nil, "-%s%d", network, rand.Uint32()), raw[at[1]:])
}

var branchValue = regexp.MustCompile(`(?i)branch\s*=\s*[a-z0-9][^;,\s]*`)

// torturer is a connection that hears the answer. Over UDP the answer goes to the source address and the port of the Via (RFC 3261, 18.2.2), so the
// socket has that port, on a loopback address of its own.
func (s *server) torturer(t *testing.T, network string, raw []byte) net.Conn {
	t.Helper()
	if network == "ws" {
		c, _, err := websocket.Dial(t.Context(), s.url("ws"), &websocket.DialOptions{Subprotocols: []string{"sip"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseNow() })
		return &webSocket{conn: c}
	}
	target := s.tcp
	if network == "udp" {
		target = s.udp
	}
	c, err := tortureDialer(network, raw).Dial(network, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func tortureDialer(network string, raw []byte) *net.Dialer {
	if network != "udp" {
		return &net.Dialer{}
	}
	port := 5060
	if m := regexp.MustCompile(`(?is)\r\n(?:via|v)\s*:\s*SIP\s*/\s*2.0\s*/\s*\S+\s+(\[[^\]]*\]|[^\s;:,]+)\s*:\s*(\d+)`).FindSubmatch(raw); m != nil {
		port, _ = strconv.Atoi(string(m[2]))
	}
	return &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, byte(1+rand.IntN(250)), byte(rand.IntN(250)), byte(1+rand.IntN(250))), Port: port}}
}

// webSocket is a connection of messages: each Write is one, and each Read.
type webSocket struct {
	net.Conn
	conn  *websocket.Conn
	until time.Time
}

func (w *webSocket) SetReadDeadline(t time.Time) error { w.until = t; return nil }

func (w *webSocket) Write(b []byte) (int, error) {
	return len(b), w.conn.Write(context.Background(), websocket.MessageBinary, b)
}

func (w *webSocket) Read(b []byte) (int, error) {
	ctx, cancel := context.WithDeadline(context.Background(), w.until)
	defer cancel()
	_, msg, err := w.conn.Read(ctx)
	return copy(b, msg), err
}

// alive: the global pass rule of hardening: the next OPTIONS is answered.
func alive(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKalive%d\r\nMax-Forwards: 70\r\nFrom: <sip:a@example.net>;tag=r\r\nTo: <sip:example.com>\r\nCall-ID: alive%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", c.LocalAddr(), time.Now().UnixNano(), time.Now().UnixNano())
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 4096)
	if n, err := c.Read(b); err != nil || !bytes.HasPrefix(b[:n], []byte("SIP/2.0 200")) {
		t.Fatalf("the server does not answer any more: %v %s", err, b[:n])
	}
}
