package console

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// bindAt registers a contact with parameters, from an address, on a device or none.
func bindAt(t *testing.T, d *Desk, user, contact, params, instance, from string, device wire.AOR) {
	t.Helper()
	uri, err := wire.ParseURI(contact)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	err = d.change(t.Context(), wire.AOR{User: user, Host: "example.org"}, "", func(have []location.Binding) ([]location.Binding, error) {
		return append(have[:len(have):len(have)], location.Binding{
			Contact: uri, Params: params, InstanceID: instance, Q: 1000, CallID: "c", Created: now, Updated: now, Expires: now.Add(time.Hour), Device: device,
			Flow: wire.FlowID{Proto: wire.UDP, Remote: netip.MustParseAddrPort(from)},
		}), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sortWords sorts the words of each string: the order is another test's.
func sortWords(list []string) {
	for i, s := range list {
		sep := " "
		if strings.Contains(s, ",") {
			sep = ", "
		}
		words := strings.Split(s, sep)
		slices.Sort(words)
		list[i] = strings.Join(words, sep)
	}
}

func namesOf[T any](list []T, name func(T) string) []string {
	got := []string{}
	for _, one := range list {
		got = append(got, name(one))
	}
	return got
}

// Devices, applications and logins by user, device, capability and address: the desk and its client answer alike. Names are compared whole.
func TestQueries(t *testing.T) {
	d := newDesk(t)
	tv := wire.AOR{User: "tv", Host: "example.org"}
	for _, user := range []string{"alice", "alice2", "bob"} {
		if err := d.Add(t.Context(), cred(user+"@example.org")); err != nil {
			t.Fatal(err)
		}
	}
	c := cred("tv@example.org")
	if err := d.DeviceAdd(t.Context(), NewDevice{Device: "tv", Kind: "tv", Instance: "urn:tv", MD5: c.MD5, SHA256: c.SHA256}); err != nil {
		t.Fatal(err)
	}
	bindAt(t, d, "tv", "sip:tv@192.0.2.10", `;audio;video="TRUE";+sip.instance="<urn:tv>"`, "<urn:tv>", "192.0.2.10:5060", wire.AOR{})
	bindAt(t, d, "alice", "sip:tv@192.0.2.10", `;audio;+sip.instance="<urn:tv>"`, "<urn:tv>", "192.0.2.10:5060", tv)
	bindAt(t, d, "alice", "sip:alice@192.0.2.1", `;audio;text="FALSE";methods="INVITE,MESSAGE";+sip.instance="<urn:a>"`, "<urn:a>", "192.0.2.1:5060", wire.AOR{})
	bindAt(t, d, "alice2", "sip:x@198.51.100.1", "", "", "198.51.100.1:5060", wire.AOR{})
	if err := d.Devices.(*database.Devices).WriteLogins(t.Context(), []database.Login{{User: wire.AOR{User: "alice", Host: "example.org"}, Device: tv, Method: "own", Start: time.Now()}}, nil); err != nil {
		t.Fatal(err)
	}
	type both interface {
		operations
		DeviceList(ctx context.Context, q Query) ([]Device, error)
		AppList(ctx context.Context, q Query) ([]App, error)
		LoginList(ctx context.Context, q Query) ([]Login, error)
	}
	for name, at := range map[string]both{"desk": d, "client": newClient(t, Handler(d, &fakeServer{}))} {
		for _, test := range []struct {
			query                 Query
			devices, apps, logins string
		}{
			{Query{}, "tv alice/urn:a alice2/sip:x@198.51.100.1", "alice/urn:a alice/urn:tv tv/urn:tv", "alice on tv, alice on alice/urn:a, alice2 on alice2/sip:x@198.51.100.1"},
			{Query{User: "alice"}, "tv alice/urn:a", "alice/urn:a alice/urn:tv", "alice on tv, alice on alice/urn:a"},
			{Query{User: "bob"}, "", "", ""},
			{Query{Device: "tv"}, "tv", "alice/urn:tv tv/urn:tv", "alice on tv"},
			{Query{Device: "t"}, "", "", ""},
			{Query{Device: "alice@example.org/urn:a"}, "alice/urn:a", "alice/urn:a", "alice on alice/urn:a"},
			{Query{Capability: "video"}, "tv", "tv/urn:tv", ""},
			{Query{Capability: "VIDEO=true"}, "tv", "tv/urn:tv", ""},
			{Query{Capability: "text"}, "", "", ""},
			{Query{Capability: "methods=message"}, "alice/urn:a", "alice/urn:a", "alice on alice/urn:a"},
			{Query{Capability: "methods=mess"}, "", "", ""},
			{Query{Address: "198.51.100.0/24"}, "alice2/sip:x@198.51.100.1", "", "alice2 on alice2/sip:x@198.51.100.1"},
			{Query{Address: "192.0.2.10", User: "alice"}, "tv", "alice/urn:tv", "alice on tv"},
		} {
			devices, err1 := at.DeviceList(t.Context(), test.query)
			apps, err2 := at.AppList(t.Context(), test.query)
			logins, err3 := at.LoginList(t.Context(), test.query)
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Error(err)
			}
			got := []string{
				strings.Join(namesOf(devices, func(d Device) string { return d.Device }), " "),
				strings.Join(namesOf(apps, func(a App) string { return a.Owner + "/" + a.Instance }), " "),
				strings.Join(namesOf(logins, func(l Login) string { return l.User + " on " + l.Device }), ", "),
			}
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], "@example.org", "")
			}
			want := []string{test.devices, test.apps, test.logins}
			sortWords(got)
			sortWords(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %+v: %s", name, test.query, diff)
			}
		}
		if _, err := at.AppList(t.Context(), Query{Address: "here"}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who is removed leaves nothing that somebody of the same name would inherit.
func TestRemovedUserLeavesNoGrant(t *testing.T) {
	d := newDesk(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(d.Add(t.Context(), cred("alice@example.org")))
	must(d.DeviceAdd(t.Context(), NewDevice{Device: "tv", Kind: "tv", Certificate: "ca"}))
	must(d.DeviceGrant(t.Context(), "tv", "alice", time.Time{}))
	start := time.Now().Add(time.Hour)
	must(d.LoginAdd(t.Context(), NewLogin{User: "alice", Device: "tv", Start: &start}))
	must(d.Remove(t.Context(), "alice"))
	must(d.Add(t.Context(), cred("alice@example.org")))
	tv, err := d.DeviceShow(t.Context(), "tv")
	if must(err); len(tv.Grants) != 0 || len(tv.Users) != 0 {
		t.Errorf("grants %v, users %v", tv.Grants, tv.Users)
	}
}

// What bad input gets from the API.
func TestDeviceAPIErrors(t *testing.T) {
	d := newDesk(t)
	if err := d.Add(t.Context(), cred("alice@example.org")); err != nil {
		t.Fatal(err)
	}
	h := Handler(d, &fakeServer{})
	for _, test := range []struct {
		method, path, body string
		code               int
	}{
		{"POST", "/v1/devices", `{"device":"door","kind":"iot","certificate":"ca"}`, 201},
		{"POST", "/v1/devices", `{"device":"door","kind":"iot","certificate":"ca"}`, 409},
		{"POST", "/v1/devices", `{"device":"alice","kind":"iot","certificate":"ca"}`, 409}, // an account has that name
		{"POST", "/v1/devices", `{"device":"gate","kind":"iot"}`, 400},                     // without any credential
		{"POST", "/v1/devices", `{"device":"gate","kind":"iot","certificate":"0a"}`, 400},
		{"POST", "/v1/devices", `{"device":"gate","kind":"\u001b","certificate":"ca"}`, 400},
		{"POST", "/v1/devices", `{"device":"gate@example.net","kind":"iot","certificate":"ca"}`, 400},
		{"POST", "/v1/devices", `{"devise":"gate"}`, 400},
		{"POST", "/v1/devices", `{"device":"` + strings.Repeat("x", maxBody) + `"}`, 413},
		{"GET", "/v1/devices/doo", "", 404},
		{"PUT", "/v1/devices/door/grants/alice?until=tomorrow", "", 400},
		{"PUT", "/v1/devices/door/grants/bob", "", 404},
		{"PUT", "/v1/devices/door/grants/alice", "", 204},
		{"DELETE", "/v1/devices/door/grants/alice", "", 204},
		{"DELETE", "/v1/devices/door/grants/alice", "", 404},
		{"POST", "/v1/logins", `{"user":"alice","device":"door"}`, 409}, // offline
		{"POST", "/v1/logins", `{"user":"alice","device":"door","start":"2040-01-01T00:00:00Z","end":"2040-01-01T00:00:00Z"}`, 400},
		{"POST", "/v1/logins", `{"user":"alice","device":"gate"}`, 404},
		{"POST", "/v1/logins", `{"user":"alice","device":"door","start":"2040-01-01T00:00:00Z"}`, 201},
		{"DELETE", "/v1/logins?user=alice&device=door", "", 204},
		{"DELETE", "/v1/logins?user=alice&device=door", "", 404},
		{"POST", "/v1/apps", `{"owner":"alice","contact":"sip:a@192.0.2.7","instance":"urn:x","features":"a\"b","expires":60}`, 400},
		{"POST", "/v1/apps", `{"owner":"alice","contact":"tel:1","instance":"urn:x","expires":60}`, 400},
		{"POST", "/v1/apps", `{"owner":"alice","contact":"sip:a@192.0.2.7","instance":"urn:x","expires":0}`, 400},
		{"DELETE", "/v1/apps/nothing", "", 404},
		{"DELETE", "/v1/devices/door", "", 204},
		{"DELETE", "/v1/devices/door", "", 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, test.path, strings.NewReader(test.body)))
		if w.Code != test.code {
			t.Errorf("%s %s %.60s: %d %s, want %d", test.method, test.path, test.body, w.Code, w.Body, test.code)
		}
		if w.Code >= http.StatusBadRequest && !strings.Contains(w.Body.String(), `"error"`) {
			t.Errorf("%s %s: no reason: %s", test.method, test.path, w.Body)
		}
	}
}

// FuzzCapabilities: parameters are what phones sent.
func FuzzCapabilities(f *testing.F) {
	f.Add(`;audio;video="TRUE,FALSE";+sip.x="<a;b>";q=1;+sip.instance="<urn:a>"`, "video")
	f.Add(`;a="\";";b`, `a="x"`)
	f.Fuzz(func(t *testing.T, params, wanted string) {
		list := capabilities(params)
		for _, one := range list {
			if !strings.Contains(params, one) {
				t.Errorf("%q is not in %q", one, params)
			}
		}
		hasCapability(list, wanted)
	})
}
