package proxy

import (
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// FuzzStranger sends whatever a stranger might: nobody but the stranger hears anything, except, where strangers are let in, our users. hardening 26, 40
func FuzzStranger(f *testing.F) {
	w := newWorld(f)
	mallory := w.phone("mallory", "192.0.2.66:5060", wire.UDP)
	for _, text := range []string{
		mallory.request("INVITE", "sip:bob@example.org"),
		mallory.request("ACK", "sip:bob@example.org", "To: <sip:bob@example.org>;tag=x", "Route: <sip:AQAAAAAAAAAAAAAAAAAAAAAA@192.0.2.100;lr>"),
		mallory.request("OPTIONS", "sip:192.0.2.100;lr", "Route: <sip:192.0.2.100;lr>, <sip:127.0.0.1:22;transport=tcp>"),
		mallory.request("MESSAGE", "sip:bob@example.org;maddr=192.0.2.20;transport=tcp", "Max-Breadth: 1", "P-Asserted-Identity: <sip:a@example.org>"),
		mallory.request("BYE", "sip:bob@[2001:db8::1]:5060", "Route: <sips:example.org>", "Proxy-Authorization: Digest realm=\"example.net\"", "Via: SIP/2.0/TCP 192.0.2.100;branch=z9hG4bKx.0123456789abcdef"),
		mallory.request("SUBSCRIBE", "sip:%62ob@EXAMPLE.ORG", "Privacy: id", "Max-Forwards: 0", "Proxy-Require: a,b"),
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	w.layer.Close()
	f.Fuzz(func(t *testing.T, text string, letIn bool) {
		m, err := wire.Parse([]byte(text))
		req, ok := m.(*wire.Request)
		if err != nil || !ok {
			return
		}
		w := newWorld(t)
		defer w.layer.Close()
		if letIn {
			w.proxy.Inbound = Any
		}
		mallory := w.phone("mallory", "192.0.2.66:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		w.layer.ReceiveRequest(mallory.flow, req)
		if len(w.stray) > 0 {
			t.Errorf("sent to %q", w.stray)
		}
		credentials := strings.Contains(text, `Digest username="`) // which the test's Auth believes
		if len(bob.inbox) > 0 && !letIn && !credentials {
			t.Errorf("bob hears %q", bob.inbox[0].text)
		}
		for _, l := range bob.inbox {
			parse(t, l.text)
		}
		for _, l := range mallory.inbox {
			parse(t, l.text)
		}
	})
}

// FuzzCallee answers an INVITE with whatever it likes: only our own caller hears of it, and nobody but callee and caller hears anything. hardening 42, 48
func FuzzCallee(f *testing.F) {
	for _, text := range []string{
		"180 Ringing\r\n", "200 OK\r\nRecord-Route: <sip:192.0.2.66;lr>\r\n", "302 Moved\r\nContact: <sip:192.0.2.66>\r\n", "407 No\r\nProxy-Authenticate: x\r\n", "503 No\r\n", "699 No\r\nVia: SIP/2.0/UDP 192.0.2.66\r\n",
		"100 Trying\r\n", "487 Gone\r\n",
	} {
		f.Add(text, "")
		f.Add(text, "200 OK\r\n")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		w := newWorld(t)
		defer w.layer.Close()
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		alice.invites("sip:bob@example.org")
		invite := bob.hearsRequest("INVITE")
		template := wire.NewResponse(invite, 200, "", "bob").String()
		_, template, _ = strings.Cut(template, "\r\n")
		for _, text := range []string{first, second} {
			if m, err := wire.Parse([]byte("SIP/2.0 " + text + template)); err == nil {
				w.layer.ReceiveResponse(bob.flow, m.(*wire.Response))
			}
		}
		if len(w.stray) > 0 {
			t.Errorf("sent to %q", w.stray)
		}
		for _, l := range append(alice.inbox, bob.inbox...) {
			parse(t, l.text)
		}
	})
}
