package proxy

import (
	"net/netip"
	"testing"

	"signalbox/internal/wire"
)

// Of a spiral that was bridged at each pass, a request of the dialog belongs to the pass that it comes to from one of its two sides.
func TestAnchorsOfASpiral(t *testing.T) {
	at := func(addr string) wire.FlowID {
		return wire.FlowID{Proto: wire.UDP, Remote: netip.MustParseAddrPort(addr)}
	}
	eve, pbx, carol := at("192.0.2.9:4000"), at("192.0.2.20:5060"), at("192.0.2.3:4000")
	pass := func(from, to wire.FlowID) *anchored {
		return &anchored{key: anchorKey{"call", "eve"}, from: from, callee: party{at: leg{flow: to}}}
	}
	var all anchors
	first, second := pass(eve, pbx), pass(pbx, carol)
	if !all.add(first) || !all.add(second) {
		t.Fatal("a spiral is not bridged twice")
	}
	request := func(from, to string) *wire.Request {
		req := wire.NewRequest("INFO", uri("sip:bob@example.org"))
		req.CallID, req.From.Tag, req.To.Tag = "call", from, to
		return req
	}
	for _, tt := range []struct {
		from, to   string
		flow       wire.FlowID
		want       *anchored
		fromCaller bool
	}{
		{"eve", "carol", eve, first, true}, {"eve", "carol", pbx, second, true}, {"carol", "eve", carol, second, false}, {"carol", "eve", pbx, first, false},
		{"eve", "carol", at("192.0.2.77:1"), second, true}, {"carol", "dave", carol, nil, false},
	} {
		if got, fromCaller := all.find(request(tt.from, tt.to), tt.flow); got != tt.want || fromCaller != tt.fromCaller {
			t.Errorf("%s to %s over %s: %p, %v", tt.from, tt.to, tt.flow.Remote, got, fromCaller)
		}
	}
	for range maxPasses - 2 {
		all.add(pass(pbx, pbx))
	}
	if all.add(pass(pbx, pbx)) {
		t.Error("there is no end to it")
	}
	for _, a := range all.passes(first.key) {
		all.remove(a)
		all.remove(a)
	}
	if len(all.m) != 0 || all.n.Load() != 0 {
		t.Errorf("%d dialogs, %d bridges are left", len(all.m), all.n.Load())
	}
}
