package registrar

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
)

// A contact that is accepted comes back in the 200 as a value that says the same: the phone finds its own binding by it (RFC 3261, 10.2.4).
func FuzzContact(f *testing.F) {
	for _, s := range []string{
		"<sip:alice@192.0.2.1:5062;ob>;q=0.5;expires=600", "sip:a@b;x", `"A, B" <sips:a@[2001:db8::1]> ; x = "a;\"b" ;+sip.instance="<urn:uuid:1>";reg-id=1`,
		"*", "<tel:+1>", "<sip:a@b?c=d>;expires=x;q=1.000", ";;", "<sip:a@192.0.2.7>",
	} {
		f.Add(s)
	}
	w := newWorld(f)
	defer w.close()
	p := w.phone("alice", "192.0.2.1:5062")
	g := &registration{Registrar: w.reg, req: p.request(), tx: &transaction.Server{Flow: p.line}, terms: w.reg.usualTerms()}
	read := func(value string) (contact, error) {
		a, err := wire.ParseAddress(value)
		if err != nil {
			return contact{}, err
		}
		return g.readContact(&a)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, "\r\n\x00") {
			return // a message with these has been refused before
		}
		c, err := read(value)
		if err != nil || c.interval == 0 {
			return // refused, or one that leaves: it is not answered
		}
		b := g.binding(&c, time.Time{}, 0, 0, 0)
		out := string(appendContact(nil, &b, b.Updated))
		if len(out) > maxContact {
			return
		}
		again, err := read(out)
		if err != nil {
			t.Fatalf("%q is answered by %q: %v", value, out, err)
		}
		if diff := cmp.Diff(c, again, cmp.AllowUnexported(contact{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q is answered by %q (-asked +answered)\n%s", value, out, diff)
		}
	})
}

// FuzzPath reads a Path, and the Supported beside it: what is accepted is a route, and comes back as it is (RFC 3327, 5.3).
func FuzzPath(f *testing.F) {
	f.Add("<sip:p1.example.org;lr>, <sip:token@192.0.2.9;lr;ob>", "path, outbound")
	f.Add(`"p" <sips:p1.example.org;lr>;x`, "PATH")
	f.Add("sip:p1.example.org;lr", ",,path")
	w := newWorld(f)
	defer w.close()
	p := w.phone("alice", "192.0.2.1:5062")
	plain := p.request()
	f.Fuzz(func(t *testing.T, path, supported string) {
		if strings.ContainsAny(path+supported, "\r\n\x00") {
			return // a message with these has been refused before
		}
		req := plain.Clone()
		wire.Add(req, "Path", path)
		wire.Add(req, "Supported", supported)
		g := &registration{Registrar: w.reg, req: req, tx: &transaction.Server{Flow: p.line}}
		g.survey()
		if err := g.readPath(); err != nil || g.throughEdge() && len(g.path) == 0 {
			return
		}
		for _, value := range g.path {
			a, err := wire.ParseAddress(value)
			if _, lr := a.URI.Param("lr"); err != nil || !lr || !a.URI.IsSIP() {
				t.Errorf("%q is no route", value)
			}
		}
		res := wire.NewResponse(req, 200, "", "tag")
		g.answerPath(res)
		if got := strings.Join(wire.List(res, "Path"), ","); got != strings.Join(g.path, ",") {
			t.Errorf("%q is answered by %q", path, got)
		}
	})
}
