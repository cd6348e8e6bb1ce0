package location

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"signalbox/internal/wire"
)

// sameTimes compares times to the millisecond, and addresses by value.
var sameTimes = cmp.Options{
	cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() < time.Millisecond }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func samples() map[string][]Binding {
	full := contact("sip:alice@192.0.2.7:5062;transport=tcp;ob", time.Hour)
	full.Behind, full.Path, full.Q = true, []string{"<sip:p1.example.org;lr>", "<sip:p2.example.org;lr;ob>"}, 500
	full.Flow = wire.FlowID{Proto: wire.TLS, Local: netip.MustParseAddrPort("[2001:db8::1]:5061"), Remote: netip.MustParseAddrPort("[fe80::7%eth0]:40000"), Serial: 1<<64 - 1}
	full.CSeq, full.RegID, full.Epoch, full.Lost = 1<<32-1, 1<<31-1, 1<<32-1, full.Updated.Add(time.Minute)
	full.EpochCSeq = 1<<32 - 1
	full.Session = 1<<32 - 1
	full.Device, full.Certified = wire.AOR{User: "tv", Host: "example.org"}, true
	odd := contact("sip:odd@192.0.2.7", time.Minute)
	odd.InstanceID = "not in the parameters"
	return map[string][]Binding{
		"none":          nil,
		"empty":         {{Expires: time.Now().Add(time.Hour), Created: time.Now(), Updated: time.Now()}},
		"ordinary":      {contact("sip:alice@192.0.2.7", time.Hour)},
		"full":          {full},
		"three":         {full, odd, contact("tel:+4930123456", 1000*time.Hour)},
		"not parseable": {contact("sip:[::1", time.Hour)},
		"hardening 70":  {contact("sip:%27%20OR%201=1--@192.0.2.7", time.Hour), contact(`"; DROP TABLE binding;--`, time.Hour), contact("a\x00b\r\n\xff", time.Hour)},
	}
}

func TestRecordRoundTrip(t *testing.T) {
	c := newClock()
	for name, bs := range samples() {
		rec := string(appendRecord(nil, c, bs))
		got, err := decodeRecord(nil, c, rec)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(bs, got, sameTimes); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if again := string(appendRecord(nil, c, got)); again != rec {
			t.Errorf("%s: the same bindings give other bytes", name)
		}
		for i := 1; i < len(rec); i++ {
			if _, err := decodeRecord(nil, c, rec[:i]); err == nil {
				t.Errorf("%s: read from its first %d bytes", name, i)
			}
		}
	}
}

func TestRecordIsSmall(t *testing.T) {
	rec := appendRecord(nil, newClock(), []Binding{contact("sip:alice@192.0.2.7:5062;ob", time.Hour)})
	if len(rec) > 220 {
		t.Errorf("an ordinary binding takes %d bytes", len(rec))
	}
}

// A database may be damaged, or made by somebody else.
func FuzzRecord(f *testing.F) {
	c := newClock()
	for _, bs := range samples() {
		f.Add(string(appendRecord(nil, c, bs)))
	}
	f.Fuzz(func(t *testing.T, rec string) {
		bs, err := decodeRecord(nil, c, rec)
		if err != nil {
			return
		}
		again, err := decodeRecord(nil, c, string(appendRecord(nil, c, bs)))
		if err != nil {
			t.Fatal(err)
		}
		if len(again) != len(bs) {
			t.Fatalf("%d bindings became %d", len(bs), len(again))
		}
	})
}

func FuzzSegment(f *testing.F) {
	c := newClock()
	var b batch
	b.reset(0)
	for _, bs := range samples() {
		b.add(&entry{aor: alice}, &state{rec: string(appendRecord(nil, c, bs))})
	}
	f.Add(string(b.data))
	f.Add("\x01\x00")
	f.Fuzz(func(t *testing.T, data string) {
		s, err := load(&memStore{segs: []memSegment{{1, data}}}, Config{})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Error("an error of several lines")
			}
			return
		}
		n := 0
		for _, bs := range s.All {
			n += len(bs)
		}
		if n > s.Len() {
			t.Errorf("%d bindings, Len says %d", n, s.Len())
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	c, bs := newClock(), []Binding{contact("sip:alice@192.0.2.7:5062;ob", time.Hour)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendRecord(buf[:0], c, bs)
	}
}

func BenchmarkDecode(b *testing.B) {
	c := newClock()
	rec := string(appendRecord(nil, c, []Binding{contact("sip:alice@192.0.2.7:5062;ob", time.Hour)}))
	var bs []Binding
	b.ReportAllocs()
	for b.Loop() {
		bs, _ = decodeRecord(bs[:0], c, rec)
	}
}
