package regevent

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
	"signalbox/location"
)

// RFC 3680, 4.7.1 and 5.1: what happens to a contact is told in its words, with what must stand beside each.
func TestEvents(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		w.subscribe(f, "alice", "sip:alice@example.org")
		a, b := binding("sip:a@192.0.2.1", f), binding("sip:b@192.0.2.1", f)
		later := func(b location.Binding, d time.Duration) location.Binding {
			b.Updated, b.Expires = time.Now(), time.Now().Add(d)
			return b
		}
		step := func(want string, why location.Reason, list ...location.Binding) reginfo {
			t.Helper()
			time.Sleep(pace)
			w.register(alice, why, set(list...))
			r := w.next(f, 30*time.Millisecond)
			if r.tells() != want {
				t.Errorf("%s: told %q", want, r.tells())
			}
			return r
		}
		step("1 partial active, sip:a@192.0.2.1 active created", location.Created, a)
		step("2 partial active, sip:b@192.0.2.1 active registered", location.Registered, a, b)
		a = later(a, time.Hour)
		step("3 partial active, sip:a@192.0.2.1 active refreshed", location.Registered, a, b)
		a = later(a, time.Minute)
		if r := step("4 partial active, sip:a@192.0.2.1 active shortened", location.Shortened, a, b); r.Registration.Contacts[0].Expires != "55" {
			t.Errorf("expires %q", r.Registration.Contacts[0].Expires)
		}
		step("5 partial active, sip:b@192.0.2.1 terminated deactivated", location.Deactivated, a)
		b = later(b, time.Hour)
		step("6 partial active, sip:b@192.0.2.1 active registered", location.Registered, a, b)
		if r := step("7 partial active, sip:b@192.0.2.1 terminated probation", location.Probation, a); r.Registration.Contacts[0].RetryAfter != "300" {
			t.Errorf("retry-after %q", r.Registration.Contacts[0].RetryAfter)
		}
		step("8 partial active, sip:b@192.0.2.1 active registered", location.Registered, a, later(b, time.Hour))
		step("9 partial active, sip:b@192.0.2.1 terminated rejected", location.Rejected, a)
		step("10 partial terminated, sip:a@192.0.2.1 terminated unregistered", location.Removed)
		step("11 partial active, sip:b@192.0.2.1 active registered", location.Registered, later(b, 10*time.Second))
		if r := w.next(f, 7*time.Second); r.tells() != "12 partial terminated, sip:b@192.0.2.1 terminated expired" {
			t.Errorf("told %q", r.tells())
		}
	})
}

// RFC 3680, 4.7.1: an address without contacts can be watched, from its state init on.
func TestInit(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		n, _ := w.subscribe(f, "alice", "sip:alice@example.org")
		if r := n.reginfo(); r.tells() != "0 full init" || r.Registration.AOR != "sip:alice@example.org" {
			t.Errorf("told %q about %q", r.tells(), r.Registration.AOR)
		}
	})
}

// RFC 3680, 5.1: everything that is known about a contact, also what a phone made up to break the document. hardening 18
func TestDocument(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.TCP, "192.0.2.1:40000")
		b := binding("sip:a@192.0.2.1", f)
		b.Contact = wire.URI{Raw: "sip:a&<\">'\x01\xff@192.0.2.1", Scheme: "sip", User: "a", Host: "192.0.2.1"}
		b.Params, b.Q, b.CallID, b.CSeq = `;+sip.instance="<urn:uuid:1>";audio;methods="INVITE;x,BYE"`, 70, "]]>&", 77
		b.InstanceID, b.RegID = "<urn:uuid:1>", 1
		b.Created = b.Created.Add(-time.Minute)
		w.register(alice, location.Registered, set(b))
		n, _ := w.subscribe(f, "alice", "sip:alice@example.org")
		c := n.reginfo().Registration.Contacts[0]
		if c.URI != "sip:a&<\">'��@192.0.2.1" || c.Q != "0.070" || c.CallID != "]]>&" || c.CSeq != "77" || c.Duration != "60" || c.Expires != "3600" || c.Event != "refreshed" {
			t.Errorf("%+v", c)
		}
		if got := fmt.Sprint(c.Params); got != `[{+sip.instance "<urn:uuid:1>"} {audio } {methods "INVITE;x,BYE"}]` {
			t.Errorf("parameters %s", got)
		}
		if c.PubGRUU.URI != "sip:alice@example.org;gr=p" || c.TempGRUU.URI != "sip:t@example.org;gr" || c.TempGRUU.FirstCSeq != "3" {
			t.Errorf("GRUUs %+v %+v", c.PubGRUU, c.TempGRUU)
		}
	}, withGRUUs)
}

