package interop

import "testing"

// A call of data alone: two pages open a channel, with no sound in the call; the description passes as it is, and the session ends with its BYE.
func TestDataChannel(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "", "alice", "bob")
	alice := openPage(t, s, jssip, "alice", "wss", 440)
	bob := openPage(t, s, jssip, "bob", "wss", 1000)
	for _, p := range []*page{alice, bob} {
		p.eval(nil, `(() => {
			window.read = new Promise(done => { window.got = done; });
			window.open = channel => { window.channel = channel; channel.onmessage = e => got(e.data); };
		})()`)
	}
	alice.eval(nil, `(() => {
		phone.session = phone.ua.call("sip:bob@`+domain+`", {
			mediaConstraints: {audio: false, video: false}, pcConfig: phone.pc,
			eventHandlers: {peerconnection: e => open(e.peerconnection.createDataChannel("chat"))},
		});
	})()`)
	bob.wait("incoming", nil)
	bob.eval(nil, `(() => {
		phone.session.on("peerconnection", e => { e.peerconnection.ondatachannel = c => open(c.channel); });
		phone.session.answer({mediaConstraints: {audio: false, video: false}, pcConfig: phone.pc});
	})()`)
	alice.wait("confirmed", nil)
	alice.eval(nil, `new Promise(done => channel.readyState === "open" ? done() : channel.onopen = done)`)
	alice.eval(nil, `channel.send("hello")`)
	var text string
	bob.eval(&text, `read`)
	if text != "hello" {
		t.Errorf("bob reads %q", text)
	}
	bob.eval(nil, `channel.send("hi")`)
	alice.eval(&text, `read`)
	if text != "hi" {
		t.Errorf("alice reads %q", text)
	}
	alice.hangup()
	bob.wait("ended", nil)
	results.passed(t, "JsSIP in Chromium", "A call of data alone: a data channel between two pages", "TestDataChannel", "wss")
}

// A phone has no data channel: the call is refused, and says so.
func TestDataChannelToPhone(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "", "alice", "bob")
	alice := openPage(t, s, jssip, "alice", "ws", 440)
	newHandset(t, s, "bob")
	alice.eval(nil, `(() => {
		phone.session = phone.ua.call("sip:bob@`+domain+`", {
			mediaConstraints: {audio: false, video: false}, pcConfig: phone.pc,
			eventHandlers: {peerconnection: e => e.peerconnection.createDataChannel("chat")},
		});
	})()`)
	var failed struct{ Status int }
	alice.wait("failed", &failed)
	if failed.Status != 488 {
		t.Errorf("refused with %d", failed.Status)
	}
	results.passed(t, "JsSIP in Chromium", "A call of data alone to a phone is refused with 488", "TestDataChannelToPhone", "ws")
}
