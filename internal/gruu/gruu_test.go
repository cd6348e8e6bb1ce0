package gruu

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

const instance = "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"

var (
	alice   = wire.AOR{User: "alice", Host: "example.org"}
	domains = wire.NewDomains([]string{"example.org", "example.net"}, nil)
)

func maker(t testing.TB, key byte) *Maker {
	t.Helper()
	m, err := New(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, m *Maker, text string) (Target, bool) {
	t.Helper()
	u, err := wire.ParseURI(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	aor, ok := domains.AOR(u)
	if !ok || !Is(u) {
		t.Fatalf("%s is no GRUU of a domain of ours", text)
	}
	return m.Open(u, aor)
}

func public(m *Maker, aor wire.AOR, instance string) string {
	return string(m.AppendPublic(nil, aor, instance))
}

func temporary(t testing.TB, m *Maker, aor wire.AOR, instance string, epoch uint32, stamp uint64) string {
	t.Helper()
	b, ok := m.AppendTemporary(nil, aor, instance, epoch, stamp)
	if !ok {
		t.Fatal("no temporary GRUU for", aor)
	}
	return string(b)
}

// RFC 5627, 5.4: the registrar finds address-of-record and instance in a GRUU, also after a restart.
func TestRoundTrip(t *testing.T) {
	m, again := maker(t, 1), maker(t, 1)
	odd := wire.AOR{User: "a b;gr=x", Host: "example.net"}
	for _, aor := range []wire.AOR{alice, odd, {User: strings.Repeat("u", maxUser), Host: "example.org"}} {
		pub := public(m, aor, instance)
		if got, ok := open(t, again, pub); !ok || got != (Target{AOR: aor, ID: m.ID(aor, instance)}) {
			t.Errorf("%s leads to %+v, %v", pub, got, ok)
		}
		// RFC 3261, 19.1.4: parameters are compared without case.
		if i := strings.LastIndex(pub, ";gr="); true {
			if _, ok := open(t, again, pub[:i+4]+strings.ToUpper(pub[i+4:])); !ok {
				t.Error("case matters")
			}
		}
		temp := temporary(t, m, aor, instance, 7, 9)
		if got, ok := open(t, again, temp); !ok || got != (Target{AOR: aor, ID: m.ID(aor, instance), Temporary: true, Epoch: 7}) {
			t.Errorf("%s leads to %+v, %v", temp, got, ok)
		}
	}
}

// RFC 5627, 5.1: the public GRUU stays the same, and is the address-of-record with a gr parameter of some value.
func TestPublic(t *testing.T) {
	m := maker(t, 1)
	pub := public(m, alice, instance)
	if !strings.HasPrefix(pub, "sip:alice@example.org;gr=") || pub != public(m, alice, instance) {
		t.Error(pub)
	}
	if strings.Contains(pub, "f81d4fae") {
		t.Error("it says which phone that is:", pub)
	}
	for _, other := range []string{public(m, wire.AOR{User: "alice2", Host: "example.org"}, instance), public(m, alice, instance+"2")} {
		if other[strings.Index(other, ";gr="):] == pub[strings.Index(pub, ";gr="):] {
			t.Error("two instances have one GRUU")
		}
	}
}

// RFC 5627, 5.2: a Contact has both, or the public one alone where there is no temporary one.
func TestParams(t *testing.T) {
	m := maker(t, 1)
	want := `<x>;pub-gruu="` + public(m, alice, instance) + `";temp-gruu="` + temporary(t, m, alice, instance, 3, 4) + `"`
	if got := string(m.AppendParams([]byte("<x>"), alice, instance, 3, 4)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	long := wire.AOR{User: strings.Repeat("a", maxUser+1), Host: "example.org"}
	if got, want := string(m.AppendParams(nil, long, instance, 3, 4)), `;pub-gruu="`+public(m, long, instance)+`"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// RFC 5627, 5.1: no temporary GRUU equals another, and two of them do not show whether they lead to the same phone.
func TestTemporary(t *testing.T) {
	m := maker(t, 1)
	a, b := temporary(t, m, alice, instance, 1, 1), temporary(t, m, alice, instance, 1, 2)
	c := temporary(t, m, wire.AOR{User: "somebody-with-a-long-name", Host: "example.org"}, instance, 1, 1)
	if a == b || len(a) != len(b) || len(a) != len(c) {
		t.Error(a, b, c)
	}
	same := 0
	for i := range a[len("sip:"):strings.Index(a, "@")] {
		if a[i+4] == b[i+4] {
			same++
		}
	}
	if same > 15 { // of 103 letters, 1.6 are equal by chance
		t.Errorf("%d letters of two GRUUs are equal", same)
	}
	if a != temporary(t, m, alice, instance, 1, 1) {
		t.Error("the most recent one cannot be told again") // RFC 5627, 5.2
	}
	if _, ok := m.AppendTemporary(nil, wire.AOR{User: strings.Repeat("u", maxUser+1), Host: "example.org"}, instance, 1, 1); ok {
		t.Error("the length of a name shows")
	}
}

// What we have not made leads nowhere, whoever made it: RFC 5627, 6.1.
func TestForged(t *testing.T) {
	m := maker(t, 1)
	for _, text := range []string{public(m, alice, instance), temporary(t, m, alice, instance, 1, 1)} {
		if _, ok := open(t, maker(t, 2), text); ok {
			t.Errorf("%s was opened with another key", text)
		}
		if _, ok := open(t, m, strings.Replace(text, "@example.org", "@example.net", 1)); ok {
			t.Errorf("%s is good in another domain", text)
		}
		from, to := len("sip:"), strings.Index(text, "@")
		if i := strings.Index(text, ";gr="); i >= 0 {
			from, to = i+4, len(text)
		}
		for i := from; i < to; i++ {
			letter := "a"
			if text[i] == 'a' {
				letter = "b"
			}
			if _, ok := open(t, m, text[:i]+letter+text[i+1:]); ok {
				t.Errorf("letter %d of %s means nothing", i, text)
			}
		}
	}
	// A phone's GRUU with the name of somebody else is not that one's.
	if _, ok := open(t, m, strings.Replace(public(m, alice, instance), "alice", "bob", 1)); ok {
		t.Error("alice's GRUU is good for bob")
	}
}

// NIST SP 800-38B, D.1: AES-128.
func TestCMAC(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	k, err := newKeyed(unhex("2b7e151628aed2a6abf7158809cf4f3c"))
	if err != nil {
		t.Fatal(err)
	}
	text := unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for size, want := range map[int]string{0: "bb1d6929e95937287fa37d129b756746", 16: "070a16b46b4d4144f79bdd9dd04a287c", 40: "dfa66747de9ae63030ca32611497c827", 64: "51f0bebf7e3b9d92fc49741779363cfe"} {
		k.text = text[:size]
		if k.cmac(); hex.EncodeToString(k.sum[:]) != want {
			t.Errorf("%d bytes: %x, want %s", size, k.sum, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	m := maker(f, 1)
	f.Add("alice", public(m, alice, instance))
	f.Add(strings.Repeat("A", wire.UserText.EncodedLen(sealedSize)), "sip:x@example.org;gr")
	f.Fuzz(func(t *testing.T, user, text string) {
		u, err := wire.ParseURI(text)
		if err != nil {
			return
		}
		if got, ok := m.Open(u, wire.AOR{User: user, Host: "example.org"}); ok && got.AOR.User != user {
			t.Errorf("%q of %q leads to %q", text, user, got.AOR.User) // temporary ones cannot be guessed
		}
	})
}

func BenchmarkMake(b *testing.B) {
	m := maker(b, 1)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = m.AppendParams(buf[:0], alice, instance, 1, 2)
	}
}

func BenchmarkOpen(b *testing.B) {
	m := maker(b, 1)
	u, _ := wire.ParseURI(public(m, alice, instance))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := m.Open(u, alice); !ok {
			b.Fatal("not opened")
		}
	}
}
