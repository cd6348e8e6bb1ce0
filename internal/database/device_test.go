package database

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

var (
	tv    = wire.AOR{User: "tv", Host: "example.org"}
	lobby = wire.AOR{User: "lobby", Host: "example.org"}
	alice = wire.AOR{User: "alice", Host: "example.org"}
	bob   = wire.AOR{User: "bob", Host: "example.org"}
)

// Devices, grants and logins are the same in memory, in a database, and after it is opened again.
func TestDevicesPersist(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := db.Devices(ctx)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1_700_000_000, 0)
	for name, d := range map[string]*Devices{"memory": NewDevices(), "file": stored} {
		if d.Any() {
			t.Errorf("%s: devices before any was added", name)
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		fails := func(err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		must(d.Add(ctx, Device{AOR: tv, Kind: "tv", Created: 1}))
		must(d.Add(ctx, Device{AOR: lobby, Kind: "phone", Instance: "urn:x", Certificate: ByCA, Created: 2}))
		fails(d.Add(ctx, Device{AOR: tv, Kind: "tv"}), ErrExists)
		fails(d.Add(ctx, Device{AOR: alice, Kind: "tv", Instance: "urn:x"}), ErrInstance)
		fails(d.Pin(ctx, tv, "urn:x"), ErrInstance) // somebody else's
		must(d.Pin(ctx, tv, "urn:tv"))
		fails(d.Pin(ctx, tv, "urn:other"), ErrInstance) // it has one
		fails(d.Pin(ctx, alice, "urn:y"), ErrNotFound)

		must(d.Grant(ctx, Grant{tv, alice, 0}))
		must(d.Grant(ctx, Grant{tv, bob, 50}))
		must(d.Grant(ctx, Grant{tv, bob, 100}))
		must(d.Grant(ctx, Grant{lobby, bob, 0}))
		must(d.Grant(ctx, Grant{tv, lobby, 0}))
		must(d.RevokeAll(ctx, lobby))
		fails(d.Grant(ctx, Grant{bob, alice, 0}), ErrNotFound) // not a device
		fails(d.Revoke(ctx, lobby, alice), ErrNotFound)

		must(d.WriteLogins(ctx, []Login{{alice, tv, "device", start, time.Time{}}, {bob, tv, "own", start.Add(time.Second), start.Add(time.Hour)}, {bob, lobby, "admin", start, time.Time{}}}, nil))
		if err := d.WriteLogins(ctx, []Login{{alice, lobby, "own", start, start}}, nil); err == nil {
			t.Errorf("%s: a login that ends when it starts is stored", name)
		}
		must(d.WriteLogins(ctx, []Login{{alice, tv, "device", start, start.Add(time.Minute)}}, []Login{{User: bob, Device: lobby}}))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	again, err := db.Devices(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*Devices{"stored": stored, "loaded": again} {
		want := []Device{{lobby, "phone", "urn:x", ByCA, 2}, {tv, "tv", "urn:tv", "", 1}}
		if diff := cmp.Diff(want, d.Devices()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if one, ok := d.ByInstance("urn:tv"); !ok || one.AOR != tv {
			t.Errorf("%s: urn:tv is %v", name, one)
		}
		if diff := cmp.Diff([]Grant{{tv, alice, 0}, {tv, bob, 100}}, d.Grants(tv)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for at, want := range map[int64]bool{99: true, 100: false} {
			if d.Granted(tv, bob, time.Unix(at, 0)) != want {
				t.Errorf("%s: bob's grant at %d", name, at)
			}
		}
		if d.Granted(tv, wire.AOR{User: "alice2", Host: "example.org"}, start) || d.Granted(lobby, alice, start) {
			t.Errorf("%s: what alice was granted on the television is somebody else's or somewhere else", name)
		}
		logins := []Login{{alice, tv, "device", start, start.Add(time.Minute)}, {bob, tv, "own", start.Add(time.Second), start.Add(time.Hour)}}
		if diff := cmp.Diff(logins, d.OfDevice(tv)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(logins, d.Logins()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(d.OfDevice(lobby)) != 0 || len(d.OfUser(bob)) != 1 {
			t.Errorf("%s: lobby %v, bob %v", name, d.OfDevice(lobby), d.OfUser(bob))
		}
	}
	if err := again.Remove(ctx, tv); err != nil {
		t.Error(err)
	}
	if err := again.Reload(ctx); err != nil {
		t.Error(err)
	}
	if _, ok := again.Device(tv); ok || len(again.Logins()) != 0 || len(again.Grants(tv)) != 0 || len(again.Devices()) != 1 {
		t.Errorf("left of the television: %v %v", again.Logins(), again.Grants(tv))
	}
	if _, ok := again.ByInstance("urn:tv"); ok {
		t.Error("its instance is left")
	}
	if err := again.Remove(ctx, tv); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// hardening 70: names are stored literally, and what cannot be printed is refused.
func TestDeviceValidate(t *testing.T) {
	good := Device{AOR: wire.AOR{User: "' OR 1=1--", Host: "example.org"}, Kind: "tv", Certificate: strings.Repeat("0a", 32)}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Device){
		"no name":             func(d *Device) { d.AOR.User = "" },
		"long name":           func(d *Device) { d.AOR.User = strings.Repeat("x", MaxName+1) },
		"line in the name":    func(d *Device) { d.AOR.User = "a\nb" },
		"no kind":             func(d *Device) { d.Kind = "" },
		"escape in the kind":  func(d *Device) { d.Kind = "\x1b[2J" },
		"long instance":       func(d *Device) { d.Instance = strings.Repeat("x", maxInstance+1) },
		"NUL in the instance": func(d *Device) { d.Instance = "urn:\x00" },
		"no fingerprint":      func(d *Device) { d.Certificate = "0a" },
		"upper case":          func(d *Device) { d.Certificate = strings.Repeat("0A", 32) },
	} {
		d := good
		if spoil(&d); d.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
