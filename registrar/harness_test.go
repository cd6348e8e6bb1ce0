package registrar

import (
	"context"
	"crypto/md5"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"signalbox/internal/auth"
	"signalbox/internal/gruu"
	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a registrar for example.org and example.net on the real transaction layer, authentication and location service, in virtual time.
type world struct {
	t        testing.TB
	layer    *transaction.Layer
	location *location.Service
	reg      *Registrar
	branch   int
	changed  func(aor wire.AOR, before, after []location.Binding, why location.Reason)
	find     func(id wire.FlowID) (transport.Flow, bool)
	revoked  int // sessions
}

// The server listens here, and on localhost.
var listener = netip.MustParseAddrPort("192.0.2.7:5060")

func (w *world) IsLocal(host string, port int) bool {
	return (host == "192.0.2.7" || host == "127.0.0.1" || host == "0.0.0.0" || host == "localhost") && (port == 0 || port == 5060)
}

func (w *world) ServeSIP(tx *transaction.Server) error { return w.reg.ServeSIP(tx) }

// Find finds what find knows; nobody is kept in reach where that is nil.
func (w *world) Find(id wire.FlowID) (transport.Flow, bool) { return w.find(id) }

// HA1 knows alice, bob and carol; their passwords are their names. Carol is in the other domain.
func (w *world) HA1(name, realm string) (string, string, bool) {
	if name != "carol" && realm == "example.net" || !slices.Contains([]string{"alice", "bob", "carol"}, name) {
		return "", "", false
	}
	return digest(name + ":" + realm + ":" + name), "", true
}

func digest(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

// play runs a story in a bubble of virtual time.
func play(t *testing.T, story func(w *world), set ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, set...)
		defer w.close()
		story(w)
	})
}

func newWorld(t testing.TB, set ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t}
	verifier, err := auth.NewVerifier(auth.Config{Users: w, Key: make([]byte, 32), Accepts: func(s auth.Session) bool {
		return Accepts(w.location, s, func() { w.revoked++ })
	}})
	if err != nil {
		t.Fatal(err)
	}
	if w.location, err = location.Open(nil, location.Config{Volatile: true, Changed: func(aor wire.AOR, before, after []location.Binding, why location.Reason) {
		if w.changed != nil {
			w.changed(aor, before, after, why)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	gruus, err := gruu.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		GRUU:     gruus,
		Domains:  wire.NewDomains([]string{"example.org", "example.net"}, []string{"192.0.2.7"}),
		Auth:     verifier,
		Location: w.location,
		Local:    w,
		Tokens:   verifier,
	}
	for _, f := range set {
		f(&c)
	}
	w.layer = transaction.New(transaction.Config{Handler: w, Logger: slog.New(slog.DiscardHandler)})
	c.Timers, c.Layer = w.layer.NewOwner(), w.layer
	if w.reg, err = New(c); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) close() {
	w.layer.Close()
	if err := w.location.Close(context.Background()); err != nil {
		w.t.Error(err)
	}
}

// bindings are those of alice, as "contact q seconds", by preference.
func (w *world) bindings() []string {
	list := []string{}
	for _, b := range w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"}) {
		list = append(list, fmt.Sprintf("%s %d %d", b.Contact, b.Q, int(time.Until(b.Expires).Round(time.Second)/time.Second)))
	}
	return list
}

// line is a flow to a phone: it keeps what is sent.
type line struct {
	id     wire.FlowID
	mu     sync.Mutex
	sent   [][]byte // under mu, where timers send too
	closed []func(error)
}

func (l *line) ID() wire.FlowID        { return l.id }
func (l *line) SentBy() netip.AddrPort { return listener }

func (l *line) Send(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, b)
	return nil
}

func (l *line) last() []byte { return l.all()[len(l.all())-1] }

// all is what was sent so far.
func (l *line) all() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

func (l *line) OnClose(fn func(error)) (stop func()) {
	at := len(l.closed)
	l.closed = append(l.closed, fn)
	return func() { l.closed[at] = func(error) {} }
}

// close breaks the connection.
func (l *line) close() {
	for _, fn := range l.closed {
		fn(transport.ErrClosed)
	}
}

func (l *line) heard(t testing.TB) (codes []int) {
	for _, b := range l.sent {
		codes = append(codes, parse(t, string(b)).(*wire.Response).StatusCode)
	}
	return codes
}

var _ transport.Flow = (*line)(nil)

// phone registers.
type phone struct {
	w          *world
	line       *line
	user, pass string
	realm      string
	uri        string
	from, to   string
	callID     string
	cseq       int
}

func (w *world) phone(user, address string) *phone {
	at := "sip:" + user + "@example.org"
	return &phone{
		w: w, line: &line{id: wire.FlowID{Proto: wire.UDP, Local: listener, Remote: netip.MustParseAddrPort(address)}},
		user: user, pass: user, realm: "example.org", uri: "sip:example.org", from: at, to: at, callID: user + "@" + address,
	}
}

// connect gives the phone a new connection.
func (p *phone) connect(serial uint64, proto wire.Proto) *line {
	p.line = &line{id: wire.FlowID{Proto: proto, Local: listener, Remote: p.line.id.Remote, Serial: serial}}
	return p.line
}

// request is a REGISTER with the given header lines.
func (p *phone) request(lines ...string) *wire.Request {
	p.w.branch++
	text := fmt.Sprintf(`REGISTER %s SIP/2.0
Via: SIP/2.0/UDP %s;branch=z9hG4bK%d
Max-Forwards: 70
From: <%s>;tag=a
To: <%s>
Call-ID: %s
CSeq: %d REGISTER
`, p.uri, p.line.id.Remote, p.w.branch, p.from, p.to, p.callID, p.cseq)
	for _, l := range lines {
		text += l + "\n"
	}
	return parse(p.w.t, strings.ReplaceAll(text, "\n", "\r\n")+"Content-Length: 0\r\n\r\n").(*wire.Request)
}

func parse(t testing.TB, text string) wire.Message {
	t.Helper()
	m, err := wire.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return m
}

// send returns the response to one request.
func (p *phone) send(req *wire.Request) *wire.Response {
	p.w.t.Helper()
	n := len(p.line.all())
	p.w.layer.ReceiveRequest(p.line, req)
	if len(p.line.all()) != n+1 {
		p.w.t.Fatalf("%d answers to\n%s", len(p.line.all())-n, req)
	}
	return parse(p.w.t, string(p.line.all()[n])).(*wire.Response)
}

// register sends a REGISTER with the next CSeq, answers the challenge and returns the final response.
func (p *phone) register(lines ...string) *wire.Response {
	p.w.t.Helper()
	p.cseq++
	res := p.send(p.request(lines...))
	if res.StatusCode != 401 {
		return res
	}
	p.cseq++
	return p.send(p.request(append(lines, p.authorization(wire.Get(res, "WWW-Authenticate"), 1))...))
}

// authorization answers a challenge.
func (p *phone) authorization(challenge string, nc int) string {
	_, nonce, _ := strings.Cut(challenge, `nonce="`)
	nonce, _, _ = strings.Cut(nonce, `"`)
	response := digest(fmt.Sprintf("%s:%s:%08x:c:auth:%s", digest(p.user+":"+p.realm+":"+p.pass), nonce, nc, digest("REGISTER:"+p.uri)))
	return fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=MD5, qop=auth, nc=%08x, cnonce="c"`,
		p.user, p.realm, nonce, p.uri, response, nc)
}

// contacts are the Contact values of a response.
func contacts(res *wire.Response) []string {
	list := wire.List(res, "Contact")
	if list == nil {
		list = []string{}
	}
	return list
}
