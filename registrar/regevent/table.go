package regevent

import (
	"slices"
	"sync"

	"signalbox/internal/wire"
)

// dialogID names a dialog as we see it: Call-ID, our tag, the subscriber's. RFC 3261, 12
type dialogID struct{ callID, local, remote string }

func dialogOf(req *wire.Request) dialogID {
	return dialogID{req.CallID, req.To.Tag, req.From.Tag}
}

// table finds subscriptions. It is read at every change of a binding.
type table struct {
	mu        sync.RWMutex
	dialogs   map[dialogID]*subscription
	byAOR     map[wire.AOR][]*subscription
	byWatcher map[wire.AOR][]*subscription // those who watch others
}

func (t *table) init() {
	t.dialogs = make(map[dialogID]*subscription)
	t.byAOR = make(map[wire.AOR][]*subscription)
	t.byWatcher = make(map[wire.AOR][]*subscription)
}

// add enters a subscription, if there is room.
func (t *table) add(s *subscription) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case len(t.dialogs) >= maxSubscriptions:
		return wire.Errorf(503, "Too Many Subscriptions", "regevent: %d subscriptions", len(t.dialogs)).With("Retry-After", retryAfter)
	case len(t.byAOR[s.aor]) >= maxPerAOR:
		return wire.Errorf(403, "Too Many Subscriptions", "regevent: %d subscriptions to %s", len(t.byAOR[s.aor]), s.aor)
	case t.dialogs[s.dialog] != nil:
		return wire.Errorf(500, "", "regevent: dialog %v twice", s.dialog)
	}
	t.dialogs[s.dialog] = s
	t.byAOR[s.aor] = append(t.byAOR[s.aor], s)
	if s.watcher != s.aor {
		t.byWatcher[s.watcher] = append(t.byWatcher[s.watcher], s)
	}
	return nil
}

func (t *table) remove(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dialogs[s.dialog] != s {
		return
	}
	delete(t.dialogs, s.dialog)
	drop(t.byAOR, s.aor, s)
	drop(t.byWatcher, s.watcher, s)
}

// drop takes a subscription out of a list, which others may be reading: it is copied.
func drop(m map[wire.AOR][]*subscription, aor wire.AOR, s *subscription) {
	list := m[aor]
	at := slices.Index(list, s)
	switch {
	case at < 0:
	case len(list) == 1:
		delete(m, aor)
	default:
		m[aor] = slices.Concat(list[:at], list[at+1:])
	}
}

func (t *table) find(d dialogID) *subscription {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.dialogs[d]
}

// watching returns the subscriptions to an address, and those of its user to others.
func (t *table) watching(aor wire.AOR) (to, of []*subscription) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byAOR[aor], t.byWatcher[aor]
}

func (t *table) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.dialogs)
}
