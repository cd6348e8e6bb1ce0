package proxy

import (
	"context"
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

// phone is a peer: a phone, or the server of another domain.
type phone struct {
	w     *world
	name  string
	user  string // of example.org, with credentials; "" for strangers
	addr  netip.AddrPort
	flow  *flow
	inbox []letter
	seq   int

	invited map[string]*wire.Request // by branch
}

type letter struct {
	text string
	flow wire.FlowID
}

// phone adds a peer.
func (w *world) phone(name, addr string, proto wire.Proto) *phone {
	p := &phone{w: w, name: name, addr: netip.MustParseAddrPort(addr), invited: map[string]*wire.Request{}}
	if proto == wire.UDP {
		p.flow = &flow{w: w, id: wire.FlowID{Proto: wire.UDP, Local: localFor(wire.UDP, p.addr), Remote: p.addr}}
	} else {
		p.flow = w.connect(proto, p.addr)
	}
	w.phones[p.addr] = p
	return p
}

// user adds a phone with an account and a binding.
func (w *world) user(name, addr string, proto wire.Proto, change ...func(*location.Binding)) *phone {
	p := w.phone(name, addr, proto)
	p.user = name
	w.users[name] = true
	w.bind(name, p, change...)
	return p
}

// bind registers the phone for an address-of-record; bindings stay sorted as location has them.
func (w *world) bind(name string, p *phone, change ...func(*location.Binding)) {
	b := location.Binding{Contact: uri(p.contact()), Q: 1000, Flow: p.flow.id, Updated: time.Now()}
	for _, fn := range change {
		fn(&b)
	}
	aor := wire.AOR{User: name, Host: "example.org"}
	w.bindings[aor] = append(w.bindings[aor], b)
	slices.SortStableFunc(w.bindings[aor], func(a, b location.Binding) int { return b.Q - a.Q })
}

func q(thousandths int) func(*location.Binding) {
	return func(b *location.Binding) { b.Q = thousandths }
}

func behindNAT(b *location.Binding) { b.Behind = true }

func contact(c string) func(*location.Binding) {
	return func(b *location.Binding) { b.Contact = uri(c) }
}

func uri(s string) wire.URI {
	u, err := wire.ParseURI(s)
	if err != nil {
		panic(err)
	}
	return u
}

func (p *phone) contact() string {
	c := "sip:" + p.name + "@" + p.addr.String()
	switch p.flow.id.Proto {
	case wire.TCP:
		c += ";transport=tcp"
	case wire.TLS:
		c += ";transport=tls"
	case wire.WS, wire.WSS:
		return "sip:" + p.name + "@df7jal23ls0d.invalid;transport=ws" // as pages write it
	}
	return c
}

// request writes a request of the phone; lines replace the header of their name, add one, or, as "Name:-", leave it out. A user's has credentials.
func (p *phone) request(method, uri string, lines ...string) string {
	p.seq++
	domain := "example.org"
	if p.user == "" {
		domain = "example.net"
	}
	list := []string{
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%s%d", p.flow.id.Proto, p.addr, p.name, p.seq),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:%s@%s>;tag=%s", p.name, domain, p.name),
		"To: <" + uri + ">",
		"Call-ID: call1@" + p.name,
		fmt.Sprintf("CSeq: %d %s", p.seq, method),
		"Contact: <" + p.contact() + ">",
	}
	if p.user != "" {
		list = append(list, p.credentials())
	}
	body := ""
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if name == "" { // ":body"
			body = value
			continue
		}
		i := slices.IndexFunc(list, func(h string) bool { return strings.HasPrefix(h, name+":") })
		switch {
		case value == "-":
			list = slices.Delete(list, i, i+1)
		case i >= 0 && name != "Route" && name != "Via" && !strings.HasSuffix(name, "Authorization"):
			list[i] = line
		case name == "Via":
			list = slices.Insert(list, i+1, line)
		default:
			list = append(list, line)
		}
	}
	list = append(list, fmt.Sprintf("Content-Length: %d", len(body)))
	return method + " " + uri + " SIP/2.0\r\n" + strings.Join(list, "\r\n") + "\r\n\r\n" + body
}

func (p *phone) credentials() string {
	return `Proxy-Authorization: Digest username="` + p.user + `", realm="example.org", nonce="n", response="r"`
}

// send gives text to the server, over the phone's flow.
func (p *phone) send(text string) *wire.Request {
	p.w.t.Helper()
	req := parse(p.w.t, text).(*wire.Request)
	if req.Method == "INVITE" {
		p.invited[req.Via.Branch] = req
	}
	p.w.layer.ReceiveRequest(p.flow, req)
	return req
}

func (p *phone) sends(method, uri string, lines ...string) *wire.Request {
	p.w.t.Helper()
	return p.send(p.request(method, uri, lines...))
}

// invites sends an INVITE and hears the 100.
func (p *phone) invites(uri string, lines ...string) *wire.Request {
	p.w.t.Helper()
	req := p.sends("INVITE", uri, lines...)
	p.hears("100")
	return req
}

// hears takes the next message, which must start like that: a method, or a status code.
func (p *phone) hears(start string) wire.Message {
	p.w.t.Helper()
	m, _ := p.hearsOn(start)
	return m
}

func (p *phone) hearsRequest(method string) *wire.Request {
	p.w.t.Helper()
	return p.hears(method).(*wire.Request)
}

