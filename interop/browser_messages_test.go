package interop

import (
	"fmt"
	"testing"
	"time"
)

// chat is all that a page needs to chat with phones: fetch and a data channel.
const chat = `class Chat {
	frames = []; waiting = [];
	async open(url, user, password) {
		this.pc = new RTCPeerConnection(this.config);
		this.channel = this.pc.createDataChannel("sip-message", {protocol: "sip-message"});
		this.channel.onmessage = e => { const take = this.waiting.shift(); take ? take(JSON.parse(e.data)) : this.frames.push(JSON.parse(e.data)); };
		this.closed = new Promise(done => this.channel.onclose = done);
		await this.pc.setLocalDescription(await this.pc.createOffer());
		const answer = await fetch(url, {method: "POST", body: this.pc.localDescription.sdp,
			headers: {"Content-Type": "application/sdp", Authorization: "Basic " + btoa(user + ":" + password)}});
		if (answer.ok) await this.pc.setRemoteDescription({type: "answer", sdp: await answer.text()});
		return answer.status;
	}
	send(to, text, id) { this.channel.send(JSON.stringify({to, text, id})); }
	next() { return this.frames.length ? this.frames.shift() : new Promise(take => this.waiting.push(take)); }
}`

// chatPage is a page of another origin that has no SIP stack in use.
func chatPage(t *testing.T, s *server, user string) *page {
	t.Helper()
	p := newPage(t, s, jssip, user, "wss", 440)
	p.eval(nil, "window.chat = new ("+chat+")")
	return p
}

func (p *page) openChat(s *server, password string) (status int) {
	p.t.Helper()
	p.eval(&status, fmt.Sprintf("chat.open(%q, %q, %q)", "https://"+s.https+"/messages", p.user, password))
	return status
}

// chatFrame is what the channel brings.
type chatFrame struct {
	User, From, Text, ID, Reason string
	Status                       int
}

func (p *page) nextFrame() (f chatFrame) {
	p.t.Helper()
	p.eval(&f, "chat.next()")
	return f
}

// tell sends a text.
func (u *ua) tell(to, text string) *sip {
	u.t.Helper()
	uri := "sip:" + to + "@" + domain
	fields := []string{"To: <" + uri + ">", "Content-Type: text/plain"}
	m := u.request("MESSAGE", uri, fields...)
	m.body = text
	res := u.exchange(m)
	if res.code() != 407 {
		return res
	}
	m = u.request("MESSAGE", uri, append(fields, "Proxy-Authorization: "+u.answer(res.get("Proxy-Authenticate"), "MESSAGE", uri))...)
	m.body = text
	return u.exchange(m)
}

// A page without a SIP stack and a phone without a browser chat, both ways; the page goes when its tab does. RFC 3428, 4 and 7
func TestChatPage(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "", "alice", "bob")
	bob := s.dial("udp", "bob")
	if res := bob.ask("REGISTER", "sip:"+domain); res.code() != 200 {
		t.Fatal(res.start)
	}
	alice := chatPage(t, s, "alice")
	if status := alice.openChat(s, password("alice")); status != 201 {
		t.Fatalf("POST /messages: %d", status)
	}
	if f := alice.nextFrame(); f.User != "sip:alice@"+domain {
		t.Fatalf("the first frame: %+v", f)
	}
	if n := len(s.contacts("alice")); n != 1 {
		t.Errorf("%d contacts", n)
	}
	alice.eval(nil, `chat.send("sip:bob@`+domain+`", "grüß dich ☎", "a")`)
	got := bob.await("MESSAGE", 10*time.Second)
	if got.body != "grüß dich ☎" || got.get("Content-Type") != "text/plain;charset=UTF-8" {
		t.Errorf("bob reads %q (%s)", got.body, got.get("Content-Type"))
	}
	if f := alice.nextFrame(); f.ID != "a" || f.Status != 200 || f.Reason != "OK" {
		t.Errorf("the outcome: %+v", f)
	}
	if res := bob.tell("alice", "selber grüß dich"); res.code() != 200 {
		t.Fatal(res.start)
	}
	if f := alice.nextFrame(); f.From != "sip:bob@"+domain || f.Text != "selber grüß dich" {
		t.Errorf("alice reads %+v", f)
	}
	if res := bob.ask("INVITE", "sip:alice@"+domain, "To: <sip:alice@"+domain+">"); res.code() != 480 || res.get("Allow") != "MESSAGE" { // RFC 3261, 21.4.18
		t.Errorf("a call to a page that only chats: %s, Allow: %s", res.start, res.get("Allow"))
	}
	alice.load()
	s.until("alice's device goes with her page", func() bool { return len(s.contacts("alice")) == 0 })
	results.passed(t, "Chromium without a SIP stack", "RFC 3428, 7: a page with a data channel and a phone chat, both ways", "TestChatPage", "udp")
}

// A page whose network lets nothing but TURN through chats too.
func TestChatPageByTURN(t *testing.T) {
	t.Parallel()
	turn := freeAddr(t)
	s := newServer(t, fmt.Sprintf("[web]\norigins = [%q]\n[turn]\nudp = %q\ntcp = \"\"\ntls = \"\"\n", startBrowser(t).pages.URL, turn), "alice")
	alice := chatPage(t, s, "alice")
	alice.eval(nil, fmt.Sprintf(`fetch("https://%s/turn", {headers: {Authorization: "Basic " + btoa("alice:%s")}}).then(r => r.json()).then(r => {
		chat.config = {iceServers: r.iceServers, iceTransportPolicy: "relay"};
	})`, s.https, password("alice")))
	if status := alice.openChat(s, password("alice")); status != 201 {
		t.Fatalf("POST /messages: %d", status)
	}
	if f := alice.nextFrame(); f.User != "sip:alice@"+domain {
		t.Fatalf("the first frame: %+v", f)
	}
	alice.eval(nil, `chat.send("sip:alice@`+domain+`", "to myself", "a")`)
	if f := alice.nextFrame(); f.Text != "to myself" {
		t.Errorf("alice reads %+v", f)
	}
	if f := alice.nextFrame(); f.Status != 200 {
		t.Errorf("the outcome: %+v", f)
	}
}

// Pages of foreign origins are refused, and wrong passwords. hardening 73
func TestChatPageStrangers(t *testing.T) {
	t.Parallel()
	startBrowser(t)
	closed := newServer(t, "", "alice")
	p := chatPage(t, closed, "alice")
	var outcome string
	p.eval(&outcome, fmt.Sprintf("chat.open(%q, 'alice', %q).then(String, e => e.name)", "https://"+closed.https+"/messages", password("alice")))
	if outcome != "TypeError" { // the browser lets a page of a foreign origin see nothing
		t.Errorf("a foreign page: %s", outcome)
	}
	open := newWebServer(t, "", "alice")
	p = chatPage(t, open, "alice")
	if status := p.openChat(open, "wrong"); status != 401 {
		t.Errorf("a wrong password: %d", status)
	}
}
