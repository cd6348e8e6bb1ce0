package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// phone is an independent SIP implementation, sipgo's, with one account.
type phone struct {
	t                    *testing.T
	user, domain, secret string
	transport            string // udp, tcp, tls
	server               string // ip:port
	host                 string
	port                 int
	client               *sipgo.Client
	dialogs              *sipgo.DialogClientCache
	answers              *sipgo.DialogServerCache

	texts   chan string                     // bodies of MESSAGEs that came
	ringing chan *sipgo.DialogServerSession // calls that came and ring
	hungUp  chan string                     // Call-IDs of BYEs that came
}

func newPhone(t *testing.T, user, transport, server string, secure *tls.Config) *phone {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(sipgo.WithUserAgent(user), sipgo.WithUserAgenTLSConfig(secure), sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ua.Close() })
	p := &phone{
		t: t, user: user, domain: "example.org", secret: user + "-secret", transport: transport, server: server, host: "127.0.0.1",
		texts: make(chan string, 16), ringing: make(chan *sipgo.DialogServerSession, 16), hungUp: make(chan string, 16),
	}
	srv, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	options := []sipgo.ClientOption{sipgo.WithClientHostname(p.host), sipgo.WithClientNAT()}
	if transport == "udp" {
		conn, err := net.ListenPacket("udp", p.host+":0")
		if err != nil {
			t.Fatal(err)
		}
		p.port = conn.LocalAddr().(*net.UDPAddr).Port
		go srv.ServeUDP(conn)
		// The client may only begin when the server has the socket: it would open the port a second time.
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			if _, err := srv.TransportLayer().GetConnection("udp", conn.LocalAddr().String()); err == nil {
				break
			} else if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		options = append(options, sipgo.WithClientPort(p.port), sipgo.WithClientConnectionAddr(conn.LocalAddr().String()))
	}
	if p.client, err = sipgo.NewClient(ua, options...); err != nil {
		t.Fatal(err)
	}
	contact := sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: user, Host: p.host, Port: p.port, UriParams: sip.NewParams()}}
	if transport != "udp" {
		contact.Address.UriParams.Add("transport", transport)
	}
	p.dialogs = sipgo.NewDialogClientCache(p.client, contact)
	p.answers = sipgo.NewDialogServerCache(p.client, contact)
	p.serve(srv)
	return p
}

// serve makes the phone ring, accept messages and hang up.
func (p *phone) serve(srv *sipgo.Server) {
	srv.OnMessage(func(req *sip.Request, tx sip.ServerTransaction) {
		p.texts <- string(req.Body())
		tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
	})
	srv.OnInvite(func(req *sip.Request, tx sip.ServerTransaction) {
		d, err := p.answers.ReadInvite(req, tx)
		if err != nil {
			p.t.Errorf("%s: INVITE: %v", p.user, err)
			return
		}
		if err := d.Respond(180, "Ringing", nil); err != nil {
			p.t.Errorf("%s: 180: %v", p.user, err)
		}
		p.ringing <- d
		<-d.Context().Done()
	})
	srv.OnAck(func(req *sip.Request, tx sip.ServerTransaction) { p.answers.ReadAck(req, tx) })
	srv.OnBye(func(req *sip.Request, tx sip.ServerTransaction) {
		if p.answers.ReadBye(req, tx) == nil || p.dialogs.ReadBye(req, tx) == nil {
			p.hungUp <- req.CallID().Value()
		}
	})
}

// request builds an out-of-dialog request to a URI, sent by way of the server.
func (p *phone) request(method sip.RequestMethod, to string) *sip.Request {
	p.t.Helper()
	var uri sip.Uri
	if err := sip.ParseUri(to, &uri); err != nil {
		p.t.Fatal(err)
	}
	req := sip.NewRequest(method, uri)
	req.SetDestination(p.server)
	req.SetTransport(strings.ToUpper(p.transport))
	from := sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: p.user, Host: p.domain}, Params: sip.NewParams()}
	from.Params.Add("tag", sip.GenerateTagN(16))
	req.AppendHeader(&from)
	return req
}

// do sends a request, answers the challenge, and returns the final response.
func (p *phone) do(req *sip.Request) *sip.Response {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	res, err := p.client.Do(ctx, req)
	if err == nil && (res.StatusCode == 401 || res.StatusCode == 407) {
		res, err = p.client.DoDigestAuth(ctx, req, res, sipgo.DigestAuth{Username: p.user, Password: p.secret})
	}
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.user, req.Method, err)
	}
	return res
}

// register registers the phone and checks that it is in the answer.
func (p *phone) register() {
	p.t.Helper()
	req := p.request(sip.REGISTER, "sip:"+p.domain)
	req.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: p.user, Host: p.domain}})
	contact := fmt.Sprintf("<sip:%s@%s:%d;transport=%s>", p.user, p.host, p.contactPort(), p.transport)
	req.AppendHeader(sip.NewHeader("Contact", contact))
	req.AppendHeader(sip.NewHeader("Expires", "600"))
	res := p.do(req)
	if res.StatusCode != 200 || res.GetHeader("Contact") == nil {
		p.t.Fatalf("%s: REGISTER:\n%s", p.user, res)
	}
}

// contactPort of a phone that only connects is one nobody listens on: it is reached over its connection.
func (p *phone) contactPort() int {
	if p.port != 0 {
		return p.port
	}
	return 5060
}

// text sends a MESSAGE.
func (p *phone) text(to, body string) *sip.Response {
	p.t.Helper()
	req := p.request(sip.MESSAGE, to)
	req.AppendHeader(sip.NewHeader("Content-Type", "text/plain"))
	req.SetBody([]byte(body))
	return p.do(req)
}

// call sends an INVITE and returns at once; answered brings the outcome.
func (p *phone) call(ctx context.Context, to string) (d *sipgo.DialogClientSession, answered <-chan error) {
	p.t.Helper()
	req := p.request(sip.INVITE, to)
	d, err := p.dialogs.WriteInvite(ctx, req)
	if err != nil {
		p.t.Fatalf("%s: INVITE: %v", p.user, err)
	}
	done := make(chan error, 1)
	go func() {
		// sipgo v1.7.2 looks into a response that it has not got when it is closed while it cancels, at the end of a test.
		defer func() {
			if v := recover(); v != nil {
				done <- fmt.Errorf("sipgo: %v", v)
			}
		}()
		done <- d.WaitAnswer(ctx, sipgo.AnswerOptions{Username: p.user, Password: p.secret})
	}()
	return d, done
}

// answer picks up. It returns at once; confirmed brings the outcome when the ACK has come.
func answer(d *sipgo.DialogServerSession) (confirmed <-chan error) {
	done := make(chan error, 1)
	go func() { done <- d.Respond(200, "OK", nil) }()
	return done
}

// patience is how long a test waits for what must happen: long enough for a busy machine, and never waited for in vain.
const patience = time.Minute

func want[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s does not come", what)
		panic("unreachable")
	}
}

func statusLine(res *sip.Response) string {
	return strconv.Itoa(res.StatusCode) + " " + res.Reason
}