func (p *phone) hearsResponse(code string) *wire.Response {
	p.w.t.Helper()
	return p.hears(code).(*wire.Response)
}

func (p *phone) hearsOn(start string) (wire.Message, wire.FlowID) {
	p.w.t.Helper()
	p.w.mu.Lock()
	if len(p.inbox) == 0 {
		p.w.mu.Unlock()
		p.w.t.Fatalf("%s hears nothing, want %s", p.name, start)
	}
	l := p.inbox[0]
	p.inbox = p.inbox[1:]
	p.w.mu.Unlock()
	if got := strings.TrimPrefix(startLine(l.text), "SIP/2.0 "); !strings.HasPrefix(got, start) {
		p.w.t.Fatalf("%s hears %q, want %s", p.name, startLine(l.text), start)
	}
	m := parse(p.w.t, l.text)
	if res, ok := m.(*wire.Response); ok && res.StatusCode >= 300 && res.CSeq.Method == "INVITE" {
		p.acknowledges(res)
	}
	return m, l.flow
}

// acknowledges sends the ACK to a 3xx-6xx. RFC 3261, 17.1.1.3
func (p *phone) acknowledges(res *wire.Response) {
	invite := p.invited[res.Via.Branch]
	if invite == nil {
		return
	}
	ack := invite.Clone()
	ack.Method = "ACK"
	wire.Set(ack, "CSeq", fmt.Sprintf("%d ACK", res.CSeq.Seq))
	wire.Set(ack, "To", res.To.Raw)
	p.w.layer.ReceiveRequest(p.flow, parse(p.w.t, ack.String()).(*wire.Request))
}

func (p *phone) hearsNothing() {
	p.w.t.Helper()
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, l := range p.inbox {
		p.w.t.Errorf("%s hears %q, want nothing", p.name, startLine(l.text))
	}
	p.inbox = nil
}

// answers responds to a request, with the phone's tag and, in what makes dialogs, its Contact and the recorded route (RFC 3261, 12.1.1).
func (p *phone) answers(req *wire.Request, code int, lines ...string) *wire.Response {
	p.w.t.Helper()
	res := wire.NewResponse(req, code, "", p.name)
	if code > 100 && code < 300 {
		for _, value := range headers(req, "Record-Route") {
			wire.Add(res, "Record-Route", value)
		}
		wire.Add(res, "Contact", "<"+p.contact()+">")
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		wire.Add(res, name, strings.TrimSpace(value))
	}
	p.responds(res)
	return res
}

func (p *phone) responds(res *wire.Response) {
	p.w.t.Helper()
	f := p.flow
	p.w.layer.ReceiveResponse(f, parse(p.w.t, string(wire.Append(nil, res))).(*wire.Response))
}

// dialog is what a phone knows of one.
type phoneDialog struct {
	p        *phone
	from, to string
	target   string
	routes   []string
	callID   string
	seq      uint32
}

// dialogOf makes the caller's dialog from its INVITE and the 2xx (RFC 3261, 12.1.2).
func (p *phone) dialogOf(req *wire.Request, res *wire.Response) *phoneDialog {
	d := &phoneDialog{p: p, from: res.From.Raw, to: res.To.Raw, callID: res.CallID, seq: req.CSeq.Seq}
	d.target = contactURI(p.w.t, res)
	d.routes = wire.List(res, "Record-Route")
	slices.Reverse(d.routes)
	return d
}

// dialogAsked makes the callee's dialog from the INVITE it got and the 2xx it sent (RFC 3261, 12.1.1).
func (p *phone) dialogAsked(req *wire.Request, res *wire.Response) *phoneDialog {
	return &phoneDialog{p: p, from: res.To.Raw, to: res.From.Raw, callID: res.CallID, target: contactURI(p.w.t, req), routes: wire.List(req, "Record-Route")}
}

func contactURI(t testing.TB, m wire.Message) string {
	a, err := wire.ParseAddress(wire.Get(m, "Contact"))
	if err != nil {
		t.Fatal(err)
	}
	return a.URI.Raw
}

// sends sends a request within the dialog, without credentials unless they are among lines.
func (d *phoneDialog) sends(method string, lines ...string) *wire.Request {
	d.p.w.t.Helper()
	return d.p.send(d.request(method, lines...))
}

func (d *phoneDialog) request(method string, lines ...string) string {
	if method != "ACK" {
		d.seq++
	}
	own := []string{"From:" + d.from, "To:" + d.to, "Call-ID:" + d.callID, fmt.Sprintf("CSeq: %d %s", d.seq, method)}
	for _, r := range d.routes {
		own = append(own, "Route: "+r)
	}
	if d.p.user != "" {
		own = append(own, "Proxy-Authorization:-")
	}
	return d.p.request(method, d.target, append(own, lines...)...)
}

// establish makes a call from one phone to a URI that the other answers, and returns both ends of the dialog.
func establish(from *phone, to string, callee *phone, lines ...string) (caller, called *phoneDialog) {
	from.w.t.Helper()
	req := from.invites(to, lines...)
	invite := callee.hearsRequest("INVITE")
	res := callee.answers(invite, 200)
	ok := from.hearsResponse("200")
	caller, called = from.dialogOf(req, ok), callee.dialogAsked(invite, res)
	caller.sends("ACK")
	callee.hears("ACK")
	return caller, called
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
