package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/internal/wire"
	"signalbox/location"
)

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
