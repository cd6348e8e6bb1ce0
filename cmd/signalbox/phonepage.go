package main

import (
	"net/http"

	webphone "signalbox/internal/console/phone"
	"signalbox/media/echo"
)

// phonePage is the web phone, told what this server has.
func (s *server) phonePage() http.Handler {
	c := webphone.Config{
		Domain: s.config.domains[0], HTTPS: int(s.webPort()), TURN: s.turn != nil,
		Ready: func() []webphone.Account { return s.ready },
		Pages: s.openToPage,
	}
	if s.core.echo != nil {
		c.Echo = echo.User
	}
	return webphone.Handler(c)
}
