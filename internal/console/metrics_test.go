package console

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each line is a comment or a sample, each name is described once, before its samples, and everything the media bridge counts is there.
func TestWriteMetrics(t *testing.T) {
	var b strings.Builder
	s := Status{Version: "a \"b\"", Started: time.Unix(1000, 0), Users: 2, Media: &Media{Calls: 3, HandshakesTotal: 5, HandshakesFailed: 1, Received: 1 << 53, SentBytes: 7}}
	if err := WriteMetrics(&b, &s); err != nil {
		t.Fatal(err)
	}
	sample := regexp.MustCompile(`^(signalbox_[a-z_]+)(\{[a-z]+="([^"\\]|\\.)*"\})? [0-9.]+$`)
	described := map[string]bool{}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			if described[name] {
				t.Errorf("%s is described twice", name)
			}
			described[name] = true
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		if m := sample.FindStringSubmatch(line); m == nil || !described[m[1]] {
			t.Errorf("no sample: %s", line)
		}
	}
	for _, want := range []string{
		`signalbox_build_info{version="a \"b\""} 1`, "signalbox_start_time_seconds 1000", `signalbox_media_handshakes_total{result="done"} 4`,
		`signalbox_media_handshakes_total{result="failed"} 1`, `signalbox_media_packets_total{direction="received"} 9007199254740992`, `signalbox_media_bytes_total{direction="sent"} 7`,
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	if s.Media = nil; WriteMetrics(&b, &s) != nil {
		t.Error("without media")
	}
}
