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
	alive map[string][]byte // the lines that began them
	last  []byte
	runs  bool // a server started and did not stop
	key   []byte
}

// note takes one line of the feed. It reads what database.Event writes, of which there are hundreds of thousands at a start, without decoding the rest.
func (l *ledger) note(line []byte) {
	l.last = line
	switch string(textField(line, "event")) {
	case "started":
		l.runs = true
	case "stopped":
		l.runs = false
	case "registered", "created":
		l.alive[string(l.keyOf(line))] = bytes.Clone(line)
	case "unregistered", "expired", "deactivated", "probation", "rejected":
		delete(l.alive, string(l.keyOf(line)))
	}
}

// keyOf names the binding of an event: see counterpart. It is good until the next call.
func (l *ledger) keyOf(line []byte) []byte {
	l.key = append(append(l.key[:0], textField(line, "aor")...), 0)
	if _, flow, ok := bytes.Cut(line, []byte(`,"reg_id":`)); ok {
		id, _, _ := bytes.Cut(flow, []byte(","))
		l.key = append(append(l.key, id...), 0)
		return append(l.key, textField(line, "instance")...)
	}
	return append(l.key, textField(line, "contact")...)
}

// textField is the value of a field as it stands in a line. No value can look like the name of a field: its quotes are escaped.
func textField(line []byte, name string) []byte {
	_, rest, ok := bytes.Cut(line, []byte(`,"`+name+`":"`))
	if !ok {
		return nil
	}
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			return rest[:i]
		}
	}
	return nil
}

// readLedger reads the feed from its beginning.
func readLedger(ctx context.Context, db *database.DB) (*ledger, error) {
	l := &ledger{alive: make(map[string][]byte)}
	for cursor := int64(0); ; {
		p, err := db.Events(ctx, cursor)
		if err != nil || p.Last == cursor {
			return l, err
		}
		cursor = p.Last
		for line := range bytes.Lines(p.Text) {
			l.note(line)
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
	// What was registered before that the feed has told of, or has forgotten.
	told := time.Now()
	if l.last != nil {
		var last database.Event
		if err := json.Unmarshal(l.last, &last); err != nil {
			return err
		}
		told = last.Time.Add(-feedSlack)
	}
	bindings.All(func(aor wire.AOR, list []location.Binding) bool {
		for i := range list {
			f.compare(l, bindingEvent("registered", aor, &list[i], list[i].Created), told)
		}
		return true
	})
	for _, line := range l.alive {
		var e database.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		phones(f).expired(&e, bindings)
		f.journal.Append(database.Event{Event: "expired", AOR: e.AOR, Contact: e.Contact, Instance: e.Instance, RegID: e.RegID, Device: e.Device, Recovered: true})
	}
	started := database.Event{Event: "started"}
	if l.runs {
		started.Reason = "after a crash"
	}
	f.journal.Append(started)
	return nil
}

// compare appends that a binding was registered if the feed should know and does not.
func (f feed) compare(l *ledger, e database.Event, told time.Time) {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if enc.Encode(&e) != nil {
		return // cannot be: it is text and numbers
	}
	key := string(l.keyOf(line.Bytes()))
	_, known := l.alive[key]
	delete(l.alive, key)
	if !known && e.Time.After(told) {
		e.Recovered = true
		f.journal.Append(e)
	}
}