func withGRUUs(c *Config) {
	c.GRUUs = func(aor wire.AOR, b *location.Binding) GRUU {
		return GRUU{Public: aor.String() + ";gr=p", Temporary: "sip:t@example.org;gr", FirstCSeq: 3}
	}
}

// RFC 5628, 5 and RFC 3680, 4.6: whom the policy lets watch others is told no temporary GRUUs; and the policy's change of mind ends it.
func TestWatchingOthers(t *testing.T) {
	friends := true
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		b := binding("sip:a@192.0.2.7", f)
		b.InstanceID = "<urn:uuid:1>"
		w.register(alice, location.Registered, set(b))
		n, _ := w.subscribe(f, "bob", "sip:alice@example.org")
		if c := n.reginfo().Registration.Contacts[0]; c.PubGRUU.URI == "" || c.TempGRUU.URI != "" {
			t.Errorf("GRUUs %+v %+v", c.PubGRUU, c.TempGRUU)
		}
		friends = false
		time.Sleep(pace)
		w.register(alice, location.Removed, set())
		time.Sleep(time.Second)
		list := f.heard()
		if len(list) == 0 || list[0].get("Subscription-State") != "terminated;reason=rejected" || len(list[0].Body()) > 0 {
			t.Errorf("heard %s", starts(list))
		}
		w.give(f, w.request("bob", "sip:alice@example.org", "", "Call-ID: 2"))
		if got := starts(f.heard()); !strings.HasSuffix(got, "403") {
			t.Errorf("heard %s", got)
		}
	}, withGRUUs, func(c *Config) {
		c.Allow = func(watcher, aor wire.AOR) bool { return friends && watcher == bob && aor == alice }
	})
}

// RFC 5626, 4.2: two flows of one phone may have the same Contact; they are two contacts, of which one may go.
func TestTwoFlowsOfOneContact(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "203.0.113.1:40000")
		one, two := binding("sip:alice@10.0.0.1", f), binding("sip:alice@10.0.0.1", f)
		one.InstanceID, one.RegID, two.InstanceID, two.RegID = "<urn:uuid:1>", 1, "<urn:uuid:1>", 2
		w.register(alice, location.Registered, set(one, two))
		n, _ := w.subscribe(f, "alice", "sip:alice@example.org")
		all := n.reginfo().Registration.Contacts
		if len(all) != 2 || all[0].ID == all[1].ID {
			t.Fatalf("told %+v", all)
		}
		w.register(alice, location.Removed, set(one))
		if r := w.next(f, pace+time.Second); len(r.Registration.Contacts) != 1 || r.Registration.Contacts[0].State != "terminated" {
			t.Errorf("told %s", r.tells())
		}
		// RFC 5627, 4.3: our own Contact in the dialog says that it leads here and nowhere else.
		if c := n.get("Contact"); !strings.HasPrefix(c, "<sip:192.0.2.100:5060;gr=") {
			t.Errorf("Contact %s", c)
		}
	})
}

// RFC 6665, 4.1.3: an account that is removed takes the subscriptions to it along; they hear the last of it.
func TestAccountRemoved(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		w.register(alice, location.Registered, set(binding("sip:a@192.0.2.1", f)))
		w.subscribe(f, "alice", "sip:alice@example.org")
		time.Sleep(pace)
		delete(w.users, alice)
		w.register(alice, location.Rejected, set())
		time.Sleep(100 * time.Millisecond)
		list := f.heard()
		if starts(list) != "NOTIFY" || list[0].get("Subscription-State") != "terminated;reason=noresource" {
			t.Fatalf("heard %s", starts(list))
		}
		if r := list[0].reginfo(); r.tells() != "1 partial terminated, sip:a@192.0.2.1 terminated rejected" {
			t.Errorf("told %q", r.tells())
		}
		w.answer(f, list[0], 200)
		if w.notifier.Len() != 0 || w.store.len() != 0 {
			t.Errorf("%d in memory, %d on disk", w.notifier.Len(), w.store.len())
		}
	})
}

