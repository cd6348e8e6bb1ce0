package interop

import (
	"fmt"
	"strings"
	"testing"
)

// Two phones of a fork have no format in common: early media have told the browser what one of them has, and the other one answers. The browser is made an offer,
// and both hear each other; the phone's own requests in the dialog work after it.
func TestForkOfDifferentPhones(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			alice := openPage(t, s, kind, "alice", "ws", 440)
			desk, hall := newHandset(t, s, "bob"), newHandset(t, s, "bob")
			alice.call("bob")
			toDesk, toHall := desk.expect("INVITE"), hall.expect("INVITE")
			desk.respond(toDesk, 183, "Session Progress", strings.NewReplacer("RTP/AVP 0 101", "RTP/AVP 9 101").Replace(desk.sdp("sendrecv")))
			alice.wait("progress", nil)
			hall.aim(toHall)
			hall.respond(toHall, 200, "OK", hall.sdp("sendrecv"))
			hall.expect("ACK")
			hall.speak(1000)
			cancel := desk.expect("CANCEL")
			desk.respond(cancel, 200, "OK", "")
			desk.respond(toDesk, 487, "Request Terminated", "")
			alice.wait("confirmed", nil)
			hall.hears(440)
			if heard := alice.hears(1000); heard.Codec != "audio/PCMU" {
				t.Errorf("the page counted %+v", heard)
			}
			hall.within("BYE", toHall, 1, "")
			hall.expect("200 BYE")
			alice.wait("ended", nil)
			results.passed(t, kind+" in Chromium and plain RTP phones", "Two phones without a common format: the one that answers is heard, whatever early media said", "TestForkOfDifferentPhones", "udp")
		})
	}
}

// A phone holds a browser's call and takes it up again, by re-INVITE and, where the page's stack knows it, by UPDATE.
func TestHandsetHolds(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			alice := openPage(t, s, kind, "alice", "ws", 440)
			bob := newHandset(t, s, "bob")
			alice.call("bob")
			invite := bob.expect("INVITE")
			bob.aim(invite)
			bob.respond(invite, 200, "OK", bob.sdp("sendrecv"))
			bob.expect("ACK")
			stop := bob.speak(1000)
			alice.wait("confirmed", nil)
			alice.hears(1000)
			bob.hears(440)
			methods := []string{"INVITE", "UPDATE"}
			if kind == sipjs {
				methods = methods[:1] // it refuses UPDATE
			}
			for i, method := range methods {
				seq := 1 + 2*i
				held := bob.offers(method, invite, seq, "sendonly")
				if !strings.Contains(held.body, "a=recvonly") {
					t.Errorf("hold by %s is answered\n%s", method, held.body)
				}
				bob.quiet()
				resumed := bob.offers(method, invite, seq+1, "sendrecv")
				if !strings.Contains(resumed.body, "a=sendrecv") {
					t.Errorf("resume by %s is answered\n%s", method, resumed.body)
				}
				bob.hears(440)
			}
			alice.hears(1000)
			stop()
			bob.within("BYE", invite, 9, "")
			bob.expect("200 BYE")
			alice.wait("ended", nil)
			bob.quiet()
			results.passed(t, kind+" in Chromium and a plain RTP phone", "The phone holds the call and takes it up again", "TestHandsetHolds", "udp")
		})
	}
}

// within sends a request of the called phone in the dialog that an INVITE began.
func (h *handset) within(method string, invite message, cseq int, body string) {
	h.t.Helper()
	routes, extra := "", ""
	for _, r := range invite.all("Record-Route") {
		routes += "Route: " + r + "\r\n"
	}
	if body != "" {
		extra = "Content-Type: application/sdp\r\n"
	}
	h.send(fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%sw%d%s;rport\r\nMax-Forwards: 70\r\nFrom: %s;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: %s\r\n%s%sContent-Length: %d\r\n\r\n%s",
		method, target(invite), h.sip.LocalAddr(), h.tag, cseq, method, invite.get("To"), h.tag, invite.get("From"), invite.get("Call-ID"), cseq, method, h.contact(), routes, extra, len(body), body))
}

// offers makes an offer in the dialog, and returns its 200.
func (h *handset) offers(method string, invite message, cseq int, direction string) message {
	h.t.Helper()
	h.within(method, invite, cseq, h.sdp(direction))
	ok := h.expect("200 " + method)
	if method == "INVITE" {
		h.within("ACK", invite, cseq, "")
	}
	return ok
}

// A page, a phone with RTP and one that takes SRTP only ring together, each with what it can have; the last one answers, and the others stop ringing.
func TestMixedRingingWithSRTP(t *testing.T) {
	for _, caller := range []string{"page", "phone"} {
		t.Run(caller, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			tab := openPage(t, s, jssip, "bob", "wss", 1300)
			desk := newHandset(t, s, "bob")
			secret := newBaresip(t, s, "bob", "tls", 1000, "mediaenc=srtp-mand")
			var alice *page
			var dialled *handset
			var ok chan message
			if caller == "page" {
				alice = openPage(t, s, jssip, "alice", "ws", 440)
				alice.call("bob")
			} else {
				dialled, ok = newHandset(t, s, "alice"), make(chan message, 1)
				go func() { ok <- dialled.call("bob") }()
			}
			tab.wait("incoming", nil)
			toDesk := desk.expect("INVITE")
			if strings.Contains(toDesk.body, "SAVP") || strings.Contains(toDesk.body, "a=crypto") {
				t.Errorf("a phone over UDP is offered keys:\n%s", toDesk.body)
			}
			desk.respond(toDesk, 180, "Ringing", "")
			secret.event("CALL_INCOMING")
			secret.do("accept", "")
			cancel := desk.expect("CANCEL")
			desk.respond(cancel, 200, "OK", "")
			desk.respond(toDesk, 487, "Request Terminated", "")
			tab.wait("failed", nil)
			if alice != nil {
				alice.wait("confirmed", nil)
				secret.event("CALL_ESTABLISHED")
				alice.hears(1000)
				alice.hangup()
			} else {
				answer := <-ok
				dialled.ack(answer, "")
				secret.event("CALL_ESTABLISHED")
				dialled.aim(answer)
				dialled.speak(440)
				dialled.hears(1000)
				dialled.bye(answer)
			}
			secret.event("CALL_CLOSED")
			results.passed(t, "JsSIP in Chromium, baresip with SRTP and a plain RTP phone", "A page, an RTP phone and an SRTP phone ring together; the last one answers; called by a "+caller, "TestMixedRingingWithSRTP", "tls")
		})
	}
}
