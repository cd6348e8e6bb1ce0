package registrar

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
	"signalbox/location"
)

// step is one REGISTER of a story: with that Call-ID and CSeq, from one of two addresses.
type step struct {
	call   string
	cseq   int
	lines  []string
	code   int
	remain []string // alice's bindings then, without their seconds
}

// tell plays steps whose credentials are believed, so that each is one request.
func tell(t *testing.T, steps []step) {
	t.Helper()
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		p.cseq = 1
		challenge := wire.Get(p.send(p.request()), "WWW-Authenticate")
		for i, s := range steps {
			p.callID, p.cseq = s.call, s.cseq
			res := p.send(p.request(append(s.lines, p.authorization(challenge, i+1))...))
			if res.StatusCode != s.code {
				t.Errorf("step %d: want %d, got\n%s", i, s.code, res)
			}
			time.Sleep(40 * time.Second) // the transaction is over: else the same CSeq by another branch would be a merged request
			synctest.Wait()
			remain := []string{}
			for _, b := range w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"}) {
				remain = append(remain, fmt.Sprintf("%s %s %d", b.Contact, b.CallID, b.CSeq))
			}
			if diff := cmp.Diff(s.remain, remain); diff != "" {
				t.Errorf("step %d (-want +got)\n%s", i, diff)
			}
		}
	})
}

const (
	a = "sip:alice@192.0.2.1:6001"
	b = "sip:alice@192.0.2.1:6002"
	c = "sip:alice@192.0.2.1:6003"
)

func contact1(uri string, expires int) []string {
	return []string{fmt.Sprintf("Contact: <%s>;expires=%d", uri, expires)}
}

// RFC 3261, 10.3 step 7 and hardening 47: of one Call-ID a request that is not newer fails, and nothing changes; one of another Call-ID, a
// phone that has restarted, always counts.
func TestOrder(t *testing.T) {
	tell(t, []step{
		{"c1", 10, contact1(a, 600), 200, []string{a + " c1 10"}},
		{"c1", 10, contact1(a, 600), 500, []string{a + " c1 10"}},
		{"c1", 9, contact1(a, 0), 500, []string{a + " c1 10"}},
		{"c1", 11, contact1(a, 600), 200, []string{a + " c1 11"}},
		{"c2", 1, contact1(a, 600), 200, []string{a + " c2 1"}},
		{"c2", 1, contact1(b, 600), 200, []string{b + " c2 1", a + " c2 1"}}, // the order is that of each binding
		{"c2", 1, contact1(b, 0), 500, []string{b + " c2 1", a + " c2 1"}},
		{"c3", 1, contact1(b, 0), 200, []string{a + " c2 1"}},
		{"c3", 1, contact1(b, 0), 200, []string{a + " c2 1"}}, // there is nothing to compare with any more
		{"c2", 2, contact1(a, 0), 200, []string{}},
	})
}

// RFC 3261, 10.3 step 7: all or nothing. One of two contacts is out of order, so the other is not added either.
func TestAtomic(t *testing.T) {
	tell(t, []step{
		{"c1", 10, contact1(a, 600), 200, []string{a + " c1 10"}},
		{"c1", 5, append(contact1(b, 600), contact1(a, 600)...), 500, []string{a + " c1 10"}},
		{"c1", 6, append(contact1(b, 600), contact1(a, 0)...), 500, []string{a + " c1 10"}},
		{"c1", 11, append(contact1(b, 600), contact1(a, 0)...), 200, []string{b + " c1 11"}},
		{"c1", 12, append(contact1(b, 0), contact1(c, 0)...), 200, []string{}},
	})
}

// RFC 3261, 10.3 step 6: "*" removes all, unless one of them is newer.
func TestStar(t *testing.T) {
	star := []string{"Contact: *", "Expires: 0"}
	tell(t, []step{
		{"c1", 1, star, 200, []string{}},
		{"c1", 2, contact1(a, 600), 200, []string{a + " c1 2"}},
		{"c2", 1, contact1(b, 600), 200, []string{b + " c2 1", a + " c1 2"}},
		{"c1", 2, star, 500, []string{b + " c2 1", a + " c1 2"}},
		{"c1", 3, star, 200, []string{}},
		{"c1", 4, []string{"m:  * ", "Expires: 00"}, 200, []string{}},
	})
}

