package interop

import (
	"bytes"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// torturePhone is where the callees are registered: it keeps what it is sent, by Call-ID, and declines it.
type torturePhone struct {
	addr  string
	mu    sync.Mutex
	heard map[string][]byte
}

// newTorturePhone is at one address or at several.
func newTorturePhone(t *testing.T, addrs ...string) *torturePhone {
	t.Helper()
	p := &torturePhone{heard: map[string][]byte{}}
	for _, addr := range addrs {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		p.addr = c.LocalAddr().String()
		go p.listen(c)
	}
	return p
}

func (p *torturePhone) listen(c net.PacketConn) {
	for {
		b := make([]byte, 65536)
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		head, _ := split(b[:n])
		if strings.HasPrefix(head[0], "ACK ") {
			continue
		}
		answer := "SIP/2.0 486 Busy Here\r\n"
		for _, line := range head[1:] {
			name, value, _ := strings.Cut(line, ":")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "call-id", "i":
				p.mu.Lock()
				p.heard[strings.TrimSpace(value)] = b[:n]
				p.mu.Unlock()
				answer += line + "\r\n"
			case "via", "v", "from", "f", "cseq":
				answer += line + "\r\n"
			case "to", "t":
				if !hasTag.MatchString(value) {
					line += ";tag=busy"
				}
				answer += line + "\r\n"
			}
		}
		c.WriteTo([]byte(answer+"Content-Length: 0\r\n\r\n"), from)
	}
}

var hasTag = regexp.MustCompile(`;\s*tag\s*=`)

// take returns what came with the Call-ID, once.
func (p *torturePhone) take(raw []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := callID(raw)
	b := p.heard[id]
	delete(p.heard, id)
	return b
}

func callID(raw []byte) string {
	head, _ := split(raw)
	for _, f := range tortureFields(head) {
		if f.is("Call-ID", "i") {
			return f.value
		}
	}
	return ""
}

// intact: what arrives is what was sent, header field by header field in their order and the body byte for byte, except for what a proxy has to change: Request-URI,
// Max-Forwards, our Via, what its server notes in the one below (RFC 3261, 18.2.1), our Record-Route and Max-Breadth, the Route values that led here, and credentials for
// us (RFC 3261, 16.6 and 22.3). Folded lines may be written as one, and the colon as ": " (RFC 3261, 7.3.1 and 25.1).
func intact(t *testing.T, sent, got []byte, routesOfOurs int) {
	t.Helper()
	sentHead, sentBody := split(sent)
	gotHead, gotBody := split(got)
	if n := contentLength(sentHead); n >= 0 && n <= len(sentBody) {
		sentBody = sentBody[:n]
	}
	if !bytes.Equal(sentBody, gotBody) {
		t.Errorf("body changed:\n%q\n%q", sentBody, gotBody)
	}
	if n := contentLength(gotHead); n >= 0 && n != len(gotBody) {
		t.Errorf("Content-Length is %d, the body has %d bytes", n, len(gotBody))
	}
	want, have := tortureFields(sentHead[1:]), tortureFields(gotHead[1:])
	for i := range want {
		f := &want[i]
		switch {
		case f.is("Max-Forwards"):
			if hops, err := strconv.Atoi(f.value); err == nil {
				f.value = strconv.Itoa(hops - 1)
			}
		case f.is("Route") && routesOfOurs > 0:
			routesOfOurs--
			f.name = ""
		case f.is("Authorization", "Proxy-Authorization") && strings.Contains(f.value, `realm="example.com"`):
			f.name = ""
		}
	}
	want = slices.DeleteFunc(want, func(f tortureField) bool { return f.name == "" })
	ours := slices.IndexFunc(have, func(f tortureField) bool { return f.is("Via", "v") })
	if ours < 0 {
		t.Fatalf("no Via of the proxy:\n%s", got)
	}
	have = slices.Delete(have, ours, ours+1)
	added := func(names ...string) {
		is := func(f tortureField) bool { return f.is(names...) }
		if !slices.ContainsFunc(want, is) {
			have = slices.DeleteFunc(have, is)
		}
	}
	have = slices.DeleteFunc(have, func(f tortureField) bool { return f.is("Record-Route") && !slices.Contains(want, f) })
	added("Max-Breadth")
	added("Max-Forwards")
	added("Content-Length", "l")
	for _, fields := range [][]tortureField{want, have} {
		if top := slices.IndexFunc(fields, func(f tortureField) bool { return f.is("Via", "v") }); top >= 0 {
			fields[top].value = stamped.ReplaceAllString(fields[top].value, "")
		}
	}
	if !slices.Equal(want, have) {
		t.Errorf("sent\n%q\narrived as\n%q", want, have)
	}
}

// stamped is what the server writes into the topmost Via that it receives.
var stamped = regexp.MustCompile(`\s*;\s*(received|rport)(=[^;,]*)?`)

type tortureField struct{ name, value string }

func (f tortureField) is(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(f.name, name) })
}

func tortureFields(lines []string) (fields []tortureField) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		fields = append(fields, tortureField{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return fields
}

// split cuts a message; lines that were folded become one (RFC 3261, 7.3.1).
func split(b []byte) (head []string, body []byte) {
	h, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	text := regexp.MustCompile(`\r\n[ \t]+`).ReplaceAllString(string(h), " ")
	return strings.Split(text, "\r\n"), body
}

func contentLength(head []string) int {
	for _, line := range head {
		name, value, _ := strings.Cut(line, ":")
		if n := strings.ToLower(strings.TrimSpace(name)); n == "content-length" || n == "l" {
			if v, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				return v
			}
		}
	}
	return -1
}
