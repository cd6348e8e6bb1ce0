package console

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// withPhones gives a desk the phones that the database knows.
func withPhones(t *testing.T, d *Desk, known ...database.Phone) *database.Journal {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "phones.db"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := db.Journal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(j.Close(context.Background()), db.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, p := range known {
		j.Sighted(p)
	}
	d.Phones = j
	return j
}

// An application that is not registered keeps its address, and is listed by it; when it is removed it is forgotten.
func TestAbsentApplications(t *testing.T) {
	d := newDesk(t)
	for _, user := range []string{"alice", "alice2"} {
		if err := d.Add(t.Context(), cred(user+"@example.org")); err != nil {
			t.Fatal(err)
		}
	}
	first, gone := time.Unix(1_700_000_000, 0), time.Unix(1_700_000_600, 0)
	alice, alice2 := wire.AOR{User: "alice", Host: "example.org"}, wire.AOR{User: "alice2", Host: "example.org"}
	withPhones(t, d,
		database.Phone{AOR: alice, Instance: "<urn:a>", First: first, Gone: gone, Transport: "TLS", Source: "192.0.2.1:5061"},
		database.Phone{AOR: alice, Instance: "<urn:b>", First: first},
		database.Phone{AOR: alice, Contact: "sip:alice@192.0.2.3", First: first, Gone: gone},
		database.Phone{AOR: alice2, Instance: "<urn:a>", First: first, Gone: gone},
	)
	bindAt(t, d, "alice", "sip:alice@192.0.2.2", `;+sip.instance="<urn:b>"`, "<urn:b>", "192.0.2.2:5060", wire.AOR{})
	client := newClient(t, Handler(d, &fakeServer{}))
	list := func(q Query) string {
		t.Helper()
		apps, err := client.AppList(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		list := namesOf(apps, func(a App) string {
			return fmt.Sprintf("%s/%s %t", strings.TrimSuffix(a.Owner, "@example.org"), a.Instance, a.Online)
		})
		slices.Sort(list)
		return strings.Join(list, ", ")
	}
	for _, test := range []struct {
		query Query
		want  string
	}{
		{Query{}, "alice/urn:a false, alice/urn:b true, alice2/urn:a false"},
		{Query{User: "alice"}, "alice/urn:a false, alice/urn:b true"},
		{Query{Device: "alice/urn:a"}, "alice/urn:a false"},
		{Query{Device: "alice"}, ""},
		{Query{Address: "192.0.2.0/24"}, "alice/urn:b true"},
	} {
		if got := list(test.query); got != test.want {
			t.Errorf("%+v: %s, want %s", test.query, got, test.want)
		}
	}
	const name = "alice@example.org/urn:a"
	one, err := client.AppShow(t.Context(), name)
	want := App{App: one.App, Owner: "alice@example.org", Instance: "urn:a", Device: name, Capabilities: []string{}, Since: &gone, Transport: "TLS", Source: "192.0.2.1:5061"}
	if diff := cmp.Diff(want, one); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, name := range []string{one.App, "alice@example.org/urn:b"} {
		if err := client.AppRemove(t.Context(), name); err != nil {
			t.Error(err)
		}
		if err := client.AppRemove(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s again: %v", name, err)
		}
	}
	if got := list(Query{}); got != "alice2/urn:a false" {
		t.Error(got)
	}
}

// What is no URN is no instance. RFC 5626, 4.1
func TestInstances(t *testing.T) {
	d := newDesk(t)
	if err := d.Add(t.Context(), cred("alice@example.org")); err != nil {
		t.Fatal(err)
	}
	n := 0
	for instance, good := range map[string]bool{"urn:uuid:1": true, "<urn:uuid:2>": true, "URN:uuid:3": true, "": false, "foo": false, "urn:": false, `urn:a"b`: false, "urn:a b": false, "<urn:a>>": false} {
		n++
		app := d.AppAdd(t.Context(), NewApp{Owner: "alice", Contact: "sip:a@192.0.2.1:" + strconv.Itoa(6000+n), Instance: instance, Expires: 60})
		device := d.DeviceAdd(t.Context(), NewDevice{Device: "d" + strconv.Itoa(n), Kind: "device", Instance: instance, Certificate: "ca"})
		if (app == nil) != good || (device == nil) != (good || instance == "") {
			t.Errorf("%q: %v, %v", instance, app, device)
		}
	}
}

// A phone that is gone stays a device: offline, since when, where it was. It is removed as one, by its whole name, and with its user.
func TestAbsentPhones(t *testing.T) {
	d := newDesk(t)
	alice, alice2, tv := wire.AOR{User: "alice", Host: "example.org"}, wire.AOR{User: "alice2", Host: "example.org"}, wire.AOR{User: "tv", Host: "example.org"}
	for _, user := range []string{"alice", "alice2"} {
		if err := d.Add(t.Context(), cred(user+"@example.org")); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.DeviceAdd(t.Context(), NewDevice{Device: "tv", Kind: "tv", Instance: "urn:tv", Certificate: "ca"}); err != nil {
		t.Fatal(err)
	}
	first, gone := time.Unix(1_700_000_000, 0), time.Unix(1_700_000_600, 0)
	withPhones(t, d,
		database.Phone{AOR: alice, Instance: "<urn:a>", First: first, Gone: gone, Transport: "TLS", Source: "192.0.2.1:5061", UserAgent: "Desk/1"},
		database.Phone{AOR: alice, Instance: "<urn:b>", First: first},
		database.Phone{AOR: alice, Contact: "sip:alice@192.0.2.3", First: first, Gone: gone},
		database.Phone{AOR: alice2, Instance: "<urn:a>", First: first, Gone: gone},
		database.Phone{AOR: tv, Instance: "<urn:tv>", First: first, Gone: gone},
	)
	bindAt(t, d, "alice", "sip:alice@192.0.2.2", `;+sip.instance="<urn:b>"`, "<urn:b>", "192.0.2.2:5060", wire.AOR{})
	client := newClient(t, Handler(d, &fakeServer{}))
	list := func(q Query) string {
		t.Helper()
		devices, err := client.DeviceList(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(namesOf(devices, func(d Device) string {
			name := strings.ReplaceAll(d.Device, "@example.org", "")
			if !d.Online {
				name = "-" + name
			}
			if d.Since == nil {
				name += "?"
			}
			return name
		}), " ")
	}
	for _, test := range []struct {
		query Query
		want  string
	}{
		{Query{}, "-tv -alice2/urn:a -alice/sip:alice@192.0.2.3 -alice/urn:a alice/urn:b"},
		{Query{User: "alice"}, "-alice/sip:alice@192.0.2.3 -alice/urn:a alice/urn:b"},
		{Query{Device: "alice/urn:a"}, "-alice/urn:a"},
		{Query{Device: "alice@example.org/urn:"}, ""},
		{Query{Device: "alice/sip:alice@192.0.2.3"}, "-alice/sip:alice@192.0.2.3"},
		{Query{Device: "tv"}, "-tv"},
		{Query{Address: "192.0.2.0/24"}, "alice/urn:b"},
	} {
		if got := list(test.query); got != test.want {
			t.Errorf("%+v: %s, want %s", test.query, got, test.want)
		}
	}
	one, err := client.DeviceShow(t.Context(), "alice/urn:a")
	want := Device{Device: "alice@example.org/urn:a", Kind: "phone", Instance: "<urn:a>", Since: &gone, First: &first, Transport: "TLS", Source: "192.0.2.1:5061", UserAgent: "Desk/1", Users: []string{}}
	if diff := cmp.Diff(want, one); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if one, err := client.DeviceShow(t.Context(), "alice/urn:b"); err != nil || one.First == nil || !one.Online {
		t.Errorf("%+v %v", one, err)
	}
	for name, want := range map[string]error{"alice": ErrInvalid, "alice/urn:": ErrNotFound, "bob": ErrNotFound} {
		if _, err := client.DeviceShow(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("show %s: %v, want %v", name, err, want)
		}
		if err := client.DeviceRemove(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("rm %s: %v, want %v", name, err, want)
		}
	}
	// A login that is not there cannot be ended, nor somebody else's; one that is leaves the phone a device.
	for _, user := range []string{"alice", "alice2"} {
		if err := client.LoginRemove(t.Context(), user, "alice/urn:a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("login rm %s: %v", user, err)
		}
	}
	if err := client.LoginRemove(t.Context(), "alice", "alice/urn:b"); err != nil {
		t.Error(err)
	}
	if got := list(Query{Device: "alice/urn:b"}); got != "-alice/urn:b?" { // when it went is the server's to note
		t.Error(got)
	}
	if err := client.DeviceRemove(t.Context(), "alice/urn:a"); err != nil {
		t.Error(err)
	}
	if got := list(Query{User: "alice"}); got != "-alice/sip:alice@192.0.2.3 -alice/urn:b?" {
		t.Error(got)
	}
	if err := client.Remove(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	if got := list(Query{}); got != "-tv -alice2/urn:a" {
		t.Error(got)
	}
	if err := client.DeviceRemove(t.Context(), "tv"); err != nil {
		t.Error(err)
	}
	if got := list(Query{}); got != "-alice2/urn:a" { // the device is not a phone now
		t.Error(got)
	}
}

// What is at a binding whose connection broke: offline since then.
func TestLostPhone(t *testing.T) {
	d := newDesk(t)
	bindAt(t, d, "alice", "sip:alice@192.0.2.2", `;+sip.instance="<urn:b>"`, "<urn:b>", "192.0.2.2:5060", wire.AOR{})
	lost := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	err := d.change(t.Context(), wire.AOR{User: "alice", Host: "example.org"}, location.FlowLost, func(now []location.Binding) ([]location.Binding, error) {
		after := append([]location.Binding(nil), now...)
		after[0].Lost = lost
		return after, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	one, err := d.DeviceShow(t.Context(), "alice/urn:b")
	if err != nil || one.Online || one.Since == nil || !one.Since.Equal(lost) {
		t.Errorf("%+v %v", one, err)
	}
}

func TestCutPhone(t *testing.T) {
	for name, want := range map[string][2]string{
		"tv":                             {"tv", ""},
		"tv@example.org":                 {"tv@example.org", ""},
		"sip:tv@example.org":             {"sip:tv@example.org", ""},
		"alice/urn:x":                    {"alice", "urn:x"},
		"alice@example.org/urn:x":        {"alice@example.org", "urn:x"},
		"alice@example.org/sip:a@b/c":    {"alice@example.org", "sip:a@b/c"},
		"alice/sip:alice@192.0.2.1:5060": {"alice", "sip:alice@192.0.2.1:5060"},
		"":                               {"", ""},
		"/":                              {"", ""},
	} {
		if owner, phone, ok := cutPhone(name); owner != want[0] || phone != want[1] || ok != strings.Contains(name, "/") {
			t.Errorf("%q: %q %q %v", name, owner, phone, ok)
		}
	}
}
