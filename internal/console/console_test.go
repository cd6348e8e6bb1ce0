package console

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
	"signalbox/registrar/login"
)

// fakeServer is what is beside the desk.
type fakeServer struct{ reloads int }

func (s *fakeServer) Status() Status { return Status{Version: "1", Users: 3} }
func (s *fakeServer) Reload() error  { s.reloads++; return nil }

func newDesk(t *testing.T) *Desk {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "sb.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	users, err := db.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bindings, err := location.Open(nil, location.Config{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bindings.Close(context.Background()) })
	devices, err := db.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	logins, err := login.Open(login.Config{Store: devices, Bindings: bindings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logins.Close(context.Background()) })
	return &Desk{Users: users, Bindings: bindings, Devices: devices, Logins: logins, Domains: wire.NewDomains([]string{"example.org"}, []string{"192.0.2.1"})}
}

func newClient(t *testing.T, h http.Handler) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c := NewClient(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", srv.Listener.Addr().String())
	})
	t.Cleanup(c.Close)
	return c
}

// operations is what Desk and Client have in common.
type operations interface {
	Account(ctx context.Context, name string) (Account, error)
	Accounts(ctx context.Context) ([]Account, error)
	Add(ctx context.Context, c Credentials) error
	Set(ctx context.Context, c Credentials) error
	Remove(ctx context.Context, name string) error
	Import(ctx context.Context, list iter.Seq2[Credentials, error], progress func(done int)) (int, error)
	Registrations(ctx context.Context) ([]Registration, error)
	Registration(ctx context.Context, name string) (Registration, error)
	Deregister(ctx context.Context, name, contact string) error
}

func cred(user string) Credentials {
	md5, sha256 := database.HA1(strings.TrimSuffix(user, "@example.org"), "example.org", "secret")
	return Credentials{User: user, MD5: md5, SHA256: sha256}
}

func register(t *testing.T, d *Desk, user string, contacts ...string) {
	t.Helper()
	done := make(chan error, 1)
	now := time.Now()
	var set []location.Binding
	for i, c := range contacts {
		u, err := wire.ParseURI(c)
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, location.Binding{
			Contact: u, Q: 1000 - 100*i, CallID: "call-1", CSeq: 7, Expires: now.Add(time.Hour), Created: now, Updated: now, Behind: i == 0,
			Flow:      wire.FlowID{Proto: wire.UDP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.7:5062")},
			UserAgent: "phone\x1b[2J",
		})
	}
	d.Bindings.Change(wire.AOR{User: user, Host: "example.org"}, location.Registered, func([]location.Binding) ([]location.Binding, error) { return set, nil },
		func(_ []location.Binding, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Whether the server runs or not, a command does the same and says the same.
func TestDeskAndClientAgree(t *testing.T) {
	for _, name := range []string{"desk", "client"} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			var o operations = d
			if name == "client" {
				o = newClient(t, Handler(d, &fakeServer{}))
			}
			testUsers(t, o)
			testRegistrations(t, d, o)
		})
	}
}

func wantError(t *testing.T, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || err.Error() != text {
		t.Errorf("got %v, want %s", err, text)
	}
}

func testUsers(t *testing.T, o operations) {
	ctx := t.Context()
	odd := "o'dd/user ?&%41\"<b>@x"
	for _, user := range []string{"alice", "bob@192.0.2.1", "sip:carol@example.org", odd + "@example.org"} {
		c := cred("alice")
		c.User = user
		if err := o.Add(ctx, c); err != nil {
			t.Errorf("add %s: %v", user, err)
		}
	}
	wantError(t, o.Add(ctx, cred("alice@EXAMPLE.org")), ErrExists, "user alice@example.org: exists already")
	wantError(t, o.Set(ctx, cred("nobody")), ErrNotFound, "user nobody@example.org: not found")
	wantError(t, o.Add(ctx, cred("alice@example.net")), ErrInvalid, "example.net is not a domain of this server")
	wantError(t, o.Add(ctx, cred("@example.org")), ErrInvalid, `"@example.org" names no user`)
	if err := o.Add(ctx, Credentials{User: "dave", MD5: "zz"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("bad hash: %v", err)
	}
	if err := o.Set(ctx, Credentials{User: odd + "@example.org", SHA256: cred("x").SHA256}); err != nil {
		t.Error(err)
	}
	one, err := o.Account(ctx, odd+"@example.org")
	if err != nil || one.User != odd+"@example.org" || !cmp.Equal(one.Algorithms, []string{"SHA-256"}) || one.Created.IsZero() {
		t.Errorf("got %+v, %v", one, err)
	}
	n, err := o.Import(ctx, func(yield func(Credentials, error) bool) {
		for i := range 600 {
			if !yield(cred(fmt.Sprintf("user%03d@example.org", i)), nil) {
				return
			}
		}
	}, func(int) {})
	if n != 600 || err != nil {
		t.Errorf("%d imported, %v", n, err)
	}
	// All or none.
	_, err = o.Import(ctx, func(yield func(Credentials, error) bool) {
		_ = yield(cred("erin"), nil) && yield(Credentials{User: "frank"}, nil)
	}, nil)
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("import of half an account: %v", err)
	}
	list, err := o.Accounts(ctx)
	if err != nil || len(list) != 604 || list[0].User != "alice@example.org" {
		t.Errorf("%d accounts, %v", len(list), err)
	}
	if err := o.Remove(ctx, odd+"@example.org"); err != nil {
		t.Error(err)
	}
	wantError(t, o.Remove(ctx, odd+"@example.org"), ErrNotFound, "user "+odd+"@example.org: not found")
}

