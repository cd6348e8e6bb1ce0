package interop

import (
	"net"
	"strings"
	"testing"
	"time"
)

// Early media, hold and resume, keys, and silence after the BYE: a browser calls a phone.
func TestBrowserToHandset(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "", "alice", "bob")
	alice := openPage(t, s, jssip, "alice", "ws", 440)
	bob := newHandset(t, s, "bob")
	alice.call("bob")
	invite := bob.expect("INVITE")
	for _, bad := range []string{"a=ice-", "fingerprint", "SAVP", "red/", "rtcp-mux", "BUNDLE"} {
		if strings.Contains(invite.body, bad) {
			t.Errorf("a phone is offered %s:\n%s", bad, invite.body)
		}
	}
	bob.aim(invite)

	bob.respond(invite, 183, "Session Progress", bob.sdp("sendrecv"))
	bob.speak(1000)
	alice.hears(1000) // before the call is answered
	bob.respond(invite, 200, "OK", bob.sdp("sendrecv"))
	bob.expect("ACK")
	alice.wait("confirmed", nil)
	bob.hears(440)
	alice.hears(1000)

	thief := listenUDP(t) // hardening 64: it sprays over all ports, and gets nothing
	spray(thief, bob.far.Load())
	alice.hears(1000)
	bob.hears(440)
	_ = thief.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := thief.Read(make([]byte, 2000)); err == nil {
		t.Errorf("who sprays a call's port is sent %d bytes of it", n)
	}

	for _, key := range []string{"5", "#"} {
		alice.do(nil, "dtmf", key, "RFC2833")
	}
	bob.until("gets the keys 5 and #", func() bool { return bob.voice.pressed() == "\x05\x0b" })
	alice.do(nil, "dtmf", "7", "INFO")
	info := bob.expect("INFO")
	if !strings.Contains(info.body, "Signal=7") {
		t.Errorf("INFO: %q", info.body)
	}
	bob.respond(info, 200, "OK", "")

	hold := make(chan struct{})
	go func() { defer close(hold); alice.do(nil, "hold") }()
	held := bob.expect("INVITE")
	if !strings.Contains(held.body, "a=sendonly") && !strings.Contains(held.body, "a=inactive") {
		t.Errorf("hold:\n%s", held.body)
	}
	bob.respond(held, 200, "OK", bob.sdp("recvonly"))
	bob.expect("ACK")
	<-hold
	resume := make(chan struct{})
	go func() { defer close(resume); alice.do(nil, "unhold") }()
	resumed := bob.expect("INVITE")
	if !strings.Contains(resumed.body, "a=sendrecv") {
		t.Errorf("resume:\n%s", resumed.body)
	}
	bob.respond(resumed, 200, "OK", bob.sdp("sendrecv"))
	bob.expect("ACK")
	<-resume
	bob.hears(440)
	alice.hears(1000)

	alice.hangup()
	bye := bob.expect("BYE")
	bob.respond(bye, 200, "OK", "")
	alice.wait("ended", nil)
	bob.quiet()
	results.passed(t, "JsSIP in Chromium and a plain RTP phone", "Early media, keys by RTP and by INFO, hold and resume", "TestBrowserToHandset", "udp")
}

// spray sends RTP to the ports around a call's, as attackers do.
func spray(from *net.UDPConn, far *net.UDPAddr) {
	p := make([]byte, 172)
	p[0] = 0x80
	for n := range 20 {
		p[3] = byte(n)
		for port := far.Port - 10; port < far.Port+10; port++ {
			_, _ = from.WriteToUDP(p, &net.UDPAddr{IP: far.IP, Port: port})
		}
	}
}

