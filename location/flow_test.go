package location

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

// connected is a binding of a phone behind NAT on a TCP connection.
func connected(uri string) Binding {
	b := contact(uri, time.Hour)
	b.Behind, b.RegID = true, 0
	b.Flow = wire.FlowID{Proto: wire.TCP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.7:40000"), Serial: 7}
	return b
}

// RFC 5626, 7: no connection outlives the server, so what it was the only way to is lost when the bindings are loaded; other bindings are not.
func TestRestartLosesConnections(t *testing.T) {
	store := &memStore{}
	s := start(t, store, Config{})
	udp, direct, edge := contact("sip:udp@192.0.2.7", time.Hour), connected("sip:direct@192.0.2.7"), connected("sip:edge@192.0.2.7")
	udp.Behind, direct.Behind, edge.Path = true, false, []string{"<sip:edge.example.org;lr>"}
	flow, source, datagrams := connected("sip:flow@192.0.2.7"), connected("sip:source@192.0.2.7:40000;transport=tcp"), connected("sip:datagrams@192.0.2.7:40000")
	flow.Behind, source.Behind, datagrams.Behind = false, false, false
	flow.InstanceID, flow.RegID = "<urn:uuid:1>", 1
	if _, err := update(t, s, alice, set(connected("sip:tcp@192.0.2.7"), udp, direct, edge, flow, source, datagrams)); err != nil {
		t.Fatal(err)
	}
	stop(t, s)

	s = start(t, store, Config{})
	defer stop(t, s)
	usable := map[string]bool{}
	for _, b := range s.Lookup(alice) {
		usable[b.Contact.User] = b.Usable()
	}
	want := map[string]bool{"tcp": false, "udp": true, "direct": true, "edge": true, "flow": false, "source": false, "datagrams": true}
	if diff := cmp.Diff(want, usable); diff != "" {
		t.Error(diff)
	}
}

// What the first version of the program wrote is read: it had a version of its own, and fewer flags.
func TestOldSegment(t *testing.T) {
	old := contact("sip:alice@192.0.2.7", time.Hour)
	data := binary.AppendVarint([]byte{1}, 0)
	data = appendString(data, alice.User)
	data = appendString(data, alice.Host)
	data = appendString(data, string(appendRecord(nil, newClock(), []Binding{old})))
	s, err := load(&memStore{segs: []memSegment{{1, string(data)}}}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Binding{old}, s.Lookup(alice), sameTimes); diff != "" {
		t.Error(diff)
	}
	data[0] = segmentVersion + 1
	if _, err := load(&memStore{segs: []memSegment{{1, string(data)}}}, Config{}); err == nil {
		t.Error("a segment of a newer version was read")
	}
}
