package registrar

import (
	"testing"

	"signalbox/internal/wire"
)

// BenchmarkRegisterFlow is BenchmarkRegister of a phone with outbound.
func BenchmarkRegisterFlow(b *testing.B) { benchFlow(b, outboundPhone) }

// BenchmarkRegisterGRUU is the same with both GRUUs in the answer.
func BenchmarkRegisterGRUU(b *testing.B) { benchFlow(b, outboundPhone+", gruu") }

func benchFlow(b *testing.B, supported string) {
	w := newWorld(b)
	defer w.close()
	p := w.phone("alice", "192.0.2.1:5062")
	p.cseq = 1
	challenge := wire.Get(p.send(p.request()), "WWW-Authenticate")
	nc := 0
	measure(b, p, func() *wire.Request {
		nc++
		return p.request(flow("sip:alice@192.0.2.1:5062", urn1, 1)+";expires=3600", supported, "User-Agent: Phone/1.0", p.authorization(challenge, nc))
	})
	if codes := p.line.heard(b); codes[len(codes)-1] != 200 {
		b.Error(codes)
	}
}