// A phone calls a browser without an offer; the browser makes it.
func TestHandsetWithoutOffer(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "", "alice", "bob")
	alice := openPage(t, s, jssip, "alice", "ws", 440)
	bob := newHandset(t, s, "bob")
	uri := "sip:alice@" + domain
	bob.request("INVITE", uri, "<"+uri+">", "delayed", "", "")
	challenged := make(chan message, 1)
	go func() { challenged <- bob.inviteAgain(uri, "delayed") }()
	alice.wait("incoming", nil)
	alice.answer()
	ok := <-challenged
	if !strings.Contains(ok.body, "RTP/AVP") || strings.Contains(ok.body, "fingerprint") {
		t.Errorf("the phone is offered:\n%s", ok.body)
	}
	bob.aim(ok)
	bob.speak(1000)
	bob.ack(ok, bob.sdp("sendrecv"))
	alice.wait("confirmed", nil)
	bob.hears(440)
	alice.hears(1000)
	bob.bye(ok)
	alice.wait("ended", nil)
	results.passed(t, "JsSIP in Chromium and a plain RTP phone", "The phone calls without an offer", "TestHandsetWithoutOffer", "udp")
}

// Browser, browser and two phones on one address ring together: the first to answer wins, the others are cancelled, and the caller is told one answer only.
func TestMixedRinging(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "", "alice", "bob")
	alice := openPage(t, s, jssip, "alice", "ws", 440)
	tab := openPage(t, s, jssip, "bob", "wss", 1300)
	desk, hall := newHandset(t, s, "bob"), newHandset(t, s, "bob")
	for _, winner := range []string{"phone", "browser"} {
		alice.call("bob")
		tab.wait("incoming", nil)
		toDesk, toHall := desk.expect("INVITE"), hall.expect("INVITE")
		desk.respond(toDesk, 183, "Session Progress", desk.sdp("sendrecv"))
		hall.respond(toHall, 180, "Ringing", "")
		hz := 1000
		if winner == "phone" {
			hall.aim(toHall)
			hall.respond(toHall, 200, "OK", hall.sdp("sendrecv"))
			hall.expect("ACK")
			hall.speak(hz)
			tab.wait("failed", nil)
		} else {
			hz = 1300
			tab.answer()
			cancel := hall.expect("CANCEL")
			hall.respond(cancel, 200, "OK", "")
			hall.respond(toHall, 487, "Request Terminated", "")
		}
		cancel := desk.expect("CANCEL")
		desk.respond(cancel, 200, "OK", "")
		desk.respond(toDesk, 487, "Request Terminated", "")
		alice.wait("confirmed", nil)
		alice.hears(hz)
		if winner == "phone" {
			hall.hears(440)
		} else {
			tab.hears(440)
		}
		alice.hangup()
		if winner == "phone" {
			hall.respond(hall.expect("BYE"), 200, "OK", "")
		} else {
			tab.wait("ended", nil)
		}
		alice.wait("ended", nil)
	}
	results.passed(t, "JsSIP in Chromium and plain RTP phones", "Two phones and a page ring together, the first to answer wins", "TestMixedRinging", "udp")
}

// A phone that wants SRTP and has TLS gets it, whoever calls: a browser, or a phone that has RTP only.
func TestSRTPPhone(t *testing.T) {
	for _, caller := range []string{"browser", "phone"} {
		t.Run(caller, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			bob := newBaresip(t, s, "bob", "tls", 1000, "answermode=auto;mediaenc=srtp-mand")
			if caller == "browser" {
				alice := openPage(t, s, jssip, "alice", "ws", 440)
				alice.call("bob")
				bob.event("CALL_ESTABLISHED")
				alice.wait("confirmed", nil)
				alice.hears(1000)
				time.Sleep(2 * time.Second) // the call is held for its sound, not for an event
				alice.hangup()
			} else {
				alice := newHandset(t, s, "alice")
				ok := alice.call("bob")
				alice.ack(ok, "")
				bob.event("CALL_ESTABLISHED")
				alice.aim(ok)
				alice.speak(440)
				alice.hears(1000)
				time.Sleep(2 * time.Second)
				alice.bye(ok)
			}
			bob.event("CALL_CLOSED")
			if hz, seconds := bob.heard(); !within(hz, 440, 0.01) || seconds < 1 {
				t.Errorf("baresip heard %.1f Hz for %.1f s, want 440 Hz", hz, seconds)
			}
			results.passed(t, "baresip with SRTP", "SRTP towards the phone, tones measured at both ends; called by a "+caller, "TestSRTPPhone", "tls")
		})
	}
}

