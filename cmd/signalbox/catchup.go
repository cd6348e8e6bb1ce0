package main

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// ledger is what the feed says of bindings: those that it saw begin and not end, and its last event.
type ledger struct {
	alive map[ledgerKey]database.Event
	last  database.Event
	runs  bool // a server started and did not stop
}

type ledgerKey struct {
	aor, contact, instance string
	regID                  int
}

// keyOf is the binding of an event: see counterpart.
func keyOf(e *database.Event) ledgerKey {
	if e.RegID != 0 {
		return ledgerKey{e.AOR, "", e.Instance, e.RegID}
	}
	return ledgerKey{aor: e.AOR, contact: e.Contact}
}

// note takes one line of the feed.
func (l *ledger) note(line []byte) error {
	var e database.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return err
	}
	l.last = e
	switch e.Event {
	case "started":
		l.runs = true
	case "stopped":
		l.runs = false
	case "registered", "created":
		l.alive[keyOf(&e)] = e
	case "unregistered", "expired", "deactivated", "probation", "rejected":
		delete(l.alive, keyOf(&e))
	}
	return nil
}

// readLedger reads the feed from its beginning.
func readLedger(ctx context.Context, db *database.DB) (*ledger, error) {
	l := &ledger{alive: make(map[ledgerKey]database.Event)}
	for cursor := int64(0); ; {
		p, err := db.Events(ctx, cursor)
		if err != nil || p.Last == cursor {
			return l, err
		}
		cursor = p.Last
		for line := range bytes.Lines(p.Text) {
			if err := l.note(line); err != nil {
				return nil, err
			}
		}
	}
}

// catchUp completes the feed at a start with what it could not tell: bindings that expired while no server ran, and what happened in the last moments before a crash. What it
// says is alive is compared with what is registered, and the difference is appended, marked as recovered. A feed without a line has nothing to be
// compared with; of bindings older than its oldest line it tells nothing, as ever.
func (f feed) catchUp(ctx context.Context, db *database.DB, bindings *location.Service) error {
	l, err := readLedger(ctx, db)
	if err != nil {
		return err
	}
	now := time.Now()
	// What was registered before that the feed has told of, or has forgotten.
	told := l.last.Time.Add(-feedSlack)
	if l.last.Cursor == 0 {
		told = now
	}
	bindings.All(func(aor wire.AOR, list []location.Binding) bool {
		for i := range list {
			e := bindingEvent("registered", aor, &list[i], list[i].Created)
			_, known := l.alive[keyOf(&e)]
			delete(l.alive, keyOf(&e))
			if !known && list[i].Created.After(told) {
				e.Recovered = true
				f.journal.Append(e)
			}
		}
		return true
	})
	for _, e := range l.alive {
		f.journal.Append(database.Event{Event: "expired", AOR: e.AOR, Contact: e.Contact, Instance: e.Instance, RegID: e.RegID, Device: e.Device, Recovered: true})
	}
	started := database.Event{Event: "started"}
	if l.runs {
		started.Reason = "after a crash"
	}
	f.journal.Append(started)
	return nil
}
