package sdp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const simple = "v=0\r\no=- 7 8 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\n"

// RFC 8866, 5, 5.7, 5.14, 6, 6.6 and 6.7, as far as the bridge reads it; RFC 4568, 4; RFC 8122, 5; RFC 3551, 6.
func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		get        func(*Session) any
		want       any
	}{
		{"origin", simple, func(s *Session) any { return [2]uint64{s.ID, s.Version} }, [2]uint64{7, 8}},
		{"static formats", simple, func(s *Session) any { return []string{s.Media[0].Codecs[0].Name, s.Media[0].Codecs[1].Name} }, []string{"PCMU", "PCMA"}},
		{"session address", simple, func(s *Session) any { return s.Media[0].Addr.String() }, "192.0.2.9"},
		{"own address", simple + "c=IN IP6 2001:db8::1\r\n", func(s *Session) any { return s.Media[0].Addr.String() }, "2001:db8::1"},
		{"a name is no address", simple + "c=IN IP4 phone.example.org\r\n", func(s *Session) any { return s.Media[0].Addr.IsValid() }, false},
		{"bare line ends", strings.ReplaceAll(simple, "\r\n", "\n"), func(s *Session) any { return len(s.Media) }, 1},
		{"default direction", simple, func(s *Session) any { return s.Media[0].Direction }, SendRecv},
		{"session direction", "v=0\r\na=recvonly\r\nm=audio 4000 RTP/AVP 0\r\n", func(s *Session) any { return s.Media[0].Direction }, RecvOnly},
		{"RFC 3264, 8.4: the null address is hold", simple + "c=IN IP4 0.0.0.0\r\n", func(s *Session) any { return s.Media[0].Direction }, SendOnly},
		{"RFC 3264, 6: port 0", strings.Replace(simple, "4000", "0", 1), func(s *Session) any { return s.Media[0].Rejected() }, true},
		{"RFC 8843: bundle-only", strings.Replace(simple, "4000", "0", 1) + "a=bundle-only\r\n", func(s *Session) any { return s.Media[0].Rejected() }, false},
		{"dynamic without rtpmap", "v=0\r\nm=audio 4000 RTP/AVP 96 0\r\n", func(s *Session) any { return len(s.Media[0].Codecs) }, 1},
		{"feedback for all", "v=0\r\nm=video 4000 RTP/AVPF 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:* nack pli\r\n", func(s *Session) any { return s.Media[0].Asks("nack pli") }, true},
		{"RFC 3605", simple + "a=rtcp:4007 IN IP4 192.0.2.9\r\n", func(s *Session) any { return s.Media[0].RTCP }, uint16(4007)},
		{"crypto", simple + "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:abc|2^31\r\n", func(s *Session) any { return s.Media[0].Crypto }, []Crypto{{2, "AES_CM_128_HMAC_SHA1_80", "abc"}}},
		{"RFC 4568, 6.1: a master key index", simple + "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:abc|2^31|1:4\r\n", func(s *Session) any { return len(s.Media[0].Crypto) }, 0},
		{"RFC 4568, 6.3: session parameters", simple + "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:abc UNENCRYPTED_SRTP\r\n", func(s *Session) any { return len(s.Media[0].Crypto) }, 0},
		{"the sha-256 fingerprint", simple + "a=fingerprint:sha-512 00\r\na=fingerprint:SHA-256 ab:cd\r\na=fingerprint:sha-1 11\r\n", func(s *Session) any { return s.Media[0].Fingerprint }, "sha-256 AB:CD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.get(s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is no description, or too much of one. RFC 8866, 5.1: it begins with its version.
func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             "",
		"no version":        "o=- 1 1 IN IP4 192.0.2.1\r\n",
		"not a line":        "v=0\r\nhello\r\n",
		"a hidden line end": "v=0\r\na=mid:1\ra=sendrecv\r\n",
		"NUL":               "v=0\r\ns=\x00\r\n",
		"bad port":          "v=0\r\nm=audio 70000 RTP/AVP 0\r\n",
		"bad format":        "v=0\r\nm=audio 4000 RTP/AVP 128\r\n",
		"too many media":    "v=0\r\n" + strings.Repeat("m=audio 4000 RTP/AVP 0\r\n", maxMedia+1),
		"too many formats":  "v=0\r\nm=audio 4000 RTP/AVP" + many(maxCodecs+1) + "\r\n",
		"too long":          "v=0\r\n" + strings.Repeat("a=x\r\n", maxSize/5),
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// hardening 14: descriptions that have broken other parsers: refused, or read for what is in them, and written so that nothing of the rest is left.
func TestHostile(t *testing.T) {
	voice := func(formats, lines string) string {
		return strings.Replace(simple, "0 8\r\n", formats+"\r\n", 1) + lines
	}
	for _, tt := range []struct {
		name, text string
		want       string // the formats; "" where it is refused
		gone       string
	}{
		{"no final line end", strings.TrimSuffix(simple, "\r\n"), "0 PCMU, 8 PCMA", ""},
		{"b= without a colon", simple + "b=AS64\r\n", "0 PCMU, 8 PCMA", "AS64"},
		{"an empty a=", simple + "a=\r\na=:\r\n", "0 PCMU, 8 PCMA", "a=\r\n"},
		{"10,000 m-lines", simple + strings.Repeat("m=audio 1 RTP/AVP 0\r\n", 10_000), "", ""},
		{"5,000 times the same type", voice("96", strings.Repeat("a=rtpmap:96 x/8000\r\n", 5000)), "", ""},
		{"1,000 times the same type", voice("96", strings.Repeat("a=rtpmap:96 x/8000\r\n", 1000)), "96 x", ""},
		{"a type 50 times in its line", voice(strings.TrimSpace(strings.Repeat(" 0", 50)), ""), "0 PCMU", ""},
		{"one codec by two names", voice("96 97", "a=rtpmap:96 opus/48000/2\r\na=rtpmap:97 OPUS/48000/2\r\n"), "96 opus, 97 OPUS", ""},
		{"components that are none", simple + "a=candidate:1 0 UDP 1 192.0.2.1 1 typ host\r\na=candidate:1 999 UDP 1 192.0.2.1 1 typ host\r\n", "0 PCMU, 8 PCMA", "candidate"},
		{"parameters that are spaces", voice("96", "a=rtpmap:96 opus/48000/2\r\na=fmtp:96   \r\na=fmtp:96\r\na=fmtp:\r\n"), "96 opus", ""},
		{"parameters with spaces", voice("96", "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo = 1 ; = ;; useinbandfec\r\n"), "96 opus", ""},
		{"maps of nothing", simple + "a=rtpmap:\r\na=rtpmap:96\r\na=rtpmap:96 /\r\na=rtpmap:300 x/8000\r\na=rtpmap:-1 x/8000\r\n", "0 PCMU, 8 PCMA", "x/8000"},
		{"a clock of 0 and one too large", voice("96 0 97", "a=rtpmap:96 x/0\r\na=rtpmap:97 x/99999999999999999999\r\n"), "0 PCMU", " 96"},
		{"NUL at the end", simple + "a\x00", "", ""},
		{"one byte", "v", "", ""},
		{"nothing", "", "", ""},
	} {
		s, err := Parse([]byte(tt.text))
		got := ""
		if err == nil {
			var list []string
			for _, c := range s.Media[0].Codecs {
				list = append(list, fmt.Sprint(c.PT, " ", c.Name))
			}
			got = strings.Join(list, ", ")
			if out := string(s.Append(nil)); tt.gone != "" && strings.Contains(out, tt.gone) {
				t.Errorf("%s: written as\n%s", tt.name, out)
			}
		}
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// RFC 3264, 6.1: the answer's formats, in the answer's order; RFC 4733, 2.1: keys keep the clock of the voice.
func TestCommon(t *testing.T) {
	codec := func(pt uint8, name string, clock int) Codec {
		return Codec{PT: pt, Name: name, Clock: clock, Channels: 1}
	}
	offer := []Codec{codec(111, "opus", 48000), codec(0, "PCMU", 8000), codec(110, "telephone-event", 48000), codec(126, "telephone-event", 8000)}
	for _, tt := range []struct {
		name   string
		answer []Codec
		want   [][2]uint8
	}{
		{"order of the answer", []Codec{codec(0, "pcmu", 8000), codec(96, "OPUS", 48000)}, [][2]uint8{{0, 0}, {111, 96}}},
		{"keys of the voice's clock", []Codec{codec(0, "PCMU", 8000), codec(126, "telephone-event", 8000), codec(110, "telephone-event", 48000)}, [][2]uint8{{0, 0}, {126, 126}}},
		{"keys of another clock than the voice", []Codec{codec(111, "opus", 48000), codec(126, "telephone-event", 8000)}, [][2]uint8{{111, 111}, {110, 126}}},
		{"nothing", []Codec{codec(18, "G729", 8000)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got [][2]uint8
			for _, p := range Common(offer, tt.answer) {
				got = append(got, [2]uint8{p.Offered.PT, p.Answered.PT})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// RFC 6184: profile and packetization mode must be the same, the level need not.
func TestH264(t *testing.T) {
	c := func(fmtp string) *Codec { return &Codec{Name: "H264", Clock: 90000, Channels: 1, Fmtp: fmtp} }
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"profile-level-id=42e01f;packetization-mode=1", "packetization-mode=1; profile-level-id=42E016", true},
		{"profile-level-id=42e01f;packetization-mode=1", "profile-level-id=42e01f", false},
		{"profile-level-id=42e01f", "profile-level-id=64001f", false},
		{"", "profile-level-id=42000a", true},
	} {
		if got := c(tt.a).Same(c(tt.b)); got != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}

// Whatever comes, parsing does not panic; what we write of it we read again as the same.
func FuzzParse(f *testing.F) {
	f.Add(simple)
	f.Add(simple + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc\r\na=rtcp-mux\r\nm=video 0 RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 x=1\r\na=rtcp-fb:* nack pli\r\na=bundle-only\r\n")
	f.Add("v=0\no=- 1 1 IN IP6 ::1\ns=-\nt=0 0\na=ice-lite\na=group:BUNDLE 0\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:0\na=ice-ufrag:x\na=ice-pwd:y\na=fingerprint:sha-256 AA\na=setup:actpass\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse([]byte(text))
		if err != nil {
			return
		}
		text2 := s.Append(nil)
		again, err := Parse(text2)
		if err != nil {
			if len(text2) > maxSize {
				return
			}
			t.Fatalf("%v:\n%s", err, text2)
		}
		if len(again.Media) != len(s.Media) {
			t.Fatalf("%d media, then %d:\n%s", len(s.Media), len(again.Media), text2)
		}
		for i := range s.Media {
			a, b := &s.Media[i], &again.Media[i]
			if a.BundleOnly || len(a.Codecs) == 0 {
				continue // never written
			}
			if a.Rejected() != b.Rejected() || !a.Rejected() && !cmp.Equal(a.Codecs, b.Codecs, cmpopts.EquateEmpty()) {
				t.Fatalf("medium %d:\n%s\nwas\n%s", i, text2, text)
			}
		}
	})
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %d", i)
	}
	return b.String()
}
