package media

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

var update = flag.Bool("update", false, "rewrite what the bridge makes of the descriptions in testdata")

// Every conversion of a description, as text: testdata/NAME.txt holds an offer and an answer as they come, and what the bridge makes of them. Blocks begin
// with "--- ": offer from KIND, offer to KIND, answer from KIND, answer to KIND. RFC 3264, 5, 5.1, 6 and 8.3.2; RFC 8842, 5.2 and 5.3;
// RFC 8122, 5; RFC 8839, 5.1, 5.3 and 5.4; RFC 4568, 5.1 and 5.1.2; RFC 5761, 5.1.1; RFC 5764, 8; RFC 4585, 4.2;
// RFC 8445, 5.1.2.1; RFC 4568, 6.2; RFC 7874, 3; RFC 7742, 5. hardening 68: srtp-downgrade and srtp-later-downgrade.
func TestDescriptions(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := convert(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

var kinds = map[string]Kind{"browser": Browser, "phone": Phone, "tls phone": SecurePhone, "srtp phone": SRTPPhone}

// convert plays a file: it keeps the blocks that come from a side and makes those that go to one. The exchanges of one file are of one call.
func convert(t *testing.T, text string) string {
	t.Helper()
	e := newEngine(t)
	var out strings.Builder
	comment, rest, _ := strings.Cut(text, "--- ")
	out.WriteString(comment)
	var b *Bridge
	legs := map[string]int{}
	from, last := "", []byte(nil)
	for block := range strings.SplitSeq(rest, "--- ") {
		head, body, _ := strings.Cut(block, "\n")
		what, kind, _ := strings.Cut(head, " ")
		direction, kind, _ := strings.Cut(kind, " ")
		if direction == "from" {
			out.WriteString("--- " + block)
			from, last = kind, []byte(strings.ReplaceAll(body, "\n", "\r\n"))
			if b == nil {
				b = e.NewBridge(sideOf(kind), nil)
				legs[kind] = 0
			}
			continue
		}
		if _, known := legs[kind]; !known {
			leg, err := b.Branch(sideOf(kind))
			if err != nil {
				t.Fatal(err)
			}
			legs[kind] = leg
		}
		turn := b.Offer
		if what == "answer" {
			turn = b.Answer
		}
		made, err := turn(legs[from], legs[kind], last)
		fmt.Fprintf(&out, "--- %s to %s\n", what, kind)
		if err != nil {
			var e *wire.Error
			if !asError(err, &e) {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%d %s\n", e.Code, e.Reason)
			continue
		}
		out.WriteString(steady(string(made)))
	}
	b.Close()
	return out.String()
}

func asError(err error, to **wire.Error) bool {
	e, ok := err.(*wire.Error)
	*to = e
	return ok
}

func sideOf(kind string) Side {
	return Side{Kind: kinds[kind], Source: netip.MustParseAddr("192.0.2.7"), Local: netip.MustParseAddr("192.0.2.100")}
}

// steady replaces what is new each time by what it is.
func steady(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for _, r := range [][2]string{
		{`o=- \d+ `, "o=- ID "},
		{`(m=\w+) [1-9]\d* `, "$1 PORT "},
		{`a=rtcp:\d+`, "a=rtcp:PORT+1"},
		{`a=ice-ufrag:\S+`, "a=ice-ufrag:UFRAG"},
		{`a=ice-pwd:\S+`, "a=ice-pwd:PWD"},
		{`a=fingerprint:sha-256 \S+`, "a=fingerprint:sha-256 OURS"},
		{`inline:\S+`, "inline:KEY"},
		{`a=ssrc:\d+`, "a=ssrc:SSRC"},
		{`(?m)^a=candidate:[2-9].*\n`, ""},
		{`(a=candidate:.* 192.0.2.100) \d+`, "$1 PORT"},
	} {
		s = regexp.MustCompile(r[0]).ReplaceAllString(s, r[1])
	}
	return s
}
