package wire

import (
	"slices"
	"testing"
)

// hardening 18: all prefixes and single-byte changes of valid messages. Nothing breaks, a message cut short is never taken for a whole one, and what is
// accepted is written back as the same message.
func TestMutations(t *testing.T) {
	texts := [][]byte{[]byte(benchRegister), []byte(benchInvite), []byte(benchOK), []byte(with("Subject:\r\n a\r\n\tb"))}
	for _, name := range []string{"wsinv", "intmeth", "esc01", "escnull", "semiuri", "transports", "noreason", "inv2543"} {
		texts = append(texts, readTorture(t, "rfc4475/"+name))
	}
	changes := []byte{0, '\r', '\n', ' ', ',', ';', '"', '<', '>', '%', ':', '@', '9', 'x', 0x7f, 0xff}
	step := 1
	if testing.Short() {
		step = 7
	}
	for _, text := range texts {
		m := mustParse(t, string(text))
		whole := len(text) - len(m.Body())
		for n := 0; n < len(text); n += step {
			if m, err := Parse(text[:n]); err == nil && (n < whole || Has(m, "Content-Length")) {
				t.Fatalf("%d of %d bytes are a message: %q", n, len(text), text[:n])
			}
		}
		for i := 0; i < whole; i += step {
			changed := slices.Clone(text)
			for _, c := range changes {
				changed[i] = c
				checkRound(t, changed)
			}
		}
	}
}

func checkRound(t *testing.T, raw []byte) {
	t.Helper()
	m, err := Parse(raw)
	if req, ok := m.(*Request); ok && err != nil {
		checkAnswer(t, req)
	}
	if err != nil {
		return
	}
	out := Append(nil, m)
	again, err := Parse(out)
	if err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	if string(Append(nil, again)) != string(out) || *m.head() != *again.head() {
		t.Fatalf("%q is written as %q", raw, out)
	}
}
