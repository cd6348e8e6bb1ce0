package regevent

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"signalbox/internal/auth"
	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	alice    = wire.AOR{User: "alice", Host: "example.org"}
	bob      = wire.AOR{User: "bob", Host: "example.org"}
	listener = netip.MustParseAddrPort("192.0.2.100:5060")
)

// world is a notifier on the real transaction layer and location service, with phones that are strings, in virtual time. Whoever says so in From is believed.
type world struct {
	t        *testing.T
	layer    *transaction.Layer
	location *location.Service
	notifier *Notifier
	store    *memory
	users    map[wire.AOR]bool

	mu     sync.Mutex
	flows  map[wire.FlowID]*line
	happen []string
	branch int
}

// play runs a story in a bubble of virtual time.
func play(t *testing.T, story func(w *world), set ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memory{}, set...)
		defer w.close()
		story(w)
	})
}

func newWorld(t *testing.T, store *memory, set ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, store: store, users: map[wire.AOR]bool{alice: true, bob: true}, flows: make(map[wire.FlowID]*line)}
	var err error
	w.location, err = location.Open(nil, location.Config{Volatile: true, Changed: func(aor wire.AOR, before, after []location.Binding, why location.Reason) {
		w.notifier.Changed(aor, before, after, why)
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.layer = transaction.New(transaction.Config{Handler: w, Logger: slog.New(slog.DiscardHandler)})
	c := Config{
		Domains: wire.NewDomains([]string{"example.org"}, []string{"192.0.2.100"}), Users: w, Auth: w, Location: w.location, Network: w, Layer: w.layer, Store: store,
		Happened: func(h Happening) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.happen = append(w.happen, fmt.Sprint(h.Watcher.User, " ", h.AOR.User, " ", h.Began, " ", h.Reason))
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range set {
		f(&c)
	}
	if w.notifier, err = New(c); err != nil {
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

// ServeSIP makes the world the dispatcher.
func (w *world) ServeSIP(tx *transaction.Server) error {
	if !w.notifier.Serves(tx.Request) {
		return wire.Errorf(404, "Not Ours", "not for the notifier")
	}
	return w.notifier.ServeSIP(tx)
}

func (w *world) Exists(user, domain string) bool { return w.users[wire.AOR{User: user, Host: domain}] }

// Verify believes who has an Authorization.
func (w *world) Verify(req *wire.Request, _ auth.Scope, realm string, _ wire.FlowID) (auth.Identity, *wire.Error) {
	if user := wire.Get(req, "Authorization"); user != "" {
		return auth.Identity{User: user, Realm: realm, Info: "proof"}, nil
	}
	return auth.Identity{}, wire.Errorf(401, "", "who?")
}

// line is a flow to a phone.
type line struct {
	w      *world
	id     wire.FlowID
	dead   bool
	sent   []string
	closed []func(error)
}

func (l *line) ID() wire.FlowID        { return l.id }
func (l *line) SentBy() netip.AddrPort { return listener }
func (l *line) OnClose(fn func(error)) func() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.closed = append(l.closed, fn)
	return func() {}
}

func (l *line) Send(b []byte) error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.dead {
		return transport.ErrClosed
	}
	l.sent = append(l.sent, string(b))
	return nil
}

// hangUp breaks a connection.
func (l *line) hangUp() {
	l.w.mu.Lock()
	l.dead = true
	delete(l.w.flows, l.id)
	fns := l.closed
	l.w.mu.Unlock()
	for _, fn := range fns {
		fn(errors.New("gone"))
	}
}

// Find, Dial and IsLocal make the world a network.
func (w *world) Find(id wire.FlowID) (transport.Flow, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f, ok := w.flows[id]
	return f, ok
}

func (w *world) Dial(hop wire.Hop) (transport.Flow, error) {
	return w.line(hop.Proto, hop.Addr.String()), nil
}

func (w *world) IsLocal(host string, port int) bool {
	return host == "192.0.2.100" && (port == 0 || port == 5060)
}

func (w *world) line(p wire.Proto, remote string) *line {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := wire.FlowID{Proto: p, Local: listener, Remote: netip.MustParseAddrPort(remote)}
	if p.Reliable() {
		id.Serial = uint64(len(w.flows) + 1)
	}
	if f := w.flows[id]; f != nil {
		return f
	}
	f := &line{w: w, id: id}
	w.flows[id] = f
	return f
}

// request is a SUBSCRIBE of a phone; more are header lines, which stand before those of the same name.
func (w *world) request(user, uri, toTag string, more ...string) string {
	w.branch++
	lines := append([]string{"SUBSCRIBE " + uri + " SIP/2.0"}, more...)
	has := func(name string) bool {
		for _, m := range more {
			if strings.HasPrefix(m, name+":") {
				return true
			}
		}
		return false
	}
	add := func(name, value string) {
		if !has(name) {
			lines = append(lines, name+": "+value)
		}
	}
	to := "<sip:" + user + "@example.org>"
	if toTag != "" {
		to += ";tag=" + toTag
	}
	add("Via", fmt.Sprintf("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%d", w.branch))
	add("Max-Forwards", "70")
	add("From", "<sip:"+user+"@example.org>;tag=f")
	add("To", to)
	add("Call-ID", "call")
	add("CSeq", fmt.Sprintf("%d SUBSCRIBE", w.branch))
	add("Contact", "<sip:"+user+"@192.0.2.1>")
	add("Event", "reg")
	add("Authorization", user)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func (w *world) give(f *line, text string) {
	w.t.Helper()
	m, err := wire.Parse([]byte(text))
	if err != nil {
		w.t.Fatal(err, text)
	}
	switch m := m.(type) {
	case *wire.Request:
		w.layer.ReceiveRequest(f, m)
	case *wire.Response:
		w.layer.ReceiveResponse(f, m)
	}
	synctest.Wait()
}

// heard takes what was sent on a flow.
func (l *line) heard() []message {
	synctest.Wait()
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	var list []message
	for _, text := range l.sent {
		m, err := wire.Parse([]byte(text))
		if err != nil {
			l.w.t.Fatal(err, text)
		}
		list = append(list, message{l.w.t, m, len(text)})
	}
	l.sent = nil
	return list
}

type message struct {
	t testing.TB
	wire.Message
	size int
}

// start is "NOTIFY", or the code of a response.
func (m message) start() string {
	switch m := m.Message.(type) {
	case *wire.Request:
		return string(m.Method)
	case *wire.Response:
		return fmt.Sprint(m.StatusCode)
	}
	return ""
}

func (m message) get(name string) string { return wire.Get(m.Message, name) }

// starts of several messages, in one line.
func starts(list []message) string {
	var s []string
	for _, m := range list {
		s = append(s, m.start())
	}
	return strings.Join(s, " ")
}

// subscribe subscribes, answers the NOTIFY, and returns it with our tag.
func (w *world) subscribe(f *line, user, uri string, more ...string) (notify message, tag string) {
	w.t.Helper()
	w.give(f, w.request(user, uri, "", more...))
	list := f.heard()
	if starts(list) != "200 NOTIFY" {
		w.t.Fatalf("heard %s", starts(list))
	}
	w.answer(f, list[1], 200)
	return list[1], list[0].Message.(*wire.Response).To.Tag
}

// answer a NOTIFY.
func (w *world) answer(f *line, notify message, code int) {
	w.t.Helper()
	w.give(f, string(wire.Append(nil, wire.NewResponse(notify.Message.(*wire.Request), code, "", ""))))
}

// await waits for the next message, which must come within d and be a NOTIFY, and answers it.
func (w *world) await(f *line, d time.Duration) message {
	w.t.Helper()
	list := f.heard()
	for end := time.Now().Add(d); len(list) == 0 && time.Now().Before(end); list = f.heard() {
		time.Sleep(10 * time.Millisecond)
	}
	if starts(list) != "NOTIFY" {
		w.t.Fatalf("heard %q", starts(list))
	}
	w.answer(f, list[0], 200)
	return list[0]
}

// next is what it tells.
func (w *world) next(f *line, d time.Duration) reginfo {
	w.t.Helper()
	return w.await(f, d).reginfo()
}

// register changes the bindings of an address.
func (w *world) register(aor wire.AOR, why location.Reason, fn func(now []location.Binding) []location.Binding) {
	w.t.Helper()
	w.location.Change(aor, why, func(now []location.Binding) ([]location.Binding, error) {
		return fn(append([]location.Binding(nil), now...)), nil
	},
		func(_ []location.Binding, err error) {
			if err != nil {
				w.t.Error(err)
			}
		})
}

func binding(contact string, flow *line) location.Binding {
	u, err := wire.ParseURI(contact)
	if err != nil {
		panic(err)
	}
	now := time.Now()
	b := location.Binding{Contact: u, Q: 1000, CallID: "c1", CSeq: 1, Created: now, Updated: now, Expires: now.Add(time.Hour)}
	if flow != nil {
		b.Flow = flow.id
	}
	return b
}

// set makes these the bindings.
func set(list ...location.Binding) func([]location.Binding) []location.Binding {
	return func([]location.Binding) []location.Binding { return list }
}

// reginfo is a document as a subscriber reads it.
type reginfo struct {
	XMLName      xml.Name `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
	Version      int      `xml:"version,attr"`
	State        string   `xml:"state,attr"`
	Registration struct {
		AOR      string `xml:"aor,attr"`
		ID       string `xml:"id,attr"`
		State    string `xml:"state,attr"`
		Contacts []struct {
			ID         string `xml:"id,attr"`
			State      string `xml:"state,attr"`
			Event      string `xml:"event,attr"`
			Expires    string `xml:"expires,attr"`
			RetryAfter string `xml:"retry-after,attr"`
			Duration   string `xml:"duration-registered,attr"`
			Q          string `xml:"q,attr"`
			CallID     string `xml:"callid,attr"`
			CSeq       string `xml:"cseq,attr"`
			URI        string `xml:"uri"`
			Params     []struct {
				Name  string `xml:"name,attr"`
				Value string `xml:",chardata"`
			} `xml:"unknown-param"`
			PubGRUU struct {
				URI string `xml:"uri,attr"`
			} `xml:"urn:ietf:params:xml:ns:gruuinfo pub-gruu"`
			TempGRUU struct {
				URI       string `xml:"uri,attr"`
				FirstCSeq string `xml:"first-cseq,attr"`
			} `xml:"urn:ietf:params:xml:ns:gruuinfo temp-gruu"`
		} `xml:"contact"`
	} `xml:"registration"`
}

func (m message) reginfo() (r reginfo) {
	m.t.Helper()
	if err := xml.Unmarshal(m.Body(), &r); err != nil {
		m.t.Fatalf("%v\n%s", err, m.Body())
	}
	return r
}

// tells is the document in one line: version, state, registration, and the contacts with what happened to them.
func (r reginfo) tells() string {
	s := fmt.Sprint(r.Version, " ", r.State, " ", r.Registration.State)
	for _, c := range r.Registration.Contacts {
		s += fmt.Sprint(", ", c.URI, " ", c.State, " ", c.Event)
	}
	return s
}

// memory is a store whose disk can be slow, or fail.
type memory struct {
	mu   sync.Mutex
	all  map[string][]byte
	ends map[string]time.Time
	slow time.Duration
	err  error
}

func (m *memory) Save(id string, expires time.Time, data []byte, done func(error)) {
	save := func() {
		m.mu.Lock()
		if m.err == nil {
			if m.all == nil {
				m.all, m.ends = make(map[string][]byte), make(map[string]time.Time)
			}
			m.all[id], m.ends[id] = data, expires
		}
		err := m.err
		m.mu.Unlock()
		done(err)
	}
	if m.slow == 0 {
		save()
		return
	}
	time.AfterFunc(m.slow, save)
}

func (m *memory) Remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, id)
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}
