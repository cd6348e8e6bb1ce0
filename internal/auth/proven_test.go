package auth

import (
	"net/netip"
	"testing"
	"time"

	"signalbox/internal/wire"
)

type noUsers struct{}

func (noUsers) HA1(string, string) (md5, sha256 string, ok bool) { return "", "", false }

// Who has proven himself over HTTP is as old as his proof, and has not moved as long as his flow is where it was.
func TestProven(t *testing.T) {
	v, err := NewVerifier(Config{Users: noUsers{}, Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort("192.0.2.1:50000")
	id := v.Proven("alice", "example.org", at.Addr(), 2*time.Hour)
	if age := v.Age(id); age < 2*time.Hour || age > 3*time.Hour {
		t.Errorf("%v old", age)
	}
	if v.Moved(id, wire.FlowID{Remote: at}) || !v.Moved(id, wire.FlowID{Remote: netip.MustParseAddrPort("198.51.100.1:50000")}) {
		t.Error("moved, or not moved, as it should not")
	}
	if id.User != "alice" || id.Realm != "example.org" || id.Info != "" {
		t.Errorf("%+v", id)
	}
}
