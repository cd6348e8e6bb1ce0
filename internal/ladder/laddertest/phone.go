package laddertest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"signalbox/internal/ladder"
	"signalbox/internal/wire"
)

// phone plays the lines of one user agent. It fills in what every phone knows: dialogs, tags, sequence numbers, routes, credentials.
type phone struct {
	name     string
	user     string
	domain   string
	password string
	account  bool // the server knows user
	proto    wire.Proto
	addr     netip.AddrPort // as the server sees it
	host     string         // as the phone sees itself: sent-by and Contact
	rport    bool

	network  *Network
	flow     *flow
	calls    []*call           // the most recently used last
	sent     map[string]packet // by line, for [again]
	branches int
	started  int // calls of its own
	home     *challenge
}

// build makes the message of an entry, and says on which flow it goes.
func (p *phone) build(e *ladder.Entry) (*flow, []byte, error) {
	call, _ := e.Flag("call")
	key := e.Start + " " + call
	if _, again := e.Flag("again"); again {
		old, ok := p.sent[key]
		if !ok {
			return nil, nil, fmt.Errorf("%s has not sent %q before", p.name, e.Start)
		}
		return old.flow, old.bytes, nil
	}
	f, b := p.connect(), rawBytes(e.Body)
	if e.Start != "raw" {
		flow, m, err := p.message(e, call)
		if err != nil {
			return nil, nil, fmt.Errorf("%s cannot send %q: %w", p.name, e.Start, err)
		}
		f, b = flow, m.bytes()
	}
	p.sent[key] = packet{flow: f, bytes: b}
	return f, b, nil
}

// rawBytes is a message given line by line; without an empty line it has no body.
func rawBytes(lines []string) []byte {
	b := []byte(strings.Join(lines, "\r\n"))
	if !slices.Contains(lines, "") {
		b = append(b, "\r\n\r\n"...)
	}
	return b
}

func (p *phone) message(e *ladder.Entry, callID string) (*flow, *message, error) {
	_, forward := e.Flag("forward")
	code, err := strconv.Atoi(nth(e.Start, 0))
	switch {
	case err == nil && forward:
		return p.forwardResponse(e, callID, code)
	case err == nil:
		return p.response(e, callID, code)
	case forward:
		return p.forwardRequest(e, callID)
	}
	return p.request(e, callID)
}

// connect returns the phone's flow to the server, opened if need be.
func (p *phone) connect() *flow {
	if p.flow == nil || p.flow.dead != nil {
		p.flow = p.network.open(p.proto, p.addr)
	}
	return p.flow
}

func (p *phone) via() string {
	p.branches++
	via := fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bK-%s-%d", p.transport(), p.host, p.name, p.branches)
	if p.rport {
		via += ";rport"
	}
	return via
}

func (p *phone) transport() string {
	switch p.proto {
	case wire.TCP:
		return "TCP"
	case wire.TLS:
		return "TLS"
	}
	return "UDP"
}

func (p *phone) aor() string { return "sip:" + p.user + "@" + p.domain }

func (p *phone) contact() string {
	uri := "sip:" + p.user + "@" + p.host
	if p.proto != wire.UDP {
		uri += ";transport=" + strings.ToLower(p.transport())
	}
	return "<" + uri + ">"
}

// request builds a request of the phone's own (RFC 3261, 8.1.1), in or outside a dialog (12.2.1.1).
func (p *phone) request(e *ladder.Entry, callID string) (*flow, *message, error) {
	method, uri := nth(e.Start, 0), nth(e.Start, 1)
	c, err := p.callFor(method, uri, callID)
	if err != nil {
		return nil, nil, err
	}
	var m *message
	switch tag, _ := e.Flag("to"); {
	case method == "CANCEL":
		m = c.cancel(uri)
	case method == "ACK" && c.failed():
		m = c.ackFailure(uri)
	case method == "ACK" || uri == "" && method != "REGISTER" || inDialog(method) && len(c.dialogs) > 0:
		_, strict := e.Flag("strict")
		if m, err = p.dialogRequest(c, method, uri, tag, strict); err != nil {
			return nil, nil, err
		}
	default:
		m = p.initialRequest(c, method, uri)
	}
	p.authorize(e, c, m)
	finish(m, e)
	if method != "ACK" && method != "CANCEL" {
		c.sent[method] = m
		delete(c.answers, method)
	}
	return p.connect(), m, nil
}

