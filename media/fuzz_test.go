package media

import (
	"strings"
	"testing"
)

// Whatever two sides say to each other, nothing panics, nothing is left, and what is made of it reads as a description again.
func FuzzBridge(f *testing.F) {
	for _, name := range []string{"chromium-to-phone", "chromium-video"} {
		f.Add(block(f, name, "offer from browser"), block(f, name, "answer from phone"), uint8(Browser), uint8(Phone))
	}
	f.Add(block(f, "hold-and-resume", "offer from phone"), block(f, "hold-and-resume", "answer from browser"), uint8(Phone), uint8(Browser))
	f.Add(block(f, "srtp-to-rtp", "offer from tls phone"), block(f, "srtp-phone", "answer from srtp phone"), uint8(SecurePhone), uint8(SRTPPhone))
	e := newEngine(f)
	f.Fuzz(func(t *testing.T, offer, answer []byte, from, to uint8) {
		caller, callee := phoneSide, phoneSide
		caller.Kind, callee.Kind = Kind(from%4+1), Kind(to%4+1)
		b := e.NewBridge(caller, nil)
		defer b.Close()
		leg, err := b.Branch(callee)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // and again, as a re-INVITE
			made, err := b.Offer(0, leg, offer)
			if err != nil {
				return
			}
			if !strings.HasPrefix(string(made), "v=0\r\n") {
				t.Fatalf("made of an offer:\n%s", made)
			}
			if made, err = b.Answer(leg, 0, answer); err == nil && !strings.HasPrefix(string(made), "v=0\r\n") {
				t.Fatalf("made of an answer:\n%s", made)
			}
			b.Choose(leg)
			// And the other way round.
			if _, err := b.Offer(leg, 0, answer); err == nil {
				_, _ = b.Answer(0, leg, offer)
			}
		}
	})
}
