package registrar

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"signalbox/internal/wire"
	"signalbox/location"
)

const (
	urn1 = `+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e128>"`
	urn2 = `+sip.instance="<urn:uuid:00000000-0000-1000-8000-aaaaaaaaaaaa>"`

	outboundPhone = "Supported: path, outbound"
	gruuPhone     = "Supported: gruu"
)

// flow is the Contact line of a flow.
func flow(uri, urn string, regID int) string {
	return fmt.Sprintf("Contact: <%s>;%s;reg-id=%d", uri, urn, regID)
}

// flowsOf are alice's bindings as "contact reg-id", with "lost" behind those that are.
func (w *world) flowsOf() []string {
	list := []string{}
	for _, b := range w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"}) {
		text := fmt.Sprint(b.Contact.Host, ":", b.Contact.Port, " ", b.RegID)
		if !b.Usable() {
			text += " lost"
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

func want(t *testing.T, res *wire.Response, code int, headers ...string) {
	t.Helper()
	if res.StatusCode != code {
		t.Errorf("want %d, got\n%s", code, res)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if got := strings.Join(wire.List(res, name), ", "); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// RFC 5626, 6: what counts as a flow, and what the answer says of it.
func TestOutboundRules(t *testing.T) {
	const (
		edge   = "Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKphone"
		path   = "Path: <sip:p@192.0.2.1;lr;ob>"
		noOB   = "Path: <sip:p@192.0.2.1;lr>"
		second = "Path: <sip:home.example.org;lr>"
	)
	one := flow("sip:alice@192.0.2.1:5062", urn1, 1)
	for _, tt := range []struct {
		name    string
		lines   []string
		code    int
		headers []string
		regID   int
	}{
		{"a flow", []string{one, outboundPhone}, 200, []string{"Require: outbound", "Flow-Timer: 29"}, 1},
		{"a phone that does not know outbound", []string{one}, 200, []string{"Require: ", "Flow-Timer: "}, 1},
		{"no reg-id", []string{"Contact: <sip:alice@192.0.2.1:5062>;" + urn1, outboundPhone}, 200, []string{"Require: ", "Flow-Timer: "}, 0},
		{"a reg-id without instance is ignored", []string{"Contact: <sip:alice@192.0.2.1:5062>;reg-id=1", outboundPhone}, 200, []string{"Require: "}, 0},
		{"reg-id 0", []string{flow("sip:alice@192.0.2.1:5062", urn1, 0), outboundPhone}, 400, nil, 0},
		{"reg-id too large", []string{"Contact: <sip:alice@192.0.2.1:5062>;" + urn1 + ";reg-id=2147483648"}, 400, nil, 0},
		{"reg-id is no number", []string{"Contact: <sip:alice@192.0.2.1:5062>;" + urn1 + ";reg-id=one"}, 400, nil, 0},
		{"two flows at once", []string{one, flow("sip:alice@192.0.2.1:5063", urn1, 2), outboundPhone}, 400, nil, 0},
		{"a flow and a contact", []string{one, "Contact: <sip:alice@192.0.2.1:5063>", outboundPhone}, 400, nil, 0},
		{"a flow, and one that ends", []string{one, "Contact: <sip:alice@192.0.2.1:5063>;expires=0", outboundPhone}, 200, []string{"Require: outbound"}, 1},
		{"by an edge proxy", []string{one, outboundPhone, edge, path}, 200, []string{"Require: outbound", "Flow-Timer: ", "Path: <sip:p@192.0.2.1;lr;ob>"}, 1},
		{"by an edge proxy and another", []string{one, outboundPhone, edge, second, path}, 200, []string{"Require: outbound", "Path: <sip:home.example.org;lr>, <sip:p@192.0.2.1;lr;ob>"}, 1},
		// RFC 5626, 11.6: only there is 439 a must; older phones never register again after one.
		{"by a proxy without outbound", []string{one, outboundPhone, edge, noOB}, 439, nil, 0},
		{"by a proxy without Path", []string{one, outboundPhone, edge}, 439, nil, 0},
		{"the same, but the phone does not count on it", []string{one, "Supported: path", edge, noOB}, 200, []string{"Require: ", "Flow-Timer: "}, 0},
		{"ob of another proxy than the first", []string{one, outboundPhone, edge, path, noOB}, 439, nil, 0},
		{"required", []string{one, outboundPhone, "Require: outbound, path, gruu, pref"}, 200, []string{"Require: outbound"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(w *world) {
				want(t, w.phone("alice", "192.0.2.1:5062").register(tt.lines...), tt.code, tt.headers...)
				bindings := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})
				if (len(bindings) > 0) != (tt.code == 200) || len(bindings) > 0 && bindings[0].RegID != tt.regID {
					t.Errorf("bindings %+v", bindings)
				}
			})
		})
	}
}

// RFC 5626, 4.1 and 6: a flow is bound by instance and reg-id. The same ones replace it at once, from wherever they come; others stand beside it.
func TestFlowReplaced(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		p.register(flow("sip:alice@192.0.2.1:5062", urn1, 1), outboundPhone)
		p.register(flow("sip:alice@192.0.2.1:5063", urn1, 2), outboundPhone)
		p.register(flow("sip:alice@192.0.2.1:5064", urn2, 1), outboundPhone)
		p.register("Contact: <sip:alice@192.0.2.1:5062>") // RFC 5626, 6: a contact as in RFC 3261, with the URI of a flow
		if diff := cmp.Diff([]string{"192.0.2.1:5062 0", "192.0.2.1:5062 1", "192.0.2.1:5063 2", "192.0.2.1:5064 1"}, w.flowsOf()); diff != "" {
			t.Error(diff)
		}
		moved := w.phone("alice", "203.0.113.9:40000")
		moved.callID = p.callID
		moved.cseq = p.cseq
		moved.register(flow("sip:alice@10.1.1.1:5062", strings.ToUpper(urn1[:40])+urn1[40:], 1), outboundPhone) // a UUID in either case is the same
		if diff := cmp.Diff([]string{"10.1.1.1:5062 1", "192.0.2.1:5062 0", "192.0.2.1:5063 2", "192.0.2.1:5064 1"}, w.flowsOf()); diff != "" {
			t.Error(diff)
		}
		b := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})[0]
		if b.Flow != moved.line.id || !b.Behind {
			t.Errorf("%+v", b)
		}
		// It is the phone's order that counts, not its address.
		time.Sleep(time.Minute) // else it would be taken for a merged request
		moved.cseq -= 4
		want(t, moved.register(flow("sip:alice@10.1.1.1:5062", urn1, 1), outboundPhone), 500)
		moved.cseq += 4
		// It ends by its names, or by its URI alone.
		moved.register("Contact: <sip:anything@10.1.1.1>;"+urn1+";reg-id=2;expires=0", outboundPhone)
		moved.register("Contact: <sip:alice@10.1.1.1:5062>;expires=0")
		if diff := cmp.Diff([]string{"192.0.2.1:5062 0", "192.0.2.1:5064 1"}, w.flowsOf()); diff != "" {
			t.Error(diff)
		}
	})
}