func (p *phone) initialRequest(c *call, method, uri string) *message {
	if uri == "" {
		uri = "sip:" + p.domain // REGISTER
	}
	to := "<" + uri + ">"
	if method == "REGISTER" {
		to = "<" + p.aor() + ">"
	}
	c.cseq++
	m := &message{start: method + " " + uri + " SIP/2.0"}
	m.add("Via", p.via())
	m.add("Max-Forwards", "70")
	m.add("From", "<"+p.aor()+">;tag="+p.name)
	m.add("To", to)
	m.add("Call-ID", c.id)
	m.add("CSeq", fmt.Sprintf("%d %s", c.cseq, method))
	if method == "INVITE" || method == "REGISTER" || method == "SUBSCRIBE" || method == "REFER" {
		m.add("Contact", p.contact())
	}
	return m
}

// dialogRequest addresses a request inside a dialog (RFC 3261, 12.2.1.1). A strict phone of RFC 2543 sends to the first route whatever it says.
func (p *phone) dialogRequest(c *call, method, uri, tag string, strict bool) (*message, error) {
	d, err := c.dialog(tag)
	if err != nil {
		return nil, err
	}
	if uri == "" {
		uri = d.target
	}
	route := d.route
	for len(route) > 0 && strings.HasPrefix(addrURI(route[0])+";", "sip:"+p.host+";") {
		route = route[1:] // this phone stands for a proxy and its phone
	}
	if len(route) > 0 && (strict || !isLoose(route[0])) {
		first := addrURI(route[0])
		route, uri = append(append([]string(nil), route[1:]...), "<"+uri+">"), first
	}
	cseq := c.cseq
	if method == "ACK" {
		cseq = c.inviteSeq()
	} else {
		c.cseq++
		cseq++
	}
	m := &message{start: method + " " + uri + " SIP/2.0"}
	m.add("Via", p.via())
	m.add("Max-Forwards", "70")
	m.add("From", d.local)
	m.add("To", d.remote)
	m.add("Call-ID", c.id)
	m.add("CSeq", fmt.Sprintf("%d %s", cseq, method))
	m.addAll("Route", route)
	if method == "INVITE" || method == "UPDATE" {
		m.add("Contact", p.contact())
	}
	if invite := c.sent["INVITE"]; method == "ACK" && invite != nil {
		// RFC 3261, 22.1: the ACK carries the credentials of its INVITE, it cannot be challenged.
		m.addAll("Proxy-Authorization", invite.lines("Proxy-Authorization"))
	}
	return m, nil
}

// response answers the last request of the method that came (RFC 3261, 8.2.6).
func (p *phone) response(e *ladder.Entry, callID string, code int) (*flow, *message, error) {
	method, status := splitStatus(e.Start)
	c := p.lastCall(callID, func(c *call) bool { return c.got[method].m != nil })
	if c == nil {
		return nil, nil, fmt.Errorf("no %s has come", method)
	}
	req := c.got[method]
	m := &message{start: "SIP/2.0 " + status}
	m.addAll("Via", req.m.lines("Via"))
	m.addAll("Record-Route", req.m.lines("Record-Route"))
	m.add("From", req.m.get("From"))
	to := req.m.get("To")
	if code > 100 && addrTag(to) == "" {
		to += ";tag=" + p.name
	}
	m.add("To", to)
	m.add("Call-ID", c.id)
	m.add("CSeq", req.m.get("CSeq"))
	if makesDialog(method) && code > 100 && code < 300 {
		m.add("Contact", p.contact())
	}
	finish(m, e)
	if makesDialog(method) && code > 100 && code < 300 {
		c.answered(req.m, m)
	}
	return req.flow, m, nil
}

