package messages

import (
	"errors"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"signalbox/internal/wire"
)

// submit sends what the page wrote as a MESSAGE. RFC 3428, 4
func (s *session) submit(frame []byte) {
	now := time.Now()
	s.spend(now)
	f, to, refused := readFrame(frame)
	var req *wire.Request
	if refused == nil {
		req, refused = s.message(f, to)
	}
	if refused == nil && len(s.pending) >= maxPending {
		refused = wire.Errorf(503, "Too Many At Once", "messages: %d are pending", maxPending)
	}
	if refused != nil {
		s.say(outcome{f.ID, refused.Code, reason(refused.Code, refused.Reason)})
		return
	}
	s.start(req, pending{id: f.ID})
}

// message is a request of the page's. Whatever the page wrote, it is read as a request from the network is.
func (s *session) message(f outgoing, to wire.URI) (*wire.Request, *wire.Error) {
	b := s.request("MESSAGE", to, "<"+to.Raw+">", wire.NewTag()+wire.NewTag(), 1)
	wire.Add(b, "Content-Type", "text/plain;charset=UTF-8")
	b.SetBody([]byte(f.Text))
	raw := wire.Append(nil, b)
	if len(raw) > maxRequest {
		return nil, wire.Errorf(413, "", "messages: MESSAGE of %d bytes", len(raw)) // RFC 3428, 8
	}
	return parse(raw)
}

func parse(raw []byte) (*wire.Request, *wire.Error) {
	msg, err := wire.Parse(raw)
	if err != nil {
		return nil, err
	}
	req, ok := msg.(*wire.Request)
	if !ok {
		return nil, wire.Errorf(400, "", "messages: no request")
	}
	return req, nil
}

// request is a request from the page, as a transport would give it up: with where it comes from in its Via. RFC 3261, 8.1.1 and 18.2.1
func (s *session) request(method string, to wire.URI, toValue, callID string, cseq uint32) *wire.Request {
	id := s.flow.id
	req := wire.NewRequest(method, to)
	wire.Add(req, "Via", "SIP/2.0/"+id.Proto.String()+" "+s.host+";branch="+wire.NewBranch()+
		";received="+id.Remote.Addr().Unmap().WithZone("").String()+";rport="+strconv.Itoa(int(id.Remote.Port())))
	wire.Add(req, "Max-Forwards", "70")
	wire.Add(req, "From", "<"+s.page.User.String()+">;tag="+wire.NewTag())
	wire.Add(req, "To", toValue)
	wire.Add(req, "Call-ID", callID)
	wire.Add(req, "CSeq", strconv.FormatUint(uint64(cseq), 10)+" "+method)
	wire.Add(req, "User-Agent", "data channel")
	return req
}

// start gives a request to the transaction layer.
func (s *session) start(req *wire.Request, p pending) {
	p.until = time.Now().Add(answerTime)
	s.pending[req.Via.Branch] = p
	s.g.receiver.ReceiveRequest(s.flow, req)
}

// sendRegister makes the page a phone of its user's, for MESSAGE only: calls are not offered to it (RFC 3840, 10; RFC 3841, 7.2.2).
func (s *session) sendRegister(d time.Duration) {
	domain, err := wire.ParseURI("sip:" + s.page.User.Host)
	if err != nil {
		return
	}
	s.cseq++
	req := s.request("REGISTER", domain, "<"+s.page.User.String()+">", s.callID, s.cseq)
	wire.Add(req, "Contact", "<"+s.contact()+`>;methods="MESSAGE"`)
	wire.Add(req, "Expires", strconv.Itoa(int(d/time.Second)))
	raw := wire.Append(nil, req)
	req, refused := parse(raw)
	if refused != nil {
		s.settle(pending{register: true}, refused.Code, refused.Reason)
		return
	}
	s.asked, s.register = true, time.Time{}
	s.start(req, pending{register: true})
}

// contact is the page's URI, by which nobody but the flow leads to it. RFC 7118, 5
func (s *session) contact() string { return "sip:page@" + s.host + ";transport=ws" }

// receive takes a message from the server's side.
func (s *session) receive(b []byte) {
	msg, _ := wire.Parse(b)
	switch msg := msg.(type) {
	case *wire.Request:
		s.serveRequest(msg)
	case *wire.Response:
		s.serveResponse(msg)
	}
}

// serveResponse finds what it answers.
func (s *session) serveResponse(res *wire.Response) {
	p, ok := s.pending[res.Via.Branch]
	if !ok || res.StatusCode < 200 {
		return
	}
	delete(s.pending, res.Via.Branch)
	switch {
	case p.register && res.StatusCode == 423: // RFC 3261, 10.2.8
		if least, err := strconv.Atoi(wire.Get(res, "Min-Expires")); err == nil && least > int(s.expires/time.Second) && least <= int(lifetime/time.Second) {
			s.expires = time.Duration(least) * time.Second
			s.sendRegister(s.expires)
			return
		}
	case p.register && res.StatusCode == 200:
		s.granted(res)
	}
	s.settle(p, res.StatusCode, res.Reason)
}

