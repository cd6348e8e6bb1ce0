package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
	"signalbox/location"
)

func features(t testing.TB, params string) featureSet {
	t.Helper()
	set, err := parseFeatures(params, maxCapabilities, nil)
	if err != nil {
		t.Fatalf("%q: %v", params, err)
	}
	return set
}

// RFC 3841, 7.2.4 and 8; RFC 3840, 5 and 9: which features fit together.
func TestFeaturesMatch(t *testing.T) {
	for _, tt := range []struct {
		contact, wish string
		match         bool
	}{
		{`;audio`, `;audio`, true},
		{`;audio`, `;audio="TRUE"`, true},
		{`;audio="FALSE"`, `;audio`, false},
		{`;audio`, `;video`, true}, // nothing is known
		{`;AUDIO;methods="invite,BYE"`, `;methods="BYE,OPTIONS"`, true},
		{`;methods="INVITE,BYE"`, `;methods="OPTIONS"`, false},
		{`;language="en,de"`, `;language="!en"`, true},
		{`;language="en"`, `;language="!en"`, false},
		{`;language="!en"`, `;language="!de"`, true},
		{`;language="!en"`, `;language="EN"`, false},
		{`;description="<PC>"`, `;description="<PC>"`, true},
		{`;description="<PC>"`, `;description="<pc>"`, false}, // strings are compared with case
		{`;description="<PC>"`, `;description="PC"`, false},
		{`;priority="#5"`, `;priority="#5"`, true},
		{`;priority="#=5"`, `;priority="#>=4"`, true},
		{`;priority="#=5"`, `;priority="#<=4.5"`, false},
		{`;+rangeparam="#-4:+5.125"`, `;+rangeparam="#5:9"`, true},
		{`;+rangeparam="#-4:+5.125"`, `;+rangeparam="#5.2:9"`, false},
		{`;+rangeparam="#1:9"`, `;+rangeparam="!#0:10"`, false},
		{`;+rangeparam="#1:11"`, `;+rangeparam="!#0:10"`, true},
		{`;+rangeparam="#1:9"`, `;+rangeparam="1"`, false},
		{`;+sip.instance="<urn:uuid:1>"`, `;+sip.instance="<urn:uuid:1>"`, true},
		{`;+sip.instance="<urn:uuid:1>"`, `;+sip.instance="<urn:uuid:2>"`, false},
		{`;video;+video="FALSE"`, `;video`, true}, // RFC 3841, 7.2.3 step 3
		{`;other="x"`, `;other="y"`, true},        // no feature
	} {
		if got := features(t, tt.wish).matches(features(t, tt.contact)); got != tt.match {
			t.Errorf("contact %s, wish %s: %v", tt.contact, tt.wish, got)
		}
	}
}

// The worked example of RFC 3841, 7.2.5.
func TestCallerPreferencesExample(t *testing.T) {
	wish := func(params string, require, explicit bool) preference {
		return preference{features(t, params), require, explicit}
	}
	reject := []preference{wish(`;actor="msg-taker";video`, false, false)}
	accept := []preference{wish(";audio", true, false), wish(";video", false, true), wish(`;methods="BYE";class="business"`, false, false)}
	got := map[string]string{}
	for name, params := range map[string]string{
		"u1": `;audio;video;methods="INVITE,BYE"`, "u2": `;audio="FALSE";methods="INVITE";actor="msg-taker"`,
		"u3": `;audio;actor="msg-taker";methods="INVITE";video`, "u4": `;audio;methods="INVITE,OPTIONS"`, "u5": "",
	} {
		score, wanted := judge(&target{binding: &location.Binding{Params: params}}, accept, reject)
		got[name] = fmt.Sprint(score, wanted)
	}
	if diff := cmp.Diff(map[string]string{"u1": "833 true", "u2": "0 false", "u3": "0 false", "u4": "500 true", "u5": "1000 true"}, got); diff != "" {
		t.Error(diff)
	}
}

// can adds feature tags to a binding.
func can(params string) func(*location.Binding) {
	return func(b *location.Binding) { b.Params += params }
}

