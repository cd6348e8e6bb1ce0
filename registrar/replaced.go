package registrar

import (
	"strings"
	"sync"
	"time"

	"signalbox/internal/wire"
)

// replaced remembers which registrations ended because their user logged in on another device (multi_login = "auto-logout"). Their phones go on to refresh them: that is no
// login, and must not log the other device out in turn, and so on for ever. A phone that starts anew has another Call-ID (RFC 3261, 10.2). Nothing is kept over a restart: then
// whoever comes first is logged in.
type replaced struct {
	mu    sync.Mutex
	until map[ended]time.Time
}

// ended is a registration that was.
type ended struct {
	aor    wire.AOR
	callID string
}

// copy keeps no message in memory.
func (e ended) copy() ended {
	return ended{wire.AOR{User: strings.Clone(e.aor.User), Host: strings.Clone(e.aor.Host)}, strings.Clone(e.callID)}
}

func (r *replaced) add(aor wire.AOR, callID string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.until) >= maxReplaced {
		for e, until := range r.until {
			if now.After(until) {
				delete(r.until, e)
			}
		}
		if len(r.until) >= maxReplaced {
			return
		}
	}
	if r.until == nil {
		r.until = map[ended]time.Time{}
	}
	r.until[ended{aor, callID}.copy()] = now.Add(replacedFor)
}

// has tells whether that registration was replaced, and remembers it for longer: its phone still tries.
func (r *replaced) has(aor wire.AOR, callID string) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := ended{aor, callID}
	until, ok := r.until[e]
	if !ok {
		return false
	}
	if now.After(until) {
		delete(r.until, e)
		return false
	}
	r.until[e.copy()] = now.Add(replacedFor)
	return true
}
