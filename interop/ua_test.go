package interop

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ua is a user agent written here, for what SIPp and softphones do not do. It knows no room of the program.
type ua struct {
	t        *testing.T
	user     string
	proto    string // udp or tcp
	conn     net.Conn
	in       *bufio.Reader
	cseq     int
	branches int
	early    []*sip          // requests that came while a response was awaited
	seen     map[string]bool // Via of the requests that were answered
}

// sip is a message as text.
type sip struct {
	start  string
	fields [][2]string
	body   string
}

// dial opens the user agent's flow to the server.
func (s *server) dial(proto, user string) *ua {
	s.t.Helper()
	u := &ua{t: s.t, user: user, proto: proto, seen: map[string]bool{}}
	u.connect(s)
	return u
}

// connect opens a new flow; what came on the old one is forgotten.
func (u *ua) connect(s *server) {
	u.t.Helper()
	if u.conn != nil {
		u.conn.Close()
	}
	conn, err := net.Dial(u.proto, map[string]string{"udp": s.udp, "tcp": s.tcp}[u.proto])
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { conn.Close() })
	u.conn, u.in, u.early = conn, bufio.NewReaderSize(conn, 64<<10), nil
}

// contact is where it is.
func (u *ua) contact() string {
	return "<sip:" + u.user + "@" + u.conn.LocalAddr().String() + ";transport=" + u.proto + ">"
}

// request builds a request; fields are "Name: value" and replace or follow the usual ones.
func (u *ua) request(method, uri string, fields ...string) *sip {
	u.cseq++
	u.branches++
	m := &sip{start: method + " " + uri + " SIP/2.0"}
	m.fields = [][2]string{
		{"Via", fmt.Sprintf("SIP/2.0/%s %s;rport;branch=z9hG4bK%d.%d", strings.ToUpper(u.proto), u.conn.LocalAddr(), time.Now().UnixNano(), u.branches)},
		{"Max-Forwards", "70"},
		{"From", "<sip:" + u.user + "@" + domain + ">;tag=" + u.user + u.proto},
		{"To", "<sip:" + u.user + "@" + domain + ">"},
		{"Call-ID", method + "-" + u.user + "-" + u.proto},
		{"CSeq", fmt.Sprint(u.cseq, " ", method)},
		{"Contact", u.contact()},
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		m.set(name, value)
	}
	return m
}

// ask sends a request and returns its final response, with the answer to a challenge if there is one.
func (u *ua) ask(method, uri string, fields ...string) *sip {
	u.t.Helper()
	m := u.request(method, uri, fields...)
	res := u.exchange(m)
	challenge := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[res.code()]
	if challenge == "" {
		return res
	}
	again := u.request(method, uri, fields...)
	again.set(map[int]string{401: "Authorization", 407: "Proxy-Authorization"}[res.code()], u.answer(res.get(challenge), method, uri))
	return u.exchange(again)
}

// answer is the credentials for an MD5 challenge. RFC 7616, 3.4
func (u *ua) answer(challenge, method, uri string) string {
	field := func(name string) string {
		_, rest, _ := strings.Cut(challenge, name+`="`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	hash := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	nonce := field("nonce")
	response := hash(hash(u.user+":"+domain+":"+password(u.user)) + ":" + nonce + ":00000001:c:auth:" + hash(method+":"+uri))
	return fmt.Sprintf(`Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, qop=auth, nc=00000001, cnonce="c"`, u.user, domain, nonce, uri, response)
}

func (u *ua) exchange(m *sip) *sip {
	u.t.Helper()
	u.send(m)
	for {
		got := u.read(10 * time.Second)
		switch {
		case !got.isResponse():
			u.early = append(u.early, got)
		case got.get("CSeq") == m.get("CSeq") && got.get("Call-ID") == m.get("Call-ID") && got.code() >= 200:
			return got
		}
	}
}

func (u *ua) send(m *sip) {
	u.t.Helper()
	if _, err := u.conn.Write(m.bytes()); err != nil {
		u.t.Fatal(err)
	}
}

// await is the next request, answered 200. One that comes again is only answered again.
func (u *ua) await(method string, d time.Duration) *sip {
	u.t.Helper()
	for {
		var m *sip
		if len(u.early) > 0 {
			m, u.early = u.early[0], u.early[1:]
		} else {
			m = u.read(d)
		}
		ping := method != "OPTIONS" && strings.HasPrefix(m.start, "OPTIONS ") // comes when the server finds it due
		if !ping && !strings.HasPrefix(m.start, method+" ") {
			u.t.Fatalf("%s heard %q, want %s", u.user, m.start, method)
		}
		res := &sip{start: "SIP/2.0 200 OK"}
		for _, f := range m.fields {
			switch f[0] {
			case "Via", "From", "To", "Call-ID", "CSeq":
				res.fields = append(res.fields, f)
			}
		}
		u.send(res)
		if !ping && !u.seen[m.get("Via")] {
			u.seen[m.get("Via")] = true
			return m
		}
	}
}

// read reads one message.
func (u *ua) read(d time.Duration) *sip {
	u.t.Helper()
	_ = u.conn.SetReadDeadline(time.Now().Add(d))
	m, err := u.message()
	if err != nil {
		u.t.Fatalf("%s over %s: nothing came: %v", u.user, u.proto, err)
	}
	return m
}

// quiet holds for d that nothing comes.
func (u *ua) quiet(d time.Duration) {
	u.t.Helper()
	_ = u.conn.SetReadDeadline(time.Now().Add(d))
	if m, err := u.message(); !errors.Is(err, os.ErrDeadlineExceeded) {
		u.t.Fatalf("%s over %s heard %v, %v", u.user, u.proto, m, err)
	}
}

func (u *ua) message() (*sip, error) {
	in := u.in
	if u.proto == "udp" {
		b := make([]byte, 64<<10)
		n, err := u.conn.Read(b)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReader(bytes.NewReader(b[:n]))
	}
	m := &sip{}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" && m.start == "": // a pong
		case line == "":
			n, _ := strconv.Atoi(m.get("Content-Length"))
			body := make([]byte, n)
			_, err := io.ReadFull(in, body)
			m.body = string(body)
			return m, err
		case m.start == "":
			m.start = line
		default:
			name, value, _ := strings.Cut(line, ":")
			m.fields = append(m.fields, [2]string{name, strings.TrimSpace(value)})
		}
	}
}

func (m *sip) isResponse() bool { return strings.HasPrefix(m.start, "SIP/2.0 ") }

func (m *sip) code() int {
	n, _ := strconv.Atoi(strings.Fields(m.start)[1])
	return n
}

func (m *sip) get(name string) string {
	for _, f := range m.fields {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}

func (m *sip) set(name, value string) {
	for i, f := range m.fields {
		if strings.EqualFold(f[0], name) {
			m.fields[i][1] = value
			return
		}
	}
	m.fields = append(m.fields, [2]string{name, value})
}

func (m *sip) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\r\n", m.start)
	for _, f := range m.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.body), m.body)
	return b.Bytes()
}
