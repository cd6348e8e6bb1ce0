package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// video are the lines that give baresip a camera, a screen and a codec: VP8 or H.264.
func video(t *testing.T, codec string) []string {
	t.Helper()
	module := map[string]string{"VP8": "vp8.so", "H.264": "avcodec.so"}[codec]
	if _, err := os.Stat(filepath.Join(modulePath(t), module)); err != nil {
		t.Skip("SKIPPED: " + module + " of baresip is not installed (interop/tools.sh installs it)")
	}
	return []string{
		"module " + module, "module fakevideo.so", "video_source fakevideo,nil", "video_display fakevideo,nil", "video_size 320x240", "video_fps 15", "video_bitrate 300000",
	}
}

// A page and a softphone see each other, decoded at both ends.
func TestVideo(t *testing.T) {
	for _, tt := range []struct{ kind, caller, codec string }{
		{jssip, "browser", "VP8"}, {jssip, "baresip", "VP8"}, {sipjs, "browser", "VP8"}, {jssip, "browser", "H.264"}, {jssip, "baresip", "H.264"},
	} {
		t.Run(tt.kind+"-"+tt.caller+"-"+tt.codec, func(t *testing.T) {
			t.Parallel()
			video := video(t, tt.codec)
			s := newWebServer(t, "", "alice", "bob")
			alice := openPage(t, s, tt.kind, "alice", "ws", 440)
			bob := newBaresip(t, s, "bob", "tcp", 1000, "answermode=auto", video...)
			if tt.caller == "browser" {
				alice.eval(nil, `phone.call("sip:bob@`+domain+`", {video: true})`)
			} else {
				bob.do("dial", "sip:alice@"+domain)
				alice.wait("incoming", nil)
				alice.eval(nil, `phone.answer({video: true})`)
			}
			bob.event("CALL_ESTABLISHED")
			alice.wait("confirmed", nil)
			alice.hears(1000)
			alice.sees(30)
			bob.sees()
			alice.hangup()
			bob.event("CALL_CLOSED")
			results.passed(t, tt.kind+" in Chromium and baresip", "Video in "+tt.codec+" both ways, decoded at both ends", "TestVideo", "tcp")
		})
	}
}

// sees waits until the page has decoded so many pictures.
func (p *page) sees(frames int) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); p.audio().Frames < frames; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the page of %s sees too little: %+v", p.user, p.audio())
		}
	}
}

// pictures is what baresip writes of a call: the rates of the pictures that it encodes and decodes.
var pictures = regexp.MustCompile(`efps=[\d.]+/([1-9][\d.]*)`)

// sees waits until the phone has decoded pictures of the page's size, and goes on doing so.
func (b *baresip) sees() {
	b.t.Helper()
	b.until("sees pictures", func() bool {
		out := b.out.String()
		return strings.Contains(out, "receiving with resolution 320 x 240") && pictures.MatchString(out)
	})
}