// reached tells which of bob's phones a request with these lines reaches: those together that ring together, in order; or the answer.
func reached(t *testing.T, method string, lines []string, phones ...func(*location.Binding)) (order string) {
	t.Helper()
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		w.users["bob"] = true
		var bobs []*phone
		for i, change := range phones {
			p := w.phone(fmt.Sprintf("b%d", i+1), fmt.Sprintf("192.0.2.%d:5060", 11+i), wire.UDP)
			bobs = append(bobs, p)
			w.bind("bob", p, change)
		}
		alice.sends(method, "sip:bob@example.org", lines...)
		for range 10 {
			var names []string
			ringing := map[*phone]*wire.Request{}
			for _, p := range bobs {
				if len(p.inbox) > 0 {
					ringing[p] = p.hearsRequest(method)
					names = append(names, p.name)
				}
			}
			if names == nil {
				break
			}
			for p, req := range ringing {
				p.answers(req, 480)
				p.inbox = slices.DeleteFunc(p.inbox, func(l letter) bool { return strings.HasPrefix(l.text, "ACK") })
			}
			order += strings.Join(names, "+") + " "
		}
		for len(alice.inbox) > 0 {
			res := alice.hearsResponse("")
			if order == "" {
				order = fmt.Sprint(res.StatusCode)
			}
		}
	})
	return strings.TrimSpace(order)
}

// RFC 3841, 7.2, 7.2.1, 7.2.3 and 9.1; RFC 3840, 10: who is called, and in which order.
func TestCallerPreferences(t *testing.T) {
	audio, video, phone, dumb := can(";audio"), can(";audio;video"), can(`;audio;methods="INVITE,BYE"`), can("")
	low := func(b *location.Binding) { b.Q, b.Params = 100, ";audio;video" }
	for _, tt := range []struct {
		lines  []string
		method string
		phones []func(*location.Binding)
		want   string
	}{
		{nil, "INVITE", []func(*location.Binding){audio, video, dumb}, "b1+b2+b3"},
		{[]string{"Accept-Contact: *;video;require;explicit"}, "INVITE", []func(*location.Binding){audio, video}, "b2"},
		{[]string{"Accept-Contact: *;video;require;explicit"}, "INVITE", []func(*location.Binding){audio, video, dumb}, "b2+b3"}, // who says nothing is immune
		{[]string{"Accept-Contact: *;video;require"}, "INVITE", []func(*location.Binding){audio, video}, "b2 b1"},
		// RFC 3841, 9.2: the compact names.
		{[]string{"a: *;video"}, "INVITE", []func(*location.Binding){audio, video}, "b2 b1"},
		{[]string{"Accept-Contact: *;video;explicit"}, "INVITE", []func(*location.Binding){audio, video}, "b2 b1"},
		{[]string{"Accept-Contact: *;video"}, "INVITE", []func(*location.Binding){audio, low}, "b1 b2"}, // the callee's q is above all
		{[]string{`Accept-Contact: *;video="FALSE";require`}, "INVITE", []func(*location.Binding){audio, video}, "b1"},
		{[]string{`Accept-Contact: *;+sip.instance="<urn:uuid:9>";require;explicit`}, "INVITE", []func(*location.Binding){audio, video}, "480"},
		{[]string{"Accept-Contact: *;audio;require", "Accept-Contact: *;video;require;explicit"}, "MESSAGE", []func(*location.Binding){audio, video}, "b2"},
		{[]string{"Reject-Contact: *;video"}, "INVITE", []func(*location.Binding){audio, video, dumb}, "b1+b3"},
		{[]string{"j: *;video;audio"}, "INVITE", []func(*location.Binding){audio, video}, "b1"},
		{[]string{"Reject-Contact: *"}, "INVITE", []func(*location.Binding){audio, video}, "b1+b2"},
		{[]string{"Reject-Contact: *;audio"}, "INVITE", []func(*location.Binding){audio, video}, "480"},
		// RFC 3841, 7.2.2: a phone that lists its methods gets no other, unless nobody would be left.
		{nil, "MESSAGE", []func(*location.Binding){phone, audio}, "b2"},
		{nil, "INVITE", []func(*location.Binding){phone, audio}, "b1+b2"},
		{nil, "MESSAGE", []func(*location.Binding){phone}, "b1"},
		{[]string{"Accept-Contact: *;audio"}, "MESSAGE", []func(*location.Binding){phone, audio}, "b1+b2"}, // explicit ones are instead
		{[]string{"Event: presence;id=1"}, "SUBSCRIBE", []func(*location.Binding){can(`;events="dialog"`), can(`;events="presence"`)}, "b2"},
		// RFC 3841, 9.1
		{[]string{"Request-Disposition: no-fork"}, "INVITE", []func(*location.Binding){low, audio, video}, "b2"},
		{[]string{"d: sequential"}, "INVITE", []func(*location.Binding){audio, video, dumb}, "b1 b2 b3"},
		// RFC 3841, 7.1: what we have no use for, recurse and queue, gets in nobody's way.
		{[]string{"Request-Disposition: queue, no-recurse"}, "INVITE", []func(*location.Binding){audio, video}, "b1+b2"},
		{[]string{"Request-Disposition: proxy, PARALLEL , recurse"}, "INVITE", []func(*location.Binding){low, audio}, "b1+b2"},
		{[]string{"Request-Disposition: redirect"}, "INVITE", []func(*location.Binding){audio}, "b1"}, // has no GRUU
		// RFC 3841, 5
		{[]string{"Proxy-Require: pref", "Accept-Contact: *;video"}, "INVITE", []func(*location.Binding){audio, video}, "b2 b1"},
		{[]string{"Proxy-Require: pref, x"}, "INVITE", []func(*location.Binding){audio}, "420"},
		// Bad input, and too much of it: RFC 3841, 11
		{[]string{"Accept-Contact: sip:bob@example.org"}, "INVITE", []func(*location.Binding){audio}, "400"},
		{[]string{"Reject-Contact: *;=x"}, "INVITE", []func(*location.Binding){audio}, "400"},
		{[]string{"Accept-Contact: *" + strings.Repeat(", *;audio", 20)}, "INVITE", []func(*location.Binding){audio}, "403"},
		{[]string{"Accept-Contact: *" + strings.Repeat(", *;audio", 14), "Reject-Contact: *" + strings.Repeat(", *;x", 9)}, "INVITE", []func(*location.Binding){audio}, "403"},
		{[]string{`Accept-Contact: *;language="` + strings.Repeat("en,", 40) + `de"`}, "INVITE", []func(*location.Binding){audio}, "403"},
	} {
		if got := reached(t, tt.method, tt.lines, tt.phones...); got != tt.want {
			t.Errorf("%s with %q reaches %q, want %q", tt.method, tt.lines, got, tt.want)
		}
	}
}

