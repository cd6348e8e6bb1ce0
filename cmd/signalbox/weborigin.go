package main

import (
	"net/http"
	"sync"

	"signalbox/internal/transport"
)

// pages says which web pages may connect, and ask for what pages need.
func (s *server) pages() transport.Origins {
	return transport.Origins{Allowed: s.config.origins, Known: s.isOurName, Refused: s.pageRefused}
}

// refusedPages are the origins that the log has named.
type refusedPages struct {
	mu     sync.Mutex
	origin map[string]struct{}
}

// first tells whether an origin has not been refused before. It knows no more when it has seen maxRefusedOrigins.
func (p *refusedPages) first(origin string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.origin[origin]; known || len(p.origin) == maxRefusedOrigins {
		return false
	}
	if p.origin == nil {
		p.origin = map[string]struct{}{}
	}
	p.origin[origin] = struct{}{}
	return true
}

// pageRefused tells the operator what the page's user cannot see, once for each origin: a browser shows no more of a refused WebSocket than that it failed.
func (s *server) pageRefused(r *http.Request) {
	origin := harmless(shorten(r.Header.Get("Origin")))
	if !s.refused.first(origin) {
		return
	}
	hint := `to let it in: [web] origins = ["` + origin + `"]`
	if origin == "null" {
		hint = `it was opened from a file: serve it from a web server, or, to let in every page without an origin: [web] origins = ["null"]`
	}
	s.log.Warn("a web page of another origin may not connect", "origin", origin, "source", remoteAddr(r), "hint", hint)
}