// splitStatus takes "200 OK (BYE)" apart.
func splitStatus(start string) (method, status string) {
	if i := strings.LastIndex(start, " ("); i >= 0 && strings.HasSuffix(start, ")") {
		return start[i+2 : len(start)-1], start[:i]
	}
	return "INVITE", start
}

// forwardRequest sends on what came, as a proxy does that only adds its Via (RFC 3261, 16.6).
func (p *phone) forwardRequest(e *ladder.Entry, callID string) (*flow, *message, error) {
	method, uri := nth(e.Start, 0), nth(e.Start, 1)
	c := p.lastCall(callID, func(c *call) bool { return c.got[method].m != nil })
	if c == nil {
		return nil, nil, fmt.Errorf("no %s has come", method)
	}
	m := c.got[method].m.clone()
	if uri != "" {
		m.start = method + " " + uri + " SIP/2.0"
	}
	m.setAll("Via", append([]string{p.via()}, m.list("Via")...))
	hops, _ := strconv.Atoi(m.get("Max-Forwards"))
	m.set("Max-Forwards", strconv.Itoa(hops-1))
	finish(m, e)
	return p.connect(), m, nil
}

func (p *phone) forwardResponse(e *ladder.Entry, callID string, code int) (*flow, *message, error) {
	method, _ := splitStatus(e.Start)
	c := p.lastCall(callID, func(c *call) bool { return c.answers[method] != nil && c.answers[method].code() == code })
	if c == nil || c.got[method].m == nil {
		return nil, nil, fmt.Errorf("no such response to a %s has come", method)
	}
	m := c.answers[method].clone()
	m.setAll("Via", m.list("Via")[1:])
	finish(m, e)
	// It goes where the request came from that this phone forwarded: below its own Via stands the server's branch.
	return c.got[method].flow, m, nil
}

// authorize adds credentials: for what has just been challenged; else, as phones do that know a nonce, for what opens a dialog or stands alone.
func (p *phone) authorize(e *ladder.Entry, c *call, m *message) {
	method := m.method()
	if _, no := e.Flag("noauth"); no || method == "ACK" || method == "CANCEL" {
		return
	}
	list := c.pending
	c.pending = nil
	home := func(ch *challenge) bool { return ch.realm == p.domain }
	if p.home != nil && addrTag(m.get("To")) == "" && !slices.ContainsFunc(list, home) {
		p.home.header = "Proxy-Authorization"
		if method == "REGISTER" {
			p.home.header = "Authorization"
		}
		list = append(list, p.home)
	}
	password := p.password
	if other, ok := e.Flag("password"); ok {
		password = other
	}
	for _, ch := range list {
		m.add(ch.header, ch.answer(p.user, password, method, m.uri()))
	}
}

// finish applies the entry's own headers and body.
func finish(m *message, e *ladder.Entry) {
	done := make(map[string]bool)
	for _, f := range e.Fields {
		key := strings.ToLower(f.Name)
		switch name, top := strings.CutPrefix(f.Name, "+"); {
		case top:
			m.setAll(name, append([]string{f.Value}, m.lines(name)...))
		case f.Absent:
			m.del(f.Name)
		case done[key]:
			m.add(f.Name, f.Value)
		default:
			m.set(f.Name, f.Value)
		}
		done[key] = true
	}
	if len(e.Body) > 0 {
		m.body = []byte(strings.Join(e.Body, "\r\n"))
		kind := "text/plain"
		if e.Body[0] == "v=0" {
			kind, m.body = "application/sdp", append(m.body, "\r\n"...)
		}
		if !done["content-type"] {
			m.set("Content-Type", kind)
		}
	}
	if size, ok := e.Flag("body"); ok {
		n, _ := strconv.Atoi(size)
		m.body = []byte(strings.Repeat("x", n))
		m.set("Content-Type", "text/plain")
	}
	if !done["content-length"] {
		m.del("Content-Length")
		m.add("Content-Length", strconv.Itoa(len(m.body)))
	}
}
