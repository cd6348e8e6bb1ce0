package regevent

import (
	"encoding/json"
	"fmt"
	"time"

	"signalbox/internal/wire"
)

// record is a subscription on disk.
type record struct {
	CallID   string      `json:"call_id"`
	Local    string      `json:"local"`
	Remote   string      `json:"remote"`
	AOR      wire.AOR    `json:"aor"`
	Watcher  wire.AOR    `json:"watcher"`
	Device   wire.AOR    `json:"device,omitzero"`
	Event    string      `json:"event"`
	From     string      `json:"from"`
	To       string      `json:"to"`
	Routes   []string    `json:"routes,omitempty"`
	Secure   bool        `json:"secure,omitempty"`
	Target   string      `json:"target"`
	Instance string      `json:"instance,omitempty"`
	Flow     wire.FlowID `json:"flow"`
	Seen     uint32      `json:"seen"`
	Seq      uint32      `json:"seq"`
	Version  uint32      `json:"version"`
}

// save has the subscription written; done is called as the owner.
func (s *subscription) save(done func(error)) {
	if s.n.Store == nil {
		done(nil)
		return
	}
	data, err := json.Marshal(record{
		CallID: s.dialog.callID, Local: s.dialog.local, Remote: s.dialog.remote, AOR: s.aor, Watcher: s.watcher, Device: s.device, Event: s.event, From: s.from, To: s.to,
		Routes: s.routes, Secure: s.secure, Target: s.target.Raw, Instance: s.instance, Flow: s.flow, Seen: s.seen, Seq: s.seq, Version: s.version,
	})
	if err != nil {
		done(err)
		return
	}
	s.n.Store.Save(s.dialog.local, s.expires, data, func(err error) { s.owner.Do(func() { done(err) }) })
}

// Restore takes up a subscription of before a restart. Its subscriber is told how things are, for what happened meanwhile is not known: one after the other,
// not all at once.
func (n *Notifier) Restore(expires time.Time, data []byte) error {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("regevent: subscription on disk: %w", err)
	}
	target, err := wire.ParseURI(r.Target)
	if err != nil {
		return fmt.Errorf("regevent: subscription on disk: %w", err)
	}
	s := &subscription{
		n: n, owner: n.Layer.NewOwner(), dialog: dialogID{r.CallID, r.Local, r.Remote}, aor: r.AOR, watcher: r.Watcher, device: r.Device, event: r.Event, from: r.From, to: r.To,
		routes: r.Routes, secure: r.Secure, target: target, instance: r.Instance, flow: r.Flow, seen: r.Seen, expires: expires, seq: r.Seq, version: r.Version,
		full: true,
	}
	if err := n.table.add(s); err != nil {
		return err
	}
	wait := pace + time.Duration(n.table.len())*spread
	s.owner.Do(func() {
		s.notBefore = time.Now().Add(wait)
		s.next()
	})
	return nil
}