// A phone that falls silent is gone: the bridge ends the call on both sides.
func TestSilentPhone(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "[media]\ntimeout = 5\n", "alice", "bob")
	alice := openPage(t, s, jssip, "alice", "ws", 440)
	bob := newHandset(t, s, "bob")
	alice.call("bob")
	invite := bob.expect("INVITE")
	bob.aim(invite)
	bob.respond(invite, 200, "OK", bob.sdp("sendrecv"))
	bob.expect("ACK")
	stop := bob.speak(1000)
	alice.hears(1000)
	stop()
	bye := bob.expect("BYE")
	bob.respond(bye, 200, "OK", "")
	var ended struct{ Cause, Originator string }
	alice.wait("ended", &ended)
	if ended.Originator != "remote" || !strings.Contains(bye.get("Reason"), "silent") {
		t.Errorf("ended %+v, Reason: %s", ended, bye.get("Reason"))
	}
	results.passed(t, "JsSIP in Chromium and a plain RTP phone", "A phone falls silent: the bridge ends the call on both sides", "TestSilentPhone", "udp")
}

// When the server stops, the media of a bridged call are gone: it says so to both sides before it goes.
func TestServerStops(t *testing.T) {
	t.Parallel()
	s := newWebServer(t, "", "alice", "bob")
	alice := openPage(t, s, jssip, "alice", "ws", 440)
	bob := newHandset(t, s, "bob")
	alice.call("bob")
	invite := bob.expect("INVITE")
	bob.aim(invite)
	bob.respond(invite, 200, "OK", bob.sdp("sendrecv"))
	bob.expect("ACK")
	bob.speak(1000)
	alice.hears(1000)
	s.stop()
	bye := bob.expect("BYE")
	if !strings.Contains(bye.get("Reason"), "stopping") {
		t.Errorf("Reason: %s", bye.get("Reason"))
	}
	alice.wait("ended", nil)
	results.passed(t, "JsSIP in Chromium and a plain RTP phone", "The server stops: a bridged call ends on both sides", "TestServerStops", "udp")
}

// inviteAgain answers the challenge to an INVITE and returns its 200.
func (h *handset) inviteAgain(uri, callID string) message {
	return h.challenged("INVITE", uri, "<"+uri+">", callID, "", "")
}

// call sends an INVITE with an offer and returns its 200.
func (h *handset) call(user string) message {
	h.t.Helper()
	uri := "sip:" + user + "@" + domain
	return h.authorized("INVITE", uri, "<"+uri+">", "call-"+h.tag, "", h.sdp("sendrecv"))
}

func (h *handset) ack(ok message, body string) {
	h.t.Helper()
	h.send(h.build("ACK", target(ok), ok.get("To"), ok.get("Call-ID"), h.cseq, routes(ok), body))
}

func (h *handset) bye(ok message) {
	h.t.Helper()
	h.request("BYE", target(ok), ok.get("To"), ok.get("Call-ID"), routes(ok), "")
	h.expect("200 BYE")
}

// target is the Contact of a response.
func target(m message) string {
	_, rest, _ := strings.Cut(m.get("Contact"), "<")
	uri, _, _ := strings.Cut(rest, ">")
	return uri
}

// routes of a response, for its caller: the last is the first.
func routes(m message) (lines string) {
	for _, r := range m.all("Record-Route") {
		lines = "Route: " + r + "\r\n" + lines
	}
	return lines
}
