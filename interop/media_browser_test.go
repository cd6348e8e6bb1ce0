package interop

import (
	"math"
	"testing"
	"time"
)

// A browser and a softphone call each other and hear each other's tone: nothing is lost on the way.
func TestBrowserAndBaresip(t *testing.T) {
	for _, tt := range []struct{ kind, transport, caller string }{
		{jssip, "udp", "browser"}, {jssip, "tls", "baresip"}, {sipjs, "tcp", "browser"}, {sipjs, "udp", "baresip"},
	} {
		t.Run(tt.kind+"-"+tt.transport, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			page := openPage(t, s, tt.kind, "alice", "wss", 440)
			phone := newBaresip(t, s, "bob", tt.transport, 1000, "answermode=auto")
			if tt.caller == "browser" {
				page.call("bob")
			} else {
				phone.do("dial", "sip:alice@"+domain)
				page.wait("incoming", nil)
				page.answer()
			}
			phone.event("CALL_ESTABLISHED")
			page.wait("confirmed", nil)
			heard := page.hears(1000)
			if heard.Lost != 0 || heard.Codec != "audio/PCMU" {
				t.Errorf("the page counted %+v", heard)
			}
			time.Sleep(2 * time.Second) // the call is held for its sound, not for an event
			if tt.caller == "browser" {
				page.hangup()
			} else {
				phone.do("hangup", "")
			}
			phone.event("CALL_CLOSED")
			page.wait("ended", nil)
			if hz, seconds := phone.heard(); math.Abs(hz-440) > 4.4 || seconds < 1 {
				t.Errorf("baresip heard %.1f Hz for %.1f s, want 440 Hz", hz, seconds)
			}
			results.passed(t, tt.kind+" in Chromium and baresip", "A browser and a phone call each other, tones measured at both ends", "TestBrowserAndBaresip", tt.transport)
		})
	}
}

// The first call of a newcomer: echo@ answers with the caller's own voice.
func TestEcho(t *testing.T) {
	t.Run("browser", func(t *testing.T) {
		t.Parallel()
		s := newWebServer(t, "", "alice")
		page := openPage(t, s, jssip, "alice", "ws", 700)
		page.call("echo")
		page.wait("confirmed", nil)
		if heard := page.hears(700); heard.Lost != 0 || heard.Codec != "audio/opus" {
			t.Errorf("the page counted %+v", heard)
		}
		page.hangup()
		page.wait("ended", nil)
		results.passed(t, "JsSIP in Chromium", "echo@ answers with the caller's own tone", "TestEcho", "ws")
	})
	t.Run("video", func(t *testing.T) {
		t.Parallel()
		s := newWebServer(t, "", "alice")
		page := openPage(t, s, jssip, "alice", "wss", 700)
		page.eval(nil, `phone.call("sip:echo@`+domain+`", {video: true})`)
		page.wait("confirmed", nil)
		page.hears(700)
		for deadline := time.Now().Add(patience); page.audio().Frames < 20; time.Sleep(200 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the page sees nothing of itself: %+v", page.audio())
			}
		}
		page.hangup()
		page.wait("ended", nil)
		results.passed(t, "JsSIP in Chromium", "echo@ answers with the caller's own tone and picture", "TestEcho", "wss")
	})
	for _, transport := range []string{"udp", "tls"} {
		t.Run("baresip/"+transport, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "", "bob")
			phone := newBaresip(t, s, "bob", transport, 700, "")
			phone.do("dial", "sip:echo@"+domain)
			phone.event("CALL_ESTABLISHED")
			time.Sleep(2 * time.Second)
			phone.do("hangup", "")
			phone.event("CALL_CLOSED")
			if hz, seconds := phone.heard(); math.Abs(hz-700) > 7 || seconds < 1 {
				t.Errorf("baresip heard %.1f Hz for %.1f s, want its own 700 Hz", hz, seconds)
			}
			results.passed(t, "baresip", "echo@ answers with the caller's own tone", "TestEcho", transport)
		})
	}
}
