package icelite

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/pion/stun/v3"
)

const (
	ufrag = "abcd1234"
	pwd   = "0123456789012345678901"
)

// check is a connectivity check as pion makes it.
func check(t testing.TB, password string, more ...stun.Setter) []byte {
	t.Helper()
	set := append([]stun.Setter{stun.BindingRequest, stun.TransactionID, stun.NewUsername(ufrag + ":peer"), raw{stun.AttrPriority, []byte{1, 2, 3, 4}}}, more...)
	set = append(set, stun.NewShortTermIntegrity(password), stun.Fingerprint)
	m, err := stun.Build(set...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

type raw struct {
	kind  stun.AttrType
	value []byte
}

func (r raw) AddTo(m *stun.Message) error { m.Add(r.kind, r.value); return nil }

var (
	controlling = raw{stun.AttrICEControlling, make([]byte, 8)}
	controlled  = raw{stun.AttrICEControlled, make([]byte, 8)}
	nominating  = raw{stun.AttrUseCandidate, nil}
)

// RFC 8445, 7.3 and 7.3.1.5: a check is answered to who knows the password, and may nominate. RFC 8445, 2.5: no more is asked of us. RFC 8445, 7.2.2: our fragment stands first in USERNAME
// (RFC 8489, 14.3), our password makes MESSAGE-INTEGRITY (RFC 8489, 14.5).
func TestCheck(t *testing.T) {
	b := check(t, pwd, controlling, nominating)
	c, ok := Parse(b)
	if !ok || string(c.Ufrag()) != ufrag || !c.Nominates || c.Conflict() || !c.Authentic(pwd) {
		t.Fatalf("%+v, %v", c, ok)
	}
	if c.Authentic(pwd + "x") {
		t.Error("a wrong password is right")
	}
	for _, from := range []string{"192.0.2.7:4000", "[2001:db8::7]:4000"} {
		var m stun.Message
		if err := stun.Decode(c.AppendSuccess([]byte("head"), netip.MustParseAddrPort(from), pwd)[4:], &m); err != nil {
			t.Fatal(err)
		}
		var got stun.XORMappedAddress
		if err := got.GetFrom(&m); err != nil || netip.MustParseAddrPort(got.String()) != netip.MustParseAddrPort(from) {
			t.Errorf("mapped %v, %v; want %s", got, err, from)
		}
		if err := stun.NewShortTermIntegrity(pwd).Check(&m); err != nil {
			t.Error(err)
		}
		if err := stun.Fingerprint.Check(&m); err != nil {
			t.Error(err)
		}
		if m.Type != stun.BindingSuccess || !bytes.Equal(m.TransactionID[:], b[8:20]) {
			t.Errorf("%v", m.Type)
		}
	}
}

// RFC 8445, 7.3.1.1: who claims to be controlled by a lite agent is told 487.
func TestRoleConflict(t *testing.T) {
	c, ok := Parse(check(t, pwd, controlled))
	if !ok || !c.Conflict() {
		t.Fatal("no conflict")
	}
	var m stun.Message
	if err := stun.Decode(c.AppendConflict(nil, pwd), &m); err != nil {
		t.Fatal(err)
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(&m); err != nil || code.Code != stun.CodeRoleConflict {
		t.Errorf("%v, %v", code, err)
	}
	if err := stun.NewShortTermIntegrity(pwd).Check(&m); err != nil {
		t.Error(err)
	}
}

// hardening 63: attribute lengths that lie, truncation at every byte, attributes twice, what must be understood and is not (RFC 8489, 18.3; RFC 8445, 16.1); nothing without proof (RFC 8489, 14.5).
func TestMalformed(t *testing.T) {
	good := check(t, pwd, controlling)
	for i := range good {
		if _, ok := Parse(good[:i]); ok {
			t.Errorf("%d bytes of it pass", i)
		}
	}
	for at := 20; at+4 <= len(good); {
		size := int(good[at+2])<<8 | int(good[at+3])
		for _, lie := range []int{0, 1, size + 4, 65535} {
			b := bytes.Clone(good)
			b[at+2], b[at+3] = byte(lie>>8), byte(lie)
			if c, ok := Parse(b); lie != size && ok && c.Authentic(pwd) {
				t.Errorf("attribute at %d of length %d passes as %d", at, size, lie)
			}
		}
		at += 4 + (size+3)&^3
	}
	for name, b := range map[string][]byte{
		"user name twice": check(t, pwd, stun.NewUsername("x:y")),
		"unknown":         check(t, pwd, raw{0x7fff, []byte{1, 2, 3, 4}}),
		"changed":         append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
	} {
		if _, ok := Parse(b); ok {
			t.Errorf("%s: passes", name)
		}
	}
	without, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(ufrag+":peer"), raw{stun.AttrPriority, make([]byte, 4)}, stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := Parse(without.Raw); ok {
		t.Error("a check without proof passes")
	}
}

func TestCredentials(t *testing.T) {
	u, p := Credentials()
	u2, p2 := Credentials()
	if len(u) < 4 || len(p) < 22 || u == u2 || p == p2 { // RFC 8445, 5.3
		t.Errorf("%q %q, %q %q", u, p, u2, p2)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(check(f, pwd, controlling, nominating))
	f.Add(check(f, pwd, controlled))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := Parse(b)
		if !ok {
			return
		}
		c.Authentic(pwd)
		answer := c.AppendSuccess(nil, netip.MustParseAddrPort("192.0.2.7:4000"), pwd)
		if len(answer) > 3*len(b) {
			t.Errorf("%d bytes are answered with %d", len(b), len(answer))
		}
		var m stun.Message
		if err := stun.Decode(answer, &m); err != nil {
			t.Error(err)
		}
	})
}
