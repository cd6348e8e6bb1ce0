package laddertest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// call is what a phone remembers of one Call-ID.
type call struct {
	id      string
	own     bool // this phone began it
	cseq    int
	sent    map[string]*message // the last request of each method
	got     map[string]arrival  // the last request of each method that came
	answers map[string]*message // the last response to what was sent
	dialogs []*dialog           // one for each tag of the other side; the most recently used last
	pending []*challenge        // not answered yet
}

type arrival struct {
	m    *message
	flow *flow
}

// dialog is RFC 3261, 12: local and remote are whole From and To values.
type dialog struct {
	local, remote string
	target        string
	route         []string
}

func makesDialog(method string) bool { return method == "INVITE" || method == "SUBSCRIBE" }

// inDialog names the methods that make no sense outside one.
func inDialog(method string) bool {
	return slices.Contains([]string{"ACK", "BYE", "CANCEL", "INFO", "PRACK", "UPDATE"}, method)
}

// callFor finds the call that a request belongs to, or begins one.
func (p *phone) callFor(method, uri, id string) (*call, error) {
	var c *call
	switch {
	case id != "":
		c = p.lastCall(id, func(*call) bool { return true })
	case method == "REGISTER":
		id = "register-" + p.name
		c = p.lastCall(id, func(*call) bool { return true })
	case method == "ACK" || method == "CANCEL":
		c = p.lastCall("", func(c *call) bool { return c.sent["INVITE"] != nil })
	case uri == "" || inDialog(method):
		c = p.lastCall("", func(c *call) bool { return len(c.dialogs) > 0 })
	default:
		// A challenged request is sent again in its call (RFC 3261, 22.2).
		c = p.lastCall("", func(c *call) bool { return c.own && c.sent[method] != nil && len(c.pending) > 0 })
	}
	switch {
	case c == nil && (method == "ACK" || method == "CANCEL" || uri == "" && method != "REGISTER"):
		return nil, errors.New("there is no such call")
	case (method == "ACK" || method == "CANCEL") && c.sent["INVITE"] == nil:
		return nil, errors.New("this call has no INVITE of ours")
	case c == nil:
		if id == "" {
			p.started++
			id = strconv.Itoa(p.started) + "-" + p.name
		}
		c = p.newCall(id)
		c.own = true
	}
	p.touch(c)
	return c, nil
}

func (p *phone) newCall(id string) *call {
	return &call{id: id, sent: make(map[string]*message), got: make(map[string]arrival), answers: make(map[string]*message)}
}

// touch makes c the most recently used call.
func (p *phone) touch(c *call) {
	p.calls = append(slices.DeleteFunc(p.calls, func(x *call) bool { return x == c }), c)
}

// lastCall is the most recently used call of that Call-ID ("": any) for which ok holds.
func (p *phone) lastCall(id string, ok func(*call) bool) *call {
	for _, c := range slices.Backward(p.calls) {
		if (id == "" || c.id == id) && ok(c) {
			return c
		}
	}
	return nil
}

// receive takes what the server sent.
func (p *phone) receive(f *flow, b []byte) {
	m := readMessage(b)
	c := p.lastCall(m.get("Call-ID"), func(*call) bool { return true })
	if c == nil {
		c = p.newCall(m.get("Call-ID"))
	}
	p.touch(c)
	method := m.method()
	if !m.isResponse() {
		c.got[method] = arrival{m, f}
		if contact := m.get("Contact"); contact != "" && len(c.dialogs) > 0 && addrTag(m.get("To")) != "" {
			c.dialogs[len(c.dialogs)-1].target = addrURI(contact) // RFC 3261, 12.2.2: target refresh
		}
		return
	}
	c.answers[method] = m
	switch code := m.code(); {
	case code == 401 || code == 407:
		c.pending = readChallenges(m)
		for _, ch := range c.pending {
			if ch.realm == p.domain && p.account {
				p.home = ch
			}
		}
	case code > 100 && code < 300 && makesDialog(method) && addrTag(m.get("To")) != "":
		route := m.list("Record-Route")
		slices.Reverse(route)
		c.keep(&dialog{local: m.get("From"), remote: m.get("To"), target: addrURI(m.get("Contact")), route: route})
	}
	if next := digestParams(m.get("Authentication-Info"))["nextnonce"]; next != "" && p.home != nil && next != p.home.nonce {
		p.home.nonce, p.home.count = next, 0
	}
}

// answered remembers the dialog that a response of ours made (RFC 3261, 12.1.1).
func (c *call) answered(req, res *message) {
	c.keep(&dialog{local: res.get("To"), remote: res.get("From"), target: addrURI(req.get("Contact")), route: res.list("Record-Route")})
}

// keep adds the dialog, or brings the known one with these tags up to date.
func (c *call) keep(d *dialog) {
	c.dialogs = append(slices.DeleteFunc(c.dialogs, func(x *dialog) bool {
		return addrTag(x.remote) == addrTag(d.remote) && addrTag(x.local) == addrTag(d.local)
	}), d)
}

func (c *call) dialog(tag string) (*dialog, error) {
	for _, d := range slices.Backward(c.dialogs) {
		if tag == "" || addrTag(d.remote) == tag {
			return d, nil
		}
	}
	return nil, fmt.Errorf("no dialog with tag %q", tag)
}

// failed tells whether our INVITE was answered by a 3xx to 6xx.
func (c *call) failed() bool {
	res := c.answers["INVITE"]
	return res != nil && res.code() >= 300
}

func (c *call) inviteSeq() int {
	if invite := c.sent["INVITE"]; invite != nil {
		n, _ := strconv.Atoi(nth(invite.get("CSeq"), 0))
		return n
	}
	return c.cseq
}

// ackFailure is the ACK of RFC 3261, 17.1.1.3: part of the INVITE's transaction.
func (c *call) ackFailure(uri string) *message {
	m := c.hop("ACK", uri)
	m.set("To", c.answers["INVITE"].get("To"))
	return m
}

// cancel is RFC 3261, 9.1.
func (c *call) cancel(uri string) *message { return c.hop("CANCEL", uri) }

// hop is a request with the INVITE's branch.
func (c *call) hop(method, uri string) *message {
	invite := c.sent["INVITE"]
	if uri == "" {
		uri = invite.uri()
	}
	m := &message{start: method + " " + uri + " SIP/2.0"}
	m.add("Via", invite.get("Via"))
	m.add("Max-Forwards", "70")
	m.add("From", invite.get("From"))
	m.add("To", invite.get("To"))
	m.add("Call-ID", c.id)
	m.add("CSeq", strings.Fields(invite.get("CSeq"))[0]+" "+method)
	m.addAll("Route", invite.lines("Route"))
	return m
}
