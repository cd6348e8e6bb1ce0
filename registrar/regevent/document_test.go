package regevent

import (
	"encoding/xml"
	"testing"
	"time"
	"unicode/utf8"

	"signalbox/internal/wire"
	"signalbox/location"
)

// FuzzDocument: whatever a phone got registered, the document is well-formed, in UTF-8, and says nothing else.
func FuzzDocument(f *testing.F) {
	f.Add("sip:a@192.0.2.1", `;+sip.instance="<urn:uuid:1>";audio`, "call&<>\"'", 0)
	f.Add("sip:\xff\x00]]>@192.0.2.1", ";x=\"]]>\"", "\ufffe", 7)
	f.Fuzz(func(t *testing.T, contact, params, callID string, q int) {
		if params != "" && params[0] != ';' {
			params = ";" + params
		}
		b := location.Binding{Contact: wire.URI{Raw: contact}, Params: params, CallID: callID, Q: q % 1001, InstanceID: "x"}
		if b.Q < 0 {
			b.Q = -b.Q
		}
		d := document{aor: wire.AOR{User: callID, Host: "example.org"}, state: "active", now: time.Now(), gruus: func(wire.AOR, *location.Binding) GRUU { return GRUU{Public: contact} }}
		text, n := d.write([]change{{id: "1", event: "registered", binding: &b}}, 1)
		var r reginfo
		if err := xml.Unmarshal(text, &r); err != nil || n != 1 || !utf8.Valid(text) || len(r.Registration.Contacts) != 1 {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

func BenchmarkDocument(b *testing.B) {
	one := binding("sip:alice@192.0.2.1:5060", nil)
	one.Params = `;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>";reg-id=1`
	list := []change{{id: contactID(&one), event: "refreshed", binding: &one}}
	d := document{aor: alice, version: 7, state: "active", now: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		d.write(list, maxDatagram)
	}
}

func BenchmarkDifference(b *testing.B) {
	one := binding("sip:alice@192.0.2.1:5060", nil)
	two := one
	two.Updated = two.Updated.Add(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		difference([]location.Binding{one}, []location.Binding{two}, location.Registered, two.Updated)
	}
}

// What every REGISTER pays when nobody watches its address, among ten thousand who are watched.
func BenchmarkChangedUnwatched(b *testing.B) {
	n := &Notifier{}
	n.table.init()
	for i := range 10_000 {
		aor := wire.AOR{User: string(rune(i)), Host: "example.org"}
		if err := n.table.add(&subscription{dialog: dialogID{local: string(rune(i))}, aor: aor, watcher: aor}); err != nil {
			b.Fatal(err)
		}
	}
	list := []location.Binding{binding("sip:alice@192.0.2.1:5060", nil)}
	b.ReportAllocs()
	for b.Loop() {
		n.Changed(alice, list, list, location.Registered)
	}
}