// RFC 3261, 10.3 step 7 with 19.1.4: which contact is the same as which.
func TestSameContact(t *testing.T) {
	tell(t, []step{
		{"c1", 1, contact1("sip:alice@Phone.example.com;transport=tcp", 600), 200, []string{"sip:alice@Phone.example.com;transport=tcp c1 1"}},
		{"c1", 2, contact1("sip:%61lice@phone.EXAMPLE.com;TRANSPORT=TCP;x=1", 600), 200, []string{"sip:%61lice@phone.EXAMPLE.com;TRANSPORT=TCP;x=1 c1 2"}},
		{"c1", 3, contact1("sip:alice@phone.example.com", 600), 200,
			[]string{"sip:alice@phone.example.com c1 3", "sip:%61lice@phone.EXAMPLE.com;TRANSPORT=TCP;x=1 c1 2"}},
		{"c1", 4, contact1("sip:Alice@phone.example.com", 600), 200,
			[]string{"sip:Alice@phone.example.com c1 4", "sip:alice@phone.example.com c1 3", "sip:%61lice@phone.EXAMPLE.com;TRANSPORT=TCP;x=1 c1 2"}},
	})
}

// A refresh keeps the time of the first registration.
func TestRefresh(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		p.register("Contact: <sip:alice@192.0.2.1:5062>")
		time.Sleep(time.Hour - time.Second)
		p.register("Contact: <sip:alice@192.0.2.1:5062>")
		time.Sleep(time.Minute)
		synctest.Wait()
		list := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})
		if len(list) != 1 || list[0].Updated.Sub(list[0].Created) != time.Hour-time.Second {
			t.Errorf("%+v", list)
		}
	})
}

// hardening 45: 10,000 registrations with ever new instances leave 10 bindings, which can still be refreshed and removed.
func TestLimit(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		codes := map[int]int{}
		for i := range 1000 {
			res := p.register(fmt.Sprintf(`Contact: <sip:alice@192.0.2.1:%d>;+sip.instance="<urn:uuid:%d>"`, 6000+i, i))
			codes[res.StatusCode]++
		}
		if diff := cmp.Diff(map[int]int{200: 10, 403: 990}, codes); diff != "" || len(w.bindings()) != 10 {
			t.Errorf("%d bindings (-want +got)\n%s", len(w.bindings()), diff)
		}
		for _, uri := range []string{"<sip:alice@192.0.2.1:6003>", "<sip:alice@192.0.2.1:6003>;expires=0, <sip:alice@192.0.2.1:7000>"} {
			if res := p.register("Contact: " + uri); res.StatusCode != 200 || len(w.bindings()) != 10 {
				t.Errorf("%s: %d bindings\n%s", uri, len(w.bindings()), res)
			}
		}
	})
}

// holder is a location service whose updates wait, and fail as told.
type holder struct {
	Location
	err  error
	wait chan func()
}

func (h *holder) Update(aor wire.AOR, fn func([]location.Binding) ([]location.Binding, error), done func([]location.Binding, error)) {
	after, err := fn(nil)
	if err == nil {
		err = h.err
	}
	h.wait <- func() { done(after, err) }
}

// RFC 3261, 10.3 step 7: the 200 says that the bindings are committed: it does not come before, and if the store fails it is a 500.
func TestStore(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
	}{
		{nil, 200}, {errors.New("disk full"), 500}, {wire.Errorf(500, "", "disk full"), 500}, {wire.Errorf(503, "", "queue full").With("Retry-After", "2"), 503},
	} {
		h := &holder{err: tt.err, wait: make(chan func(), 1)}
		play(t, func(w *world) {
			p := w.phone("alice", "192.0.2.1:5062")
			p.cseq = 1
			challenge := wire.Get(p.send(p.request()), "WWW-Authenticate")
			p.cseq++
			w.layer.ReceiveRequest(p.line, p.request("Contact: <sip:alice@192.0.2.1:5062>", p.authorization(challenge, 1)))
			time.Sleep(time.Second)
			if diff := cmp.Diff([]int{401}, p.line.heard(t)); diff != "" {
				t.Errorf("before the commit (-want +got)\n%s", diff)
			}
			go (<-h.wait)()
			synctest.Wait()
			if diff := cmp.Diff([]int{401, tt.code}, p.line.heard(t)); diff != "" {
				t.Errorf("after the commit (-want +got)\n%s", diff)
			}
		}, func(c *Config) { h.Location, c.Location = c.Location, h })
	}
}

func TestMetrics(t *testing.T) {
	var got []string
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		p.register("Contact: <sip:alice@192.0.2.1:5062>")
		p.register()
		p.register("Contact: <sip:alice@192.0.2.1:5062>;expires=1")
	}, func(c *Config) {
		c.Metrics = Metrics{
			Changed: func(contacts int) { got = append(got, fmt.Sprint("changed ", contacts)) },
			Queried: func() { got = append(got, "queried") },
		}
	})
	if diff := cmp.Diff([]string{"changed 1", "queried"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
