package registrar

import (
	"testing"

	"signalbox/internal/wire"
)

// BenchmarkRegister is a REGISTER with Digest credentials that refreshes a binding, from the parsed request to the bytes of the 200.
func BenchmarkRegister(b *testing.B) {
	w := newWorld(b)
	defer w.close()
	benchRegister(b, w)
}

func benchRegister(b *testing.B, w *world) {
	p := w.phone("alice", "192.0.2.1:5062")
	p.cseq = 1
	challenge := wire.Get(p.send(p.request()), "WWW-Authenticate")
	nc := 0
	measure(b, p, func() *wire.Request {
		nc++
		return p.request("Contact: <sip:alice@192.0.2.1:5062>;expires=3600", "User-Agent: Phone/1.0", p.authorization(challenge, nc))
	})
	if codes := p.line.heard(b); codes[len(codes)-1] != 200 {
		b.Error(codes)
	}
}

// BenchmarkChallenge is the REGISTER before it, which gets 401.
func BenchmarkChallenge(b *testing.B) {
	w := newWorld(b)
	defer w.close()
	p := w.phone("alice", "192.0.2.1:5062")
	measure(b, p, func() *wire.Request {
		return p.request("Contact: <sip:alice@192.0.2.1:5062>;expires=3600", "User-Agent: Phone/1.0")
	})
}

// measure sends requests that were made, a thousand at a time, while the clock stood still.
func measure(b *testing.B, p *phone, next func() *wire.Request) {
	b.ReportAllocs()
	var requests []*wire.Request
	for b.Loop() {
		if len(requests) == 0 {
			b.StopTimer()
			p.line.sent = p.line.sent[:0]
			for range 1000 {
				p.cseq++
				requests = append(requests, next())
			}
			b.StartTimer()
		}
		p.w.layer.ReceiveRequest(p.line, requests[0])
		requests = requests[1:]
	}
}
