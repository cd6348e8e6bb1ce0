package main

import (
	"net/http"

	"signalbox/internal/transport"
)

// pages says which web pages may connect, and ask for what pages need.
func (s *server) pages() transport.Origins {
	return transport.Origins{Allowed: s.config.origins, Known: s.isOurName, Refused: s.pageRefused}
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
