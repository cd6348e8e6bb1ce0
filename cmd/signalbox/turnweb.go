package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"signalbox/internal/auth"
)

// turnAnswer is what GET /turn returns: the form that is known as the TURN REST API, and in the same object the one that a browser takes as it is,
// new RTCPeerConnection(answer).
type turnAnswer struct {
	Username   string      `json:"username"`
	Password   string      `json:"password"`
	TTL        int         `json:"ttl"` // seconds
	URIs       []string    `json:"uris"`
	ICEServers []iceServer `json:"iceServers"`
}

type iceServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username"`
	Credential string   `json:"credential"`
}

// serveTURN hands time-limited TURN credentials to somebody with a SIP account.
func (s *server) serveTURN(w http.ResponseWriter, r *http.Request) {
	if !s.openToPage(w, r) {
		return
	}
	if s.turn == nil {
		http.Error(w, "This server has no TURN: see [turn] in its configuration.", http.StatusNotFound)
		return
	}
	domain, user, ok := s.signedIn(w, r)
	if !ok {
		return
	}
	c := s.turn.Issue(user + "@" + domain)
	uris := s.turnURIs(hostOf(r))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(turnAnswer{
		Username: c.Username, Password: c.Password, TTL: int(c.Life.Seconds()), URIs: uris,
		ICEServers: []iceServer{{URLs: uris, Username: c.Username, Credential: c.Password}},
	})
}

// signedIn asks for an account: of the domain in the query, or else the first. It has answered if there is none.
func (s *server) signedIn(w http.ResponseWriter, r *http.Request) (domain, user string, ok bool) {
	domain = s.config.domains[0]
	if asked := r.URL.Query().Get("domain"); asked != "" {
		known, ours := s.domains.Domain(asked)
		if !ours {
			http.Error(w, "There are no accounts of that domain here.", http.StatusNotFound)
			return "", "", false
		}
		domain = known
	}
	from := remoteAddr(r)
	user, ok = s.core.auth.VerifyHTTP(w, r, auth.Web{Realm: domain, From: from, Secret: r.TLS != nil || from.IsLoopback()})
	return domain, user, ok
}

// preflight answers a browser that asks whether a page of another origin may ask.
func (s *server) preflight(w http.ResponseWriter, r *http.Request) {
	if s.openToPage(w, r) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// openToPage says to the browser which pages may read the answer: those that may connect. It has answered if this is none of them.
func (s *server) openToPage(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Origin")
	if origins := s.pages(); !origins.Allows(r) {
		http.Error(w, "Pages of that origin may not use this server: see [web] origins in its configuration.", http.StatusForbidden)
		return false
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
		h.Set("Access-Control-Max-Age", "600")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	return true
}

func remoteAddr(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap().WithZone("")
}

// hostOf is the name that a client knows us by, without the port.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return strings.Trim(host, "[]")
}
