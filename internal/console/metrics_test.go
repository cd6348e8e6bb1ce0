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
	s := Status{Version: "a \"b\"", Started: time.Unix(1000, 0), Users: 2, Media: &Media{Calls: 3, HandshakesTotal: 5, HandshakesFailed: 1, Received: 1 << 53, SentBytes: 7},
		TURN: &TURN{Clients: 4, RefusedTotal: Refused{Frames: 9}, ToPeers: Relayed{Packets: 11, Bytes: 12}, ToClients: Relayed{Dropped: 13}}}
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
		"signalbox_turn_clients 4", `signalbox_turn_refused_total{reason="frames"} 9`, `signalbox_turn_packets_total{direction="to_peers"} 11`,
		`signalbox_turn_bytes_total{direction="to_peers"} 12`, `signalbox_turn_packets_dropped_total{direction="to_clients"} 13`,
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	if s.Media, s.TURN = nil, nil; WriteMetrics(&b, &s) != nil {
		t.Error("without media")
	}
}