// Answered 200 means on disk; a disk that fails is a 500, and no subscription.
func TestAnsweredWhenOnDisk(t *testing.T) {
	play(t, func(w *world) {
		w.store.slow = 40 * time.Millisecond
		f := w.line(wire.UDP, "192.0.2.1:5060")
		w.give(f, w.request("alice", "sip:alice@example.org", ""))
		if got := starts(f.heard()); got != "" {
			t.Errorf("heard %s before it is on disk", got)
		}
		// What happens meanwhile is in the full state.
		w.register(alice, location.Registered, set(binding("sip:a@192.0.2.1", f)))
		time.Sleep(50 * time.Millisecond)
		list := f.heard()
		if starts(list) != "200 NOTIFY" || list[1].reginfo().tells() != "0 full active, sip:a@192.0.2.1 active registered" {
			t.Fatalf("heard %s", starts(list))
		}
		w.answer(f, list[1], 200)

		w.store.err = fmt.Errorf("the disk is full")
		w.give(f, w.request("alice", "sip:alice@example.org", "", "Call-ID: 2"))
		time.Sleep(50 * time.Millisecond)
		if got := starts(f.heard()); got != "500" || w.notifier.Len() != 1 {
			t.Errorf("heard %s, %d subscriptions", got, w.notifier.Len())
		}
		// One that is there goes on without the disk.
		time.Sleep(pace)
		w.register(alice, location.Removed, set())
		w.next(f, 100*time.Millisecond)
	})
}

// A restart: the dialog goes on, with higher numbers and full state; over UDP on the same flow, over TCP when the phone is back.
func TestRestart(t *testing.T) {
	for _, proto := range []wire.Proto{wire.UDP, wire.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			store := &memory{}
			var tag string
			play(t, func(w *world) {
				w.store, w.notifier.Store = store, store
				f := w.line(proto, "192.0.2.1:5070")
				b := binding("sip:a@192.0.2.1:9", f)
				b.InstanceID = "<urn:uuid:AB>"
				w.register(alice, location.Registered, set(b))
				_, tag = w.subscribe(f, "alice", "sip:alice@example.org", "Contact: <sip:a@192.0.2.1:9>;+sip.instance=\"<urn:uuid:ab>\"")
				time.Sleep(pace)
				w.register(alice, location.Removed, set())
				w.next(f, 100*time.Millisecond)
			})
			play(t, func(w *world) {
				w.store, w.notifier.Store = store, store
				for id, data := range maps.Clone(store.all) {
					if err := w.notifier.Restore(store.ends[id], data); err != nil {
						t.Fatal(err)
					}
				}
				f := w.line(wire.UDP, "192.0.2.1:5070")
				if proto == wire.TCP {
					time.Sleep(10 * time.Second) // the connection of before is gone: nobody is heard of until the phone is back
					w.line(wire.TCP, "192.0.2.99:1")
					f = w.line(proto, "192.0.2.1:5071")
					b := binding("sip:other@192.0.2.1:9", f)
					b.InstanceID = "<urn:uuid:AB>"
					w.register(alice, location.Registered, set(b))
				}
				n := w.await(f, 6*time.Second)
				r := n.reginfo()
				if n.get("CSeq") != "3 NOTIFY" || r.Version != 2 || r.State != "full" || n.Message.(*wire.Request).From.Tag != tag {
					t.Errorf("CSeq %s, told %q", n.get("CSeq"), r.tells())
				}
				w.give(f, w.request("alice", "sip:192.0.2.100;gr=reg", tag, "CSeq: 1000 SUBSCRIBE", "Expires: 0", "Contact: <sip:a@192.0.2.1:9>"))
				if got := starts(f.heard()); got != "200 NOTIFY" || store.len() != 0 {
					t.Errorf("heard %s, %d on disk", got, store.len())
				}
			})
		})
	}
	play(t, func(w *world) {
		if err := w.notifier.Restore(time.Now(), []byte("{")); err == nil {
			t.Error("restored rubbish")
		}
		if err := w.notifier.Restore(time.Now(), []byte(`{"target":"x"}`)); err == nil {
			t.Error("restored a subscription without a target")
		}
	})
}