func testRegistrations(t *testing.T, d *Desk, o operations) {
	ctx := t.Context()
	if list, err := o.Registrations(ctx); err != nil || list == nil || len(list) != 0 {
		t.Errorf("got %v, %v", list, err)
	}
	register(t, d, "bob", "sip:bob@192.0.2.7:5062")
	register(t, d, "alice", "sip:alice@192.0.2.8;x=1", "sip:alice@192.0.2.9")
	list, err := o.Registrations(ctx)
	if err != nil || len(list) != 2 || list[0].AOR != "sip:alice@example.org" || list[1].AOR != "sip:bob@example.org" {
		t.Fatalf("got %+v, %v", list, err)
	}
	one, err := o.Registration(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	got := one.Contacts[0]
	if got.Expires < 3590 || got.Expires > 3600 {
		t.Errorf("expires in %d s", got.Expires)
	}
	want := Contact{
		Contact: "sip:alice@192.0.2.8;x=1", Q: 1, Expires: got.Expires, Transport: "UDP", Source: "192.0.2.7:5062", Behind: true,
		Created: got.Created, Updated: got.Updated, UserAgent: "phone\x1b[2J", CallID: "call-1", CSeq: 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if a, err := o.Account(ctx, "alice"); err != nil || a.Contacts != 2 {
		t.Errorf("got %+v, %v", a, err)
	}
	wantError(t, o.Deregister(ctx, "alice", "sip:x@y"), ErrNotFound, "contact sip:x@y of alice@example.org: not found")
	if err := o.Deregister(ctx, "alice", "sip:alice@192.0.2.8;x=1"); err != nil {
		t.Error(err)
	}
	if one, err = o.Registration(ctx, "alice"); err != nil || len(one.Contacts) != 1 {
		t.Errorf("got %+v, %v", one, err)
	}
	// Who is removed is not called any more.
	if err := o.Remove(ctx, "alice"); err != nil {
		t.Error(err)
	}
	_, err = o.Registration(ctx, "alice")
	wantError(t, err, ErrNotFound, "alice@example.org is not registered")
	wantError(t, o.Deregister(ctx, "alice", ""), ErrNotFound, "alice@example.org is not registered")
	if err := o.Deregister(ctx, "bob", ""); err != nil {
		t.Error(err)
	}
}

func TestStatusAndReload(t *testing.T) {
	s := &fakeServer{}
	c := newClient(t, Handler(newDesk(t), s))
	if st, err := c.Status(t.Context()); err != nil || st.Users != 3 {
		t.Errorf("got %+v, %v", st, err)
	}
	if err := c.Reload(t.Context()); err != nil || s.reloads != 1 {
		t.Errorf("%d reloads, %v", s.reloads, err)
	}
}

// What is sent to the socket by hand is bounded and answered with the right status.
func TestHandlerRefuses(t *testing.T) {
	h := Handler(newDesk(t), &fakeServer{})
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/v1/nonsense", "", 404},
		{"DELETE", "/v1/users", "", 405},
		{"POST", "/v1/users", "", 400},
		{"POST", "/v1/users", "{", 400},
		{"POST", "/v1/users", `{"user":"alice","password":"secret"}`, 400},
		{"POST", "/v1/users", `{"user":"` + strings.Repeat("a", maxBody) + `"}`, 413},
		{"POST", "/v1/import", `{"user":"alice"`, 400},
		{"POST", "/v1/import", `nonsense`, 400},
		{"GET", "/v1/users/alice", "", 404},
		{"GET", "/v1/registrations/%00", "", 404},
		{"PUT", "/v1/users/sip:alice@example.com", `{"ha1":"x"}`, 400},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		if w.Code != tt.want {
			t.Errorf("%s %s %.40s: %d, want %d: %s", tt.method, tt.path, tt.body, w.Code, tt.want, w.Body)
		}
	}
}

func BenchmarkImport(b *testing.B) {
	list := make([]Credentials, 20_000)
	for i := range list {
		list[i] = cred(fmt.Sprintf("user%05d@example.org", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		db, err := database.Open(b.Context(), filepath.Join(b.TempDir(), "sb.db"))
		if err != nil {
			b.Fatal(err)
		}
		users, err := db.Users(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		d := &Desk{Users: users, Domains: wire.NewDomains([]string{"example.org"}, nil)}
		n, err := d.Import(b.Context(), func(yield func(Credentials, error) bool) {
			for _, c := range list {
				if !yield(c, nil) {
					return
				}
			}
		}, nil)
		if n != len(list) || err != nil {
			b.Fatal(n, err)
		}
		db.Close()
	}
}
