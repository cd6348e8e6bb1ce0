package proxy

import (
	"context"
	"log/slog"
	"net/netip"
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

// world is a proxy for example.org on the real transaction layer, in virtual time, with phones around it on a network in memory. It is the proxy's
// Users, Auth, Location, Resolver and Network.
type world struct {
	t        testing.TB
	begin    time.Time
	layer    *transaction.Layer
	proxy    *Proxy
	users    map[string]bool
	bindings map[wire.AOR][]location.Binding
	names    map[string][]wire.Hop // what the resolver knows
	failed   []wire.Hop
	aside    []func() // resolver answers that wait for w.answer()
	slow     bool     // the resolver waits

	mu     sync.Mutex
	phones map[netip.AddrPort]*phone
	conns  map[uint64]*flow
	serial uint64
	stray  []string // what was sent to nobody
	noTCP  bool
	ear    func(f *flow, b []byte) // benchmarks listen here
}

// The server's listeners.
var listeners = map[wire.Proto]netip.AddrPort{
	wire.UDP: netip.MustParseAddrPort("192.0.2.100:5060"),
	wire.TCP: netip.MustParseAddrPort("192.0.2.100:5060"),
	wire.TLS: netip.MustParseAddrPort("192.0.2.100:5061"),
	wire.WSS: netip.MustParseAddrPort("192.0.2.100:8443"),
}

var listener6 = netip.MustParseAddrPort("[2001:db8::100]:5060")

// play runs a story in a bubble of virtual time and checks that no transaction outlives it.
func play(t *testing.T, story func(w *world), set ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, set...)
		defer w.layer.Close()
		story(w)
		for _, p := range w.phones {
			p.hearsNothing()
		}
		if len(w.stray) > 0 {
			t.Errorf("sent to somebody who is not in the story: %q", w.stray)
		}
	})
}

func newWorld(t testing.TB, set ...func(*Config)) *world {
	w := &world{
		t: t, begin: time.Now(), users: map[string]bool{}, bindings: map[wire.AOR][]location.Binding{}, names: map[string][]wire.Hop{},
		phones: map[netip.AddrPort]*phone{}, conns: map[uint64]*flow{},
	}
	w.layer = transaction.New(transaction.Config{Handler: w, Logger: slog.New(panics{t})})
	c := Config{
		Domains: wire.NewDomains([]string{"example.org"}, nil), Users: w, Auth: w, Location: w, Resolver: w, Network: w, Layer: w.layer,
		Key: []byte(strings.Repeat("k", 32)),
	}
	var err error
	if c.GRUU, err = gruu.New(c.Key); err != nil {
		t.Fatal(err)
	}
	for _, fn := range set {
		fn(&c)
	}
	if w.proxy, err = New(c); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) ServeSIP(tx *transaction.Server) error { return w.proxy.ServeSIP(tx) }

func (w *world) Exists(user, domain string) bool { return w.users[user] && domain == "example.org" }

func (w *world) Lookup(aor wire.AOR) []location.Binding { return w.bindings[aor] }

// Verify believes any Proxy-Authorization for the realm, and challenges what has none.
func (w *world) Verify(req *wire.Request, scope auth.Scope, realm string, _ wire.FlowID) (auth.Identity, *wire.Error) {
	if scope != auth.Proxy {
		w.t.Error("asked for the registrar's scope")
	}
	for _, h := range req.Headers() {
		user, ok := strings.CutPrefix(h.Value(), `Digest username="`)
		user, rest, _ := strings.Cut(user, `"`)
		if ok && h.Name() == "Proxy-Authorization" && strings.HasPrefix(rest, `, realm="`+realm+`"`) {
			return auth.Identity{User: user, Realm: realm}, nil
		}
	}
	return auth.Identity{}, wire.Errorf(407, "", "no credentials").With("Proxy-Authenticate", `Digest realm="`+realm+`", nonce="n"`)
}

func (w *world) Resolve(u wire.URI, done func([]wire.Hop, error)) {
	answer := func() {
		if maddr, ok := u.Param("maddr"); ok {
			u.Host = strings.Trim(maddr, "[]")
		}
		if addr, ok := u.Addr(); ok {
			proto := u.Transport()
			port := u.Port
			if port == 0 {
				port = int(proto.Port())
			}
			done([]wire.Hop{{Proto: proto, Addr: netip.AddrPortFrom(addr, uint16(port))}}, nil)
			return
		}
		hops, ok := w.names[u.Host]
		if !ok {
			done(nil, wire.Errorf(502, "No Such Host", "resolve %s", u.Host))
			return
		}
		done(hops, nil)
	}
	if w.slow {
		w.aside = append(w.aside, answer)
		return
	}
	answer()
}

