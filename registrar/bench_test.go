package registrar

import (
	"testing"

	"signalbox/internal/wire"
)

// BenchmarkRegister is a REGISTER with Digest credentials that refreshes a binding, from the parsed request to the bytes of the 200;
// BenchmarkChallenge the 401 before it.
func BenchmarkRegister(b *testing.B) {
	w := newWorld(b)
	defer w.close()
	p := w.phone("alice", "192.0.2.1:5062")
	p.cseq = 1
	challenge := wire.Get(p.send(p.request()), "WWW-Authenticate")
	b.ReportAllocs()
	nc := 0
	for b.Loop() {
		b.StopTimer()
		nc++
		p.cseq++
		p.line.sent = nil
		req := p.request("Contact: <sip:alice@192.0.2.1:5062>;expires=3600", "User-Agent: Phone/1.0", p.authorization(challenge, nc))
		b.StartTimer()
		w.layer.ReceiveRequest(p.line, req)
	}
	if codes := p.line.heard(b); len(codes) != 1 || codes[0] != 200 {
		b.Error(codes)
	}
}

func BenchmarkChallenge(b *testing.B) {
	w := newWorld(b)
	defer w.close()
	p := w.phone("alice", "192.0.2.1:5062")
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		p.cseq++
		p.line.sent = nil
		req := p.request("Contact: <sip:alice@192.0.2.1:5062>;expires=3600", "User-Agent: Phone/1.0")
		b.StartTimer()
		w.layer.ReceiveRequest(p.line, req)
	}
}
