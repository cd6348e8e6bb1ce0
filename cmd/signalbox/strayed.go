package main

import (
	"slices"
	"strings"
	"sync"

	"signalbox/internal/transaction"
	"signalbox/internal/wire"
)

// stray is a REGISTER for a domain that is not ours, from a phone that was set up with a wrong one, with our address perhaps: then there is no other server to
// forward it to, and it is 404. RFC 3261, 10.3 step 1 and RFC 3261, 10.3 step 5
func (d *dispatcher) stray(tx *transaction.Server) error {
	u := tx.Request.URI
	if d.strayed != nil {
		d.strayed(u.Host, tx.Flow.ID())
	}
	if d.local(u.Host, u.Port) {
		return wire.Errorf(404, "Domain Not Served Here", "dispatch: %s is our address, but no domain of ours", u.Host)
	}
	return nil
}

// phoneStrayed tells the operator what the phone's user cannot see, once for each domain.
func (s *server) phoneStrayed(domain string, from wire.FlowID) {
	if slices.Contains(s.config.edge, domain) {
		return
	}
	if name := harmless(shorten(domain)); s.strayed.first(name) {
		s.log.Warn("a phone wants to register with a domain that is not ours", "domain", name, "ours", strings.Join(s.config.domains, ", "), "source", string(appendSource(nil, from)))
	}
}

// namedOnce is what the log has named.
type namedOnce struct {
	mu   sync.Mutex
	seen map[string]struct{}
}

// first tells whether a name has not been seen before. It knows no more when it has seen maxNamedOnce.
func (n *namedOnce) first(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.seen[name]; known || len(n.seen) == maxNamedOnce {
		return false
	}
	if n.seen == nil {
		n.seen = map[string]struct{}{}
	}
	n.seen[strings.Clone(name)] = struct{}{} // it is a part of a message
	return true
}
