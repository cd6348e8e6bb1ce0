package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"signalbox/internal/wire"
)

// webHandlers is what the https and http listeners serve, path by path.
func (s *server) webHandlers() http.Handler {
	mux := http.NewServeMux()
	sip := s.network.WebSocket(s.pages())
	mux.Handle("/sip", sip)
	mux.Handle("/ws", sip) // where pages written for other servers connect to
	mux.HandleFunc("GET /ca", s.serveCA)
	page := s.phonePage()
	mux.Handle("GET /phone", page)
	mux.Handle("GET /phone/", page)
	mux.Handle("GET /sip-phone.js", page)
	mux.HandleFunc("OPTIONS /phone/config.json", s.preflight)
	mux.HandleFunc("GET /turn", s.serveTURN)
	mux.HandleFunc("OPTIONS /turn", s.preflight)
	mux.HandleFunc("POST /messages", s.serveMessages)
	mux.HandleFunc("OPTIONS /messages", s.preflight)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" { // RFC 7118, 4.1 shows it there
			sip.ServeHTTP(w, r)
			return
		}
		s.serveHome(w, r)
	})
	return s.guarded(mux)
}

// isOurName: a web server of a domain often has a name below it.
func (s *server) isOurName(host string) bool {
	for _, name := range s.domains.Names() {
		if len(host) > len(name) && strings.EqualFold(host[len(host)-len(name)-1:], "."+name) {
			return true
		}
	}
	_, ours := s.domains.Domain(host)
	return ours
}

// serveWeb begins to serve HTTP, if there are listeners for it.
func (s *server) serveWeb(context.Context) error {
	listeners := s.network.Web()
	if len(listeners) == 0 {
		return nil
	}
	web := &http.Server{
		Handler:           s.webHandlers(),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate, NextProtos: []string{"h2", "http/1.1"}},
		ReadHeaderTimeout: webHeaderTimeout, // and the TLS handshake
		ReadTimeout:       webReadTimeout,
		WriteTimeout:      webWriteTimeout,
		IdleTimeout:       webIdleTimeout,
		MaxHeaderBytes:    maxWebHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxWebStreams},
		// What it says is about what strangers send: a flood of them is no flood of warnings.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{}, len(listeners))
	for _, l := range listeners {
		go func() {
			defer func() { done <- struct{}{} }()
			serve := func() error { return web.Serve(l) }
			if l.Proto == wire.WSS {
				serve = func() error { return web.ServeTLS(l, "", "") }
			}
			if err := serve(); !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("web server died", "address", l.Addr(), "error", err)
			}
		}()
	}
	s.onStop(func(ctx context.Context) error {
		err := web.Shutdown(ctx)
		if err != nil {
			err = web.Close()
		}
		for range listeners {
			<-done
		}
		return err
	})
	return nil
}

// guarded gives every answer the headers that keep a browser from doing more with it than was meant; a handler that means more says so. It
// also catches panics: they cost one request, and are told.
func (s *server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "microphone=(self), camera=(self), geolocation=()")
		// No Strict-Transport-Security: it would bind all ports of this host name, and forbid to look past the certificate of a local CA.
		r = s.passedOn(r)
		defer func() {
			if v := recover(); v != nil {
				if v != http.ErrAbortHandler {
					s.log.Error("panic in a web handler", "path", harmless(shorten(r.URL.Path)), "panic", v)
				}
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// passedOn lets a request that a web server in front of us has passed on come from where its user is, and by https if it came there so. That server appends
// to X-Forwarded-For the address it was asked from; what stands before it anybody could have written.
func (s *server) passedOn(r *http.Request) *http.Request {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !s.isProxy(from.Addr()) {
		return r
	}
	r = r.WithContext(r.Context())
	if protos := forwarded(r, "X-Forwarded-Proto"); r.TLS == nil && strings.EqualFold(protos[len(protos)-1], "https") {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	for _, text := range slices.Backward(forwarded(r, "X-Forwarded-For")) {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return r
		}
		if addr = addr.Unmap().WithZone(""); s.isProxy(addr) {
			continue // one in front of the other
		}
		r.RemoteAddr = netip.AddrPortFrom(addr, from.Port()).String()
		return r
	}
	return r
}

// forwarded lists the values of a header that each web server on the way appends to; at least one, which may be empty.
func forwarded(r *http.Request, name string) []string {
	list := strings.Split(strings.Join(r.Header.Values(name), ","), ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func (s *server) isProxy(a netip.Addr) bool {
	return slices.ContainsFunc(s.config.proxies, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// serveCA hands out the certificate of the local CA, for phones and browsers to trust.
func (s *server) serveCA(w http.ResponseWriter, r *http.Request) {
	if s.localCA == nil {
		http.Error(w, "This server has no CA of its own: its certificate was made by somebody else.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-x509-ca-cert")
	w.Header().Set("Content-Disposition", `attachment; filename="signalbox-ca.crt"`)
	http.ServeFile(w, r, s.localCA.File())
}

//go:embed home.html
var homePage string

var (
	homeTemplate = template.Must(template.New("home").Parse(homePage))
	homeCSP      = "default-src 'none'; style-src 'sha256-" + styleHash(homePage) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// styleHash is what a Content-Security-Policy knows the page's style sheet by.
func styleHash(page string) string {
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	sum := sha256.Sum256([]byte(style[1]))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// serveHome says what this is, and how to go on.
func (s *server) serveHome(w http.ResponseWriter, r *http.Request) {
	scheme := "ws"
	if r.TLS != nil {
		scheme = "wss"
	}
	w.Header().Set("Content-Security-Policy", homeCSP)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = homeTemplate.Execute(w, struct {
		Domain, WebSocket string
		LocalCA           bool
	}{s.config.domains[0], scheme + "://" + r.Host + "/sip", s.localCA != nil && r.TLS != nil && r.TLS.Version != 0}) // no version: it was the TLS of a web server in front
}