// What the phone says over a flow that it has replaced comes too late: a web page's goodbye, when it is loaded anew. RFC 5626, 6
func TestReplacedFlowLeaves(t *testing.T) {
	play(t, func(w *world) {
		old := w.phone("alice", "192.0.2.1:5062")
		old.connect(1, wire.WSS)
		old.register(flow("sip:abc@x1.invalid;transport=ws", urn1, 1), outboundPhone)
		page := w.phone("alice", "192.0.2.1:5063")
		page.connect(2, wire.WSS)
		page.register(flow("sip:def@x2.invalid;transport=ws", urn1, 1), outboundPhone)
		want(t, old.register(flow("sip:abc@x1.invalid;transport=ws", urn1, 1)+";expires=0", outboundPhone), 200)
		if diff := cmp.Diff([]string{"x2.invalid:0 1"}, w.flowsOf()); diff != "" {
			t.Error(diff)
		}
		want(t, page.register(flow("sip:def@x2.invalid;transport=ws", urn1, 1)+";expires=0", outboundPhone), 200)
		if diff := cmp.Diff([]string{}, w.flowsOf(), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}

// Nobody takes a binding by naming somebody else's phone: an instance is one of its own address-of-record.
func TestForeignInstance(t *testing.T) {
	play(t, func(w *world) {
		w.phone("alice", "192.0.2.1:5062").register(flow("sip:alice@192.0.2.1:5062", urn1, 1), outboundPhone, gruuPhone)
		want(t, w.phone("bob", "192.0.2.2:5062").register(flow("sip:bob@192.0.2.2:5062", urn1, 1), outboundPhone, gruuPhone), 200)
		if diff := cmp.Diff([]string{"192.0.2.1:5062 1"}, w.flowsOf()); diff != "" {
			t.Error(diff)
		}
		bob := w.phone("bob", "192.0.2.2:5062")
		bob.to, bob.cseq = "sip:alice@example.org", 10
		want(t, bob.register(flow("sip:bob@192.0.2.2:5062", urn1, 1), outboundPhone), 403)
	})
}

// RFC 5626, 7: the moment a connection breaks, the bindings that depend on it are lost, of all addresses; those that do not, are not.
func TestConnectionLost(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		first := p.connect(7, wire.TCP)
		p.register(flow("sip:alice@10.0.0.1:5062;transport=tcp", urn1, 1), outboundPhone)
		p.register(flow("sip:alice@10.0.0.1:5062;transport=tcp", urn1, 1), outboundPhone) // again, and still one watch
		if n := len(first.closed); n > 1+2*2 {
			t.Errorf("%d functions wait for the end of the connection", n) // one, and those of transactions that are not over
		}
		second := p.connect(8, wire.TLS)
		p.register(flow("sip:alice@10.0.0.2:5062;transport=tls", urn1, 2), outboundPhone)
		p.register("Contact: <sip:alice@192.0.2.1:6000;transport=tcp>") // listens there
		bob := w.phone("bob", "192.0.2.1:5062")
		bob.line = first
		bob.register("Contact: <sip:bob@10.0.0.1:5062;transport=tcp>")

		first.close()
		if diff := cmp.Diff([]string{"10.0.0.1:5062 1 lost", "10.0.0.2:5062 2", "192.0.2.1:6000 0"}, w.flowsOf()); diff != "" {
			t.Error(diff)
		}
		if b := w.location.Lookup(wire.AOR{User: "bob", Host: "example.org"}); len(b) != 1 || b[0].Usable() {
			t.Errorf("%+v", b)
		}
		p.line = second
		if res := p.register(); len(contacts(res)) != 2 {
			t.Errorf("lost bindings are answered:\n%s", res)
		}
		// The phone comes back by the same flow, another address and transport.
		p.connect(9, wire.TCP)
		p.register(flow("sip:alice@10.9.9.9:5062;transport=tcp", urn1, 1), outboundPhone)
		second.close()
		if diff := cmp.Diff([]string{"10.0.0.2:5062 2 lost", "10.9.9.9:5062 1", "192.0.2.1:6000 0"}, w.flowsOf()); diff != "" {
			t.Error(diff)
		}
		if len(w.reg.flows.all) != 1 {
			t.Errorf("%d connections are remembered", len(w.reg.flows.all))
		}
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if got := w.flowsOf(); len(got) > 0 {
			t.Errorf("lost bindings stay for ever: %q", got)
		}
	})
}

// RFC 3261, 18.1.1: a phone that listens where its Contact says is not lost with its connection. One whose Contact is the connection's own port does not listen.
func TestPhoneThatListens(t *testing.T) {
	for _, tt := range []struct{ name, contact, want string }{
		{"it listens", "sip:alice@192.0.2.1:6000;transport=tcp", "[192.0.2.1:6000 0]"},
		{"it listens for TLS", "sip:alice@192.0.2.1;transport=tls", "[192.0.2.1:0 0]"},
		{"it is called over UDP", "sip:alice@192.0.2.1:6000", "[192.0.2.1:6000 0]"},
		{"its Contact is where it comes from", "sip:alice@192.0.2.1:5062;transport=tcp", "[192.0.2.1:5062 0 lost]"},
		{"it is behind NAT", "sip:alice@10.0.0.1:6000;transport=tcp", "[10.0.0.1:6000 0 lost]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(w *world) {
				p := w.phone("alice", "192.0.2.1:5062")
				first := p.connect(7, wire.TCP)
				want(t, p.register("Contact: <"+tt.contact+">"), 200)
				first.close()
				synctest.Wait()
				if got := fmt.Sprint(w.flowsOf()); got != tt.want {
					t.Errorf("%s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A connection that broke between request and commit is found broken.
func TestConnectionLostMeanwhile(t *testing.T) {
	var f flows
	id := wire.FlowID{Proto: wire.TCP, Serial: 1}
	alice, bob := wire.AOR{User: "alice"}, wire.AOR{User: "bob"}
	if !f.add(id, alice) || f.add(id, alice) || f.add(id, bob) {
		t.Error("the first is not the first")
	}
	if got := f.take(id); len(got) != 2 {
		t.Error(got)
	}
	if !f.add(id, bob) {
		t.Error("after the end nobody asks whether it is the end")
	}
}

// A phone on connections that break again and again does not fill its list: what it lost goes when it is back, and what is of no use goes before anybody is refused.
func TestTidy(t *testing.T) {
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		for i := range 30 {
			l := p.connect(uint64(100+i), wire.TCP)
			want(t, p.register(fmt.Sprintf("Contact: <sip:alice@10.0.0.1:%d;transport=tcp>", 2000+i)), 200)
			l.close()
		}
		if got := w.flowsOf(); len(got) != 1 {
			t.Errorf("%q", got)
		}
		p.connect(200, wire.TCP)
		p.register("Contact: *", "Expires: 0")
		// RFC 5627, 6.1: a phone with an instance that wanders.
		for i := range 30 {
			want(t, p.register(fmt.Sprintf("Contact: <sip:alice@192.0.2.1:%d>;%s", 2000+i, urn1)), 200)
			time.Sleep(time.Second)
		}
		if got := w.flowsOf(); len(got) != 10 || got[9] != "192.0.2.1:2029 0" {
			t.Errorf("%q", got)
		}
		// Ten phones that are there are ten.
		p.register("Contact: *", "Expires: 0")
		for i := range 11 {
			res := p.register(flow(fmt.Sprintf("sip:alice@192.0.2.1:%d", 2000+i), urn1, 1+i))
			if (res.StatusCode == 200) != (i < 10) {
				t.Errorf("flow %d: %s", i, res)
			}
		}
	})
}

// RFC 3327, 4 and 5.3; RFC 3608, 6.3
func TestPath(t *testing.T) {
	const via, contact = "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKphone", "Contact: <sip:alice@10.0.0.9>"
	for _, tt := range []struct {
		name    string
		lines   []string
		code    int
		headers []string
	}{
		{"kept and returned", []string{"Supported: path", via, "Path: <sip:p1.example.org;lr>,<sip:p2.example.org;lr>", "Path: <sip:p3.example.org;lr>"}, 200,
			[]string{"Path: <sip:p1.example.org;lr>, <sip:p2.example.org;lr>, <sip:p3.example.org;lr>", "Service-Route: <sip:example.org;lr>"}},
		{"compact Supported", []string{"k: gruu , PATH", via, "Path: <sip:p1.example.org;lr>"}, 200, []string{"Path: <sip:p1.example.org;lr>"}},
		{"by a proxy without Path", []string{via}, 200, []string{"Path: ", "Service-Route: <sip:example.org;lr>"}},
		{"directly", nil, 200, []string{"Path: ", "Service-Route: "}},
		{"the phone does not know Path", []string{"Supported: pathetic", via, "Path: <sip:p1.example.org;lr>"}, 420, []string{"Unsupported: path"}},
		{"no lr", []string{"Supported: path", via, "Path: <sip:p1.example.org>"}, 400, nil},
		{"no brackets", []string{"Supported: path", via, "Path: sip:p1.example.org;lr"}, 400, nil},
		{"no SIP URI", []string{"Supported: path", via, "Path: <tel:+123;lr>"}, 400, nil},
		{"no URI", []string{"Supported: path", via, "Path: <p1>"}, 400, nil},
		{"too many", []string{"Supported: path", via, "Path: " + strings.Repeat("<sip:p1.example.org;lr>,", 5) + "<sip:p1.example.org;lr>"}, 400, nil},
		{"too long", []string{"Supported: path", via, "Path: <sip:" + strings.Repeat("p", 512) + "@example.org;lr>"}, 400, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(w *world) {
				want(t, w.phone("alice", "192.0.2.1:5062").register(append(tt.lines, contact)...), tt.code, tt.headers...)
				b := w.location.Lookup(wire.AOR{User: "alice", Host: "example.org"})
				if tt.code == 200 && strings.Join(b[0].Path, ", ") != strings.TrimPrefix(tt.headers[0], "Path: ") {
					t.Errorf("kept: %q", b[0].Path)
				}
			})
		})
	}
}

// gruus are the GRUUs in the Contact of a phone.
func gruusOf(t *testing.T, res *wire.Response, uri string) (pub, temp string) {
	t.Helper()
	for _, value := range contacts(res) {
		a, err := wire.ParseAddress(value)
		if err != nil {
			t.Fatal(value, err)
		}
		if a.URI.Raw == uri {
			pub, _ = a.Param("pub-gruu")
			temp, _ = a.Param("temp-gruu")
		}
	}
	return pub, temp
}

// leads tells whether a GRUU leads to a binding of alice now.
func (w *world) leads(t *testing.T, text string) bool {
	t.Helper()
	u, err := wire.ParseURI(text)
	if err != nil {
		t.Fatal(text, err)
	}
	aor, _ := w.reg.Domains.AOR(u)
	of, ok := w.reg.GRUU.Open(u, aor)
	return ok && slices.ContainsFunc(w.location.Lookup(of.AOR), func(b location.Binding) bool {
		return w.reg.GRUU.ID(of.AOR, b.InstanceID) == of.ID && (!of.Temporary || of.Epoch == b.Epoch)
	})
}

// RFC 5627, 5, 5.1 to 5.3: who gets GRUUs, which ones, and how long they are good.
func TestGRUU(t *testing.T) {
	const uri, uri2 = "sip:alice@192.0.2.1:5062", "sip:alice@192.0.2.1:5063"
	play(t, func(w *world) {
		p := w.phone("alice", "192.0.2.1:5062")
		contact := "Contact: <" + uri + ">;" + urn1 + `;pub-gruu="sip:mine@example.org;gr=1";temp-gruu="sip:mine2@example.org;gr"`
		if pub, temp := gruusOf(t, p.register(contact), uri); pub+temp != "" {
			t.Error("a phone that does not know GRUUs got", pub, temp)
		}
		res := p.register(contact, gruuPhone)
		if wire.Has(res, "Require") || wire.Has(res, "Supported") {
			t.Errorf("RFC 5627, 5.2: no option tag\n%s", res)
		}
		pub, temp := gruusOf(t, res, uri)
		if !w.leads(t, pub) || !w.leads(t, temp) || strings.Contains(pub+temp, "mine") {
			t.Error(pub, temp)
		}
		time.Sleep(time.Minute)
		// A refresh gives another temporary one; the first stays good. Who asks gets the latest again.
		pub2, temp2 := gruusOf(t, p.register(contact, gruuPhone), uri)
		if pub2 != pub || temp2 == temp || !w.leads(t, temp) || !w.leads(t, temp2) {
			t.Error(pub2, temp2)
		}
		if pub3, temp3 := gruusOf(t, p.register(gruuPhone), uri); pub3 != pub || temp3 != temp2 {
			t.Error("another query, another GRUU")
		}
		// A second flow with a Call-ID of its own is no new start of the phone.
		other := w.phone("alice", "192.0.2.1:5063")
		time.Sleep(time.Minute)
		_, temp4 := gruusOf(t, other.register(flow(uri2, urn1, 2), gruuPhone), uri2)
		if !w.leads(t, temp) || !w.leads(t, temp4) {
			t.Error("a second flow ends the GRUUs of the first")
		}
		// Another Call-ID for the same flow is one: all temporary GRUUs of the instance end, the public one does not.
		other.callID = "anew"
		_, temp5 := gruusOf(t, other.register(flow(uri2, urn1, 2), gruuPhone), uri2)
		if w.leads(t, temp) || w.leads(t, temp2) || w.leads(t, temp4) || !w.leads(t, temp5) || !w.leads(t, pub) {
			t.Error("a new Call-ID leaves temporary GRUUs")
		}
		// They end with the last contact of the instance.
		p.register("Contact: *", "Expires: 0")
		if w.leads(t, temp5) || w.leads(t, pub) {
			t.Error("they lead to nobody")
		}
		pub6, temp6 := gruusOf(t, p.register(contact, gruuPhone), uri)
		if pub6 != pub || w.leads(t, temp5) || !w.leads(t, temp6) {
			t.Error("the public GRUU is not the same, or a void one is good again")
		}
		// A connection that breaks is no end: the temporary GRUU waits for the phone.
		l := p.connect(7, wire.TCP)
		_, temp7 := gruusOf(t, p.register("Contact: <sip:alice@10.0.0.1;transport=tcp>;"+urn1, gruuPhone), "sip:alice@10.0.0.1;transport=tcp")
		l.close()
		p.connect(8, wire.TCP)
		p.register("Contact: <sip:alice@10.0.0.2;transport=tcp>;"+urn1, gruuPhone)
		if !w.leads(t, temp7) {
			t.Error("the phone is back, its GRUU is not")
		}
		// RFC 5627, 5.1: a GRUU of ours is no contact.
		want(t, p.register("Contact: <"+pub+">;"+urn1), 403)
		want(t, p.register("Contact: <"+temp6+">;"+urn1), 403)
	})
}