// answer lets the slow resolver speak.
func (w *world) answer() {
	for _, fn := range w.aside {
		fn()
	}
	w.aside = nil
}

func (w *world) Failed(h wire.Hop) { w.failed = append(w.failed, h) }

func (w *world) Find(id wire.FlowID) (transport.Flow, bool) {
	if id.Proto == wire.UDP {
		if id.Local != listeners[wire.UDP] && id.Local != listener6 {
			return nil, false
		}
		return &flow{w: w, id: id}, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f, ok := w.conns[id.Serial]
	return f, ok && f.id == id
}

func (w *world) Dial(hop wire.Hop) (transport.Flow, error) {
	if hop.Proto == wire.UDP {
		return &flow{w: w, id: wire.FlowID{Proto: wire.UDP, Local: localFor(wire.UDP, hop.Addr), Remote: hop.Addr}}, nil
	}
	f := w.connect(hop.Proto, hop.Addr)
	f.dead = w.noTCP
	return f, nil
}

func localFor(p wire.Proto, remote netip.AddrPort) netip.AddrPort {
	if remote.Addr().Is6() {
		return listener6
	}
	return listeners[p]
}

func (w *world) connect(p wire.Proto, remote netip.AddrPort) *flow {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	f := &flow{w: w, id: wire.FlowID{Proto: p, Local: localFor(p, remote), Remote: remote, Serial: w.serial}}
	w.conns[w.serial] = f
	return f
}

func (w *world) IsLocal(host string, port int) bool {
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	if a == listener6.Addr() {
		return port == 0 || port == 5060
	}
	return a == listeners[wire.UDP].Addr() && (port == 0 || port == 5060 || port == 5061 || port == 8443)
}

// panics is a log that lets no panic pass: the transaction layer would catch it.
type panics struct{ t testing.TB }

func (h panics) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (h panics) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h panics) WithGroup(string) slog.Handler                { return h }
func (h panics) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panic") {
		r.Attrs(func(a slog.Attr) bool { h.t.Error(a.String()); return true })
	}
	return nil
}

// at sleeps until that second of the story.
func (w *world) at(second float64) {
	time.Sleep(time.Duration(second*1000)*time.Millisecond - time.Since(w.begin))
	synctest.Wait()
}

// idle checks that no transaction is alive after all timers.
func (w *world) idle() {
	w.t.Helper()
	time.Sleep(64 * time.Second)
	synctest.Wait()
	if n := w.layer.Counts(); n.Servers != 0 || n.Clients != 0 {
		w.t.Errorf("%d server and %d client transactions are left", n.Servers, n.Clients)
	}
}

// flow carries messages to phones.
type flow struct {
	w      *world
	id     wire.FlowID
	dead   bool
	closed []func(error)
}

func (f *flow) ID() wire.FlowID { return f.id }

func (f *flow) SentBy() netip.AddrPort {
	if f.id.Remote.Addr().Is6() {
		return listener6
	}
	return listeners[f.id.Proto]
}

func (f *flow) Send(b []byte) error {
	if f.w.ear != nil {
		f.w.ear(f, b)
		return nil
	}
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.dead {
		return transport.ErrClosed
	}
	p := f.w.phones[f.id.Remote]
	if p == nil {
		f.w.stray = append(f.w.stray, f.id.Proto.String()+" "+f.id.Remote.String()+" "+startLine(string(b)))
		return nil
	}
	p.inbox = append(p.inbox, letter{string(b), f.id})
	return nil
}

func (f *flow) OnClose(fn func(error)) (stop func()) {
	i := len(f.closed)
	f.closed = append(f.closed, fn)
	return func() { f.closed[i] = nil }
}

func (f *flow) close() {
	f.w.mu.Lock()
	f.dead = true
	delete(f.w.conns, f.id.Serial)
	f.w.mu.Unlock()
	for _, fn := range f.closed {
		if fn != nil {
			fn(transport.ErrClosed)
		}
	}
}

func parse(t testing.TB, text string) wire.Message {
	t.Helper()
	m, err := wire.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m
}

func startLine(text string) string {
	line, _, _ := strings.Cut(text, "\r\n")
	return line
}

// headers returns the values of a header, field by field.
func headers(m wire.Message, name string) (values []string) {
	for _, h := range m.Headers() {
		if strings.EqualFold(h.Name(), name) {
			values = append(values, h.Value())
		}
	}
	return values
}

// bindingAt is a contact that only its URI leads to.
func bindingAt(contact string) location.Binding {
	return location.Binding{Contact: uri(contact), Q: 1000, Flow: wire.FlowID{Proto: wire.UDP, Local: listeners[wire.UDP], Remote: netip.MustParseAddrPort("192.0.2.20:5060")}}
}