// RFC 3841, 9.1: no-cancel lets the others ring on after a 2xx, and their 2xx come through.
func TestNoCancel(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		desk := w.phone("desk", "192.0.2.3:5060", wire.UDP)
		w.bind("bob", desk)
		alice.invites("sip:bob@example.org", "Request-Disposition: no-cancel")
		bob.answers(bob.hearsRequest("INVITE"), 200)
		alice.hears("200")
		req := desk.hearsRequest("INVITE")
		desk.hearsNothing()
		desk.answers(req, 200)
		alice.hears("200")
	})
}

// RFC 3841, 9.1: who asks for the addresses gets them, as GRUUs; a stranger does not.
func TestRedirect(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP, flowOf(urn1, 1, 0))
		desk := w.phone("desk", "192.0.2.3:5060", wire.UDP)
		w.bind("bob", desk, flowOf(urn2, 1, 0), q(300))
		alice.sends("INVITE", "sip:bob@example.org", "Request-Disposition: redirect")
		res := alice.hearsResponse("302")
		want := []string{"<" + w.public("bob", urn1) + ">;q=1.0", "<" + w.public("bob", urn2) + ">;q=0.900"}
		if diff := cmp.Diff(want, wire.List(res, "Contact")); diff != "" {
			t.Error(diff)
		}
		// RFC 5627, 6.1: a GRUU is not redirected.
		alice.sends("MESSAGE", w.public("bob", urn1), "Request-Disposition: redirect")
		bob.answers(bob.hearsRequest("MESSAGE"), 200)
		alice.hears("200")
		mallory := w.phone("mallory", "198.51.100.66:5060", wire.UDP)
		mallory.sends("MESSAGE", "sip:bob@example.org", "Request-Disposition: redirect, no-fork")
		bob.answers(bob.hearsRequest("MESSAGE"), 200)
		mallory.hears("200")
	}, func(c *Config) { c.Inbound = Any })
}

func FuzzFeatures(f *testing.F) {
	for _, s := range []string{`;audio;video="TRUE"`, `;methods="INVITE,BYE"`, `;+rangeparam="#-4:+5.125"`, `;language="!en,de"`, `;description="<PC>"`, `;x="#=` + strings.Repeat("9", 400) + `"`} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err := parseFeatures(a, maxValues, nil)
		if err != nil {
			return
		}
		y, err := parseFeatures(b, maxCapabilities, nil)
		if err != nil {
			return
		}
		if x.matches(y) != y.matches(x) {
			t.Errorf("%q fits %q in one direction only", a, b)
		}
		if !x.matches(x) && !strings.Contains(a, "#") { // an empty range fits nothing
			t.Errorf("%q does not fit itself", a)
		}
		if n := x.known(y); n > len(x) {
			t.Errorf("%d of %d", n, len(x))
		}
	})
}