// hardening 17: the number of subscriptions to an address is bounded; fetching and ending makes room.
func TestBounds(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		var tag string
		for i := range maxPerAOR {
			_, tag = w.subscribe(f, "alice", "sip:alice@example.org", fmt.Sprintf("Call-ID: %d", i))
		}
		w.give(f, w.request("alice", "sip:alice@example.org", "", "Call-ID: x"))
		if got := starts(f.heard()); got != "403" {
			t.Errorf("heard %s", got)
		}
		// Another address is another matter.
		w.subscribe(f, "bob", "sip:bob@example.org", "Call-ID: b")
		w.give(f, w.request("alice", "sip:192.0.2.100", tag, fmt.Sprintf("Call-ID: %d", maxPerAOR-1), "Expires: 0"))
		list := f.heard()
		if starts(list) != "200 NOTIFY" {
			t.Fatalf("heard %s", starts(list))
		}
		w.answer(f, list[1], 200)
		w.subscribe(f, "alice", "sip:alice@example.org", "Call-ID: y", "Expires: 0")
		w.subscribe(f, "alice", "sip:alice@example.org", "Call-ID: z")
		if w.notifier.Len() != maxPerAOR+1 {
			t.Errorf("%d subscriptions", w.notifier.Len())
		}
	})
}

// What is too long to be kept for hours is refused.
func TestLongFields(t *testing.T) {
	long := strings.Repeat("x", maxField+1)
	for _, header := range []string{"Call-ID: " + long, "Contact: <sip:alice@192.0.2.1;x=" + long + ">", "From: <sip:alice@example.org>;tag=" + long,
		"Record-Route: " + strings.Repeat("<sip:p.example.net;lr>,", maxRoutes+1) + "<sip:p.example.net;lr>", "Event: reg;id=" + long} {
		play(t, func(w *world) {
			f := w.line(wire.UDP, "192.0.2.1:5060")
			w.give(f, w.request("alice", "sip:alice@example.org", "", header))
			if got := starts(f.heard()); got != "403" && got != "400" || w.notifier.Len() != 0 {
				t.Errorf("%.30s: heard %s", header, got)
			}
		})
	}
}

// Another user's tags open nobody's subscription, and without a password nothing is changed. RFC 6665, 4.2.1.3
func TestForeignDialog(t *testing.T) {
	play(t, func(w *world) {
		f, g := w.line(wire.UDP, "192.0.2.1:5060"), w.line(wire.UDP, "192.0.2.66:5060")
		_, tag := w.subscribe(f, "alice", "sip:alice@example.org")
		w.give(g, w.request("bob", "sip:192.0.2.100", tag, "Contact: <sip:evil@192.0.2.66>", "To: <sip:alice@example.org>;tag="+tag))
		w.give(g, w.request("alice", "sip:192.0.2.100", tag, "Contact: <sip:evil@192.0.2.66>", "Authorization:"))
		if got := starts(g.heard()); got != "403 401" {
			t.Errorf("heard %s", got)
		}
		time.Sleep(pace)
		w.register(alice, location.Registered, set(binding("sip:a@192.0.2.1", f)))
		w.next(f, 100*time.Millisecond)
		if got := starts(g.heard()); got != "" {
			t.Errorf("the other one heard %s", got)
		}
	})
}