// settle tells the page what has become of a request. It hears of its registration once.
func (s *session) settle(p pending, code int, phrase string) {
	if !p.register {
		s.say(outcome{p.id, code, reason(code, phrase)})
		return
	}
	s.asked = false
	now := time.Now()
	switch {
	case code == 200 && !s.reached:
		s.reached = true
		s.say(welcome{s.page.User.String()})
	case code == 200:
	default:
		if code == 408 || code >= 500 && code < 600 {
			s.register = now.Add(later)
		}
		if s.reached || s.register.IsZero() {
			s.say(outcome{Status: code, Reason: reason(code, phrase)})
		}
		s.reached = false
	}
}

// granted reads for how long we are registered: at half of it we register again.
func (s *session) granted(res *wire.Response) {
	life := s.expires
	for _, value := range wire.List(res, "Contact") {
		a, err := wire.ParseAddress(value)
		if err != nil || a.URI.Host != s.host {
			continue
		}
		if text, ok := a.Param("expires"); ok {
			if n, err := strconv.Atoi(text); err == nil && n > 0 {
				life = min(life, time.Duration(n)*time.Second)
			}
		}
	}
	s.register = time.Now().Add(life / 2)
}

// serveRequest answers a request to the page. RFC 3261, 8.2
func (s *session) serveRequest(req *wire.Request) {
	switch req.Method {
	case "ACK": // to our refusal of an INVITE
		return
	case "INVITE": // the user is there, but for texts only: who calls hears that nobody answers now, and a phone's 486 is better news. RFC 3261, 21.4.18
		s.refuse(req, wire.Errorf(480, "Reads Messages Only", "messages: a call").With("Allow", "MESSAGE"))
	case "MESSAGE":
		if err := s.serveMessage(req); err != nil {
			s.refuse(req, err)
			return
		}
		s.respond(wire.NewResponse(req, 200, "", wire.NewTag()))
	default:
		s.refuse(req, wire.Errorf(405, "", "messages: %s", req.Method).With("Allow", "MESSAGE")) // RFC 3261, 8.2.1
	}
}

func (s *session) respond(res *wire.Response) { s.g.receiver.ReceiveResponse(s.flow, res) }

func (s *session) refuse(req *wire.Request, err *wire.Error) {
	res := wire.NewResponse(req, err.Code, err.Reason, wire.NewTag())
	for _, h := range err.Headers {
		res.AppendHeader(h)
	}
	s.respond(res)
}

// serveMessage hands a text to the page. RFC 3428, 7
func (s *session) serveMessage(req *wire.Request) *wire.Error {
	if required := strings.Join(wire.List(req, "Require"), ", "); required != "" {
		return wire.Errorf(420, "", "messages: Require: %s", required).With("Unsupported", required) // RFC 3261, 8.2.2.3
	}
	kind, err := textType(req)
	if err != nil {
		return err
	}
	switch {
	case len(req.Body()) > maxText:
		return wire.Errorf(413, "", "messages: text of %d bytes", len(req.Body()))
	case s.backlog():
		return wire.Errorf(480, "", "messages: the page does not read")
	}
	if !s.say(incoming{sender(req.From.URI), string(req.Body()), kind}) {
		return wire.Errorf(480, "", "messages: the page is gone")
	}
	return nil
}

// textType is the type of a text that a page can show, "" for plain text. RFC 3261, 8.2.3
func textType(req *wire.Request) (string, *wire.Error) {
	if coding := wire.Get(req, "Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return "", wire.Errorf(415, "", "messages: Content-Encoding %q", coding).With("Accept-Encoding", "identity")
	}
	value := wire.Get(req, "Content-Type")
	kind, params, err := mime.ParseMediaType(value)
	switch {
	case err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter), !strings.HasPrefix(kind, "text/"):
		return "", wire.Errorf(415, "", "messages: Content-Type %q", value).With("Accept", "text/plain, text/*")
	case !utf8.Valid(req.Body()) || !inUTF8(params["charset"]):
		return "", wire.Errorf(415, "", "messages: text in %q", params["charset"]).With("Accept", "text/plain;charset=UTF-8, text/*;charset=UTF-8")
	case kind == "text/plain":
		return "", nil
	}
	return kind, nil
}

func inUTF8(charset string) bool {
	return charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii")
}

// sender is the address that a message is from, without parameters.
func sender(u wire.URI) string {
	return strings.TrimSuffix(strings.TrimSuffix(u.Raw, u.Headers), u.Params)
}

// reason is the phrase of a response, the standard one if it has none.
func reason(code int, phrase string) string {
	if phrase != "" {
		return phrase
	}
	return wire.Phrase(code)
}
