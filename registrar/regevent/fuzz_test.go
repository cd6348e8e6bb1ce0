package regevent

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
	"signalbox/location"
)

// FuzzServe gives whole SUBSCRIBEs, from a user who has proven who he is, to the notifier, and rubbish as the answers to its NOTIFYs: no panic, everything is answered, what
// is sent can be read again, and goes to the sender only.
func FuzzServe(f *testing.F) {
	w := &world{users: map[wire.AOR]bool{alice: true, bob: true}, flows: make(map[wire.FlowID]*line)}
	seed := func(uri, tag string, more ...string) { f.Add(w.request("alice", uri, tag, more...), "SIP/2.0 200 OK") }
	seed("sip:alice@example.org", "")
	seed("sip:alice@example.org", "", "Expires: 0", "Contact: <sip:x@198.51.100.1:9;maddr=198.51.100.2>")
	seed("sip:alice@example.org", "", "Record-Route: <sip:p1.example.net;lr>, <sip:p2.example.net>", "Event: reg;id=7")
	seed("sip:192.0.2.100;gr=reg", "madeup", "Accept: */*;q=0", "CSeq: 4294967295 SUBSCRIBE")
	f.Add("", "SIP/2.0 503 x\r\nRetry-After: 99999999999999999999")
	var err error
	if w.location, err = location.Open(nil, location.Config{Volatile: true}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { w.location.Close(context.Background()) })
	w.location.Update(alice, func([]location.Binding) ([]location.Binding, error) {
		return []location.Binding{binding("sip:alice@192.0.2.1", nil)}, nil
	}, func([]location.Binding, error) {})
	f.Fuzz(func(t *testing.T, request, answer string) {
		w.layer = transaction.New(transaction.Config{Handler: w, Logger: slog.New(slog.DiscardHandler)}) // a new one: no request is the repetition of an earlier one
		defer w.layer.Close()
		w.notifier, err = New(Config{
			Domains: wire.NewDomains([]string{"example.org"}, []string{"192.0.2.100"}), Users: w, Auth: w, Location: w.location, Network: w, Layer: w.layer, Store: &memory{},
		})
		if err != nil {
			t.Fatal(err)
		}
		m, parseErr := wire.Parse([]byte(request))
		req, ok := m.(*wire.Request)
		if parseErr != nil || !ok || req.Method != "SUBSCRIBE" {
			return
		}
		clear(w.flows)
		out := w.line(wire.UDP, "192.0.2.1:5060")
		w.layer.ReceiveRequest(out, req)
		w.mu.Lock()
		sent := append([]string(nil), out.sent...)
		flows := len(w.flows)
		w.mu.Unlock()
		if len(sent) == 0 && flows == 1 {
			t.Error("no answer")
		}
		for id := range w.flows {
			if id.Remote.Addr() != out.id.Remote.Addr() {
				t.Errorf("sent to %s", id.Remote)
			}
		}
		for _, text := range sent {
			m, err := wire.Parse([]byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if notify, ok := m.(*wire.Request); ok {
				reply := string(wire.Append(nil, wire.NewResponse(notify, 200, "", "")))
				_, headers, _ := strings.Cut(reply, "\r\n")
				if m, err := wire.Parse([]byte(answer + "\r\n" + headers)); err == nil {
					if res, ok := m.(*wire.Response); ok {
						w.layer.ReceiveResponse(out, res)
					}
				}
			}
		}
	})
}