// The feed hears of subscriptions that begin and end, with the reason; not of refreshes and fetches.
func TestHappened(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		w.subscribe(f, "alice", "sip:alice@example.org", "Expires: 0", "Call-ID: fetch")
		_, tag := w.subscribe(f, "alice", "sip:alice@example.org", "Expires: 60")
		w.give(f, w.request("alice", "sip:192.0.2.100", tag, "Expires: 60"))
		list := f.heard()
		w.answer(f, list[len(list)-1], 200)
		w.await(f, 61*time.Second)
		w.subscribe(f, "bob", "sip:bob@example.org")
		time.Sleep(pace)
		w.register(bob, location.Registered, set(binding("sip:b@192.0.2.1", f)))
		time.Sleep(100 * time.Millisecond)
		list = f.heard()
		w.answer(f, list[0], 481)
		want := []string{"alice alice true ", "alice alice false timeout", "bob bob true ", "bob bob false 481"}
		if diff := cmp.Diff(want, w.happen); diff != "" {
			t.Error(diff)
		}
		if w.notifier.Len() != 0 || w.store.len() != 0 {
			t.Errorf("%d in memory, %d on disk", w.notifier.Len(), w.store.len())
		}
	})
}

// RFC 6665, 4.1.2.3: an end that comes while a NOTIFY is under way is told when that one is answered.
func TestUnsubscribeWhileNotified(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		w.give(f, w.request("alice", "sip:alice@example.org", ""))
		list := f.heard()
		tag := list[0].Message.(*wire.Response).To.Tag
		w.give(f, w.request("alice", "sip:192.0.2.100", tag, "Expires: 0"))
		if got := starts(f.heard()); got != "200" {
			t.Errorf("heard %s", got)
		}
		w.answer(f, list[1], 200)
		list = f.heard()
		if starts(list) != "NOTIFY" || list[0].get("Subscription-State") != "terminated;reason=timeout" {
			t.Fatalf("heard %s", starts(list))
		}
		w.answer(f, list[0], 200)
		if w.notifier.Len() != 0 {
			t.Error("still there")
		}
	})
}

// The connection breaks under a NOTIFY while the phone has another one: the next NOTIFY goes there.
func TestConnectionBreaksUnderNotify(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.TCP, "192.0.2.1:40000")
		w.give(f, w.request("alice", "sip:alice@example.org", "", `Contact: <sip:alice@10.0.0.1;transport=tcp>;+sip.instance="<urn:uuid:1>"`))
		f.heard()
		g := w.line(wire.TCP, "192.0.2.1:40001")
		b := binding("sip:alice@10.0.0.1;transport=tcp;x=2", g)
		b.InstanceID = "<urn:uuid:1>"
		w.register(alice, location.Registered, set(b))
		f.hangUp()
		if r := w.next(g, 6*time.Second); r.State != "full" {
			t.Errorf("told %q", r.tells())
		}
	})
}

// Nobody who has not subscribed is sent anything: mission decision 11; RFC 6665, 4.2.1.
func TestNoUnsolicitedNotify(t *testing.T) {
	play(t, func(w *world) {
		f := w.line(wire.UDP, "192.0.2.1:5060")
		w.register(alice, location.Registered, set(binding("sip:a@192.0.2.1", f)))
		w.register(alice, location.Rejected, set())
		time.Sleep(time.Minute)
		if got := starts(f.heard()); got != "" {
			t.Errorf("heard %s", got)
		}
	})
}

// The common case, nobody watches, costs nothing.
func TestChangedAllocatesNothing(t *testing.T) {
	w := &Notifier{}
	w.table.init()
	before := []location.Binding{{CallID: "1"}}
	if n := testing.AllocsPerRun(100, func() { w.Changed(alice, before, nil, location.Removed) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// RFC 6665, 4.6: a CANCEL for a SUBSCRIBE is answered, and changes nothing.
func TestCancelled(t *testing.T) {
	play(t, func(w *world) {
		w.store.slow = 20 * time.Millisecond
		f := w.line(wire.UDP, "192.0.2.1:5060")
		request := w.request("alice", "sip:alice@example.org", "")
		w.give(f, request)
		w.give(f, strings.ReplaceAll(request, "SUBSCRIBE", "CANCEL"))
		if got := starts(f.heard()); got != "200" {
			t.Errorf("heard %s", got)
		}
		time.Sleep(30 * time.Millisecond)
		list := f.heard()
		if starts(list) != "200 NOTIFY" || w.notifier.Len() != 1 {
			t.Fatalf("heard %s", starts(list))
		}
		w.answer(f, list[1], 200)
	})
}
