package main

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"time"

	"signalbox/internal/auth"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/media/messages"
)

// openMessages makes the gateway between data channels and MESSAGE, where there are pages.
func (s *server) openMessages(context.Context) (err error) {
	if s.media == nil || len(s.network.Web()) == 0 {
		return nil
	}
	s.messages, err = messages.New(messages.Config{Media: s.media, Logger: s.log})
	return err
}

// startMessages lets pages in. They are sent away before the core stops, so that their registrations are taken back.
func (s *server) startMessages() {
	if s.messages == nil {
		return
	}
	s.messages.Start(s.core.layer)
	s.onStop(func(context.Context) error { s.messages.Close(); return nil })
}

// serveMessages opens a session for a page: the body is its offer of a data channel, what it gets is the answer. (It is what WHIP does for media.)
func (s *server) serveMessages(w http.ResponseWriter, r *http.Request) {
	if !s.openToPage(w, r) {
		return
	}
	if s.messages == nil {
		http.Error(w, "This server has no media, and so no data channels.", http.StatusNotFound)
		return
	}
	domain, user, ok := s.signedIn(w, r)
	if !ok {
		return
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/sdp" {
		w.Header().Set("Accept-Post", "application/sdp")
		http.Error(w, "Want the offer of a data channel as application/sdp.", http.StatusUnsupportedMediaType)
		return
	}
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, messages.MaxOffer))
	if err != nil {
		http.Error(w, "The offer is too large, or did not come.", http.StatusRequestEntityTooLarge)
		return
	}
	answer, err := s.messages.Open(r.Context(), s.page(r, wire.AOR{User: user, Host: domain}), offer)
	if err != nil {
		s.refusePage(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(answer)
}

// page is who has sent a web request, as far as SIP is concerned.
func (s *server) page(r *http.Request, user wire.AOR) messages.Page {
	p := messages.Page{User: user, Secure: r.TLS != nil}
	p.Remote, _ = netip.ParseAddrPort(r.RemoteAddr)
	p.Remote = netip.AddrPortFrom(p.Remote.Addr().Unmap(), p.Remote.Port())
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		p.Local = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	was, _ := s.users.Get(user.User, user.Host)
	p.Valid = func() bool {
		now, ok := s.users.Get(user.User, user.Host)
		return ok && now.MD5 == was.MD5 && now.SHA256 == was.SHA256
	}
	return p
}

func (s *server) refusePage(w http.ResponseWriter, err error) {
	refused := &wire.Error{}
	if !errors.As(err, &refused) {
		s.log.Warn("no data channel for a page", "error", harmless(shorten(err.Error())))
		refused = wire.Errorf(500, "The data channel could not be opened.", "%w", err)
	}
	http.Error(w, refused.Reason, refused.Code)
}

// pageFlows is a network with the flows of pages in it.
type pageFlows struct {
	transport.Network
	pages *messages.Gateway
}

// Find looks at the pages first: their flows are told by a bit.
func (n pageFlows) Find(id wire.FlowID) (transport.Flow, bool) {
	if f, ok := n.pages.Find(id); ok {
		return f, true
	}
	return n.Network.Find(id)
}

// pageAuth believes pages what they have proven over HTTP, when they asked for their flow.
type pageAuth struct {
	*auth.Verifier
	pages *messages.Gateway
}

// Verify serves registrar and proxy.
func (a pageAuth) Verify(req *wire.Request, scope auth.Scope, realm string, from wire.FlowID) (auth.Identity, *wire.Error) {
	if user, since, ok := a.pages.Proven(from); ok && user.Host == realm {
		return a.Proven(user.User, realm, from.Remote.Addr(), time.Since(since)), nil
	}
	return a.Verifier.Verify(req, scope, realm, from)
}
