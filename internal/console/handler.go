package console

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// Server is what Handler needs beside the desk.
type Server interface {
	Status() Status
	Reload() error // reads the users again
}

// Handler serves the API. Names in paths are escaped as path segments: /v1/users/alice%40example.org.
//
//	GET    /v1/status
//	GET    /metrics                   the same for Prometheus, see WriteMetrics
//	POST   /v1/reload
//	GET    /v1/users                  []Account
//	POST   /v1/users                  Credentials; 201, 409 if the user exists
//	GET    /v1/users/NAME             Account
//	PUT    /v1/users/NAME             Credentials
//	DELETE /v1/users/NAME
//	POST   /v1/import                 Credentials, one JSON value a line; all or none; answers {"imported": N}
//	GET    /v1/registrations          []Registration
//	GET    /v1/registrations/NAME     Registration
//	DELETE /v1/registrations/NAME     ?contact=URI removes one contact only
//	GET    /v1/events                 ?since=CURSOR&follow=1; one JSON value a line (database.Event), see Desk.Feed
//
// Devices, applications and logins: see deviceRoutes. Errors are {"error": "..."} with 400, 404, 409, 413 or 500.
func Handler(d *Desk, s Server) http.Handler {
	h := &handler{desk: d, server: s}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) { answer(w, s.Status(), nil) })
	mux.Handle("GET /metrics", Metrics(s))
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) { answer(w, nil, s.Reload()) })
	mux.HandleFunc("GET /v1/users", h.listUsers)
	mux.HandleFunc("POST /v1/users", h.addUser)
	mux.HandleFunc("GET /v1/users/{name}", h.showUser)
	mux.HandleFunc("PUT /v1/users/{name}", h.setUser)
	mux.HandleFunc("DELETE /v1/users/{name}", h.removeUser)
	mux.HandleFunc("POST /v1/import", h.importUsers)
	mux.HandleFunc("GET /v1/registrations", h.listRegistrations)
	mux.HandleFunc("GET /v1/registrations/{name}", h.showRegistration)
	mux.HandleFunc("DELETE /v1/registrations/{name}", h.removeRegistration)
	h.deviceRoutes(mux)
	mux.HandleFunc("GET /v1/events", h.feed)
	return mux
}

type handler struct {
	desk   *Desk
	server Server
}

func (h *handler) listUsers(w http.ResponseWriter, r *http.Request) {
	list, err := h.desk.Accounts(r.Context())
	answer(w, list, err)
}

func (h *handler) showUser(w http.ResponseWriter, r *http.Request) {
	one, err := h.desk.Account(r.Context(), r.PathValue("name"))
	answer(w, one, err)
}

func (h *handler) addUser(w http.ResponseWriter, r *http.Request) {
	c, err := credentials(w, r)
	if err == nil {
		err = h.desk.Add(r.Context(), c)
	}
	if err != nil {
		answer(w, nil, err)
		return
	}
	w.Header().Set("Location", "/v1/users/"+url.PathEscape(c.User))
	w.WriteHeader(http.StatusCreated)
}

func (h *handler) setUser(w http.ResponseWriter, r *http.Request) {
	c, err := credentials(w, r)
	if err == nil {
		c.User = r.PathValue("name")
		err = h.desk.Set(r.Context(), c)
	}
	answer(w, nil, err)
}

func (h *handler) removeUser(w http.ResponseWriter, r *http.Request) {
	answer(w, nil, h.desk.Remove(r.Context(), r.PathValue("name")))
}

func (h *handler) importUsers(w http.ResponseWriter, r *http.Request) {
	body := json.NewDecoder(bufio.NewReader(http.MaxBytesReader(w, r.Body, maxImport)))
	list := func(yield func(Credentials, error) bool) {
		for {
			var c Credentials
			err := body.Decode(&c)
			if err == io.EOF {
				return
			}
			if err != nil {
				err = invalidBody(err)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
	n, err := h.desk.Import(r.Context(), list, nil)
	answer(w, imported{n}, err)
}

type imported struct {
	Imported int `json:"imported"`
}

func (h *handler) listRegistrations(w http.ResponseWriter, r *http.Request) {
	list, err := h.desk.Registrations(r.Context())
	answer(w, list, err)
}

func (h *handler) showRegistration(w http.ResponseWriter, r *http.Request) {
	one, err := h.desk.Registration(r.Context(), r.PathValue("name"))
	answer(w, one, err)
}

func (h *handler) removeRegistration(w http.ResponseWriter, r *http.Request) {
	answer(w, nil, h.desk.Deregister(r.Context(), r.PathValue("name"), r.URL.Query().Get("contact")))
}

func credentials(w http.ResponseWriter, r *http.Request) (c Credentials, err error) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, invalidBody(err)
	}
	return c, nil
}

func invalidBody(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return &problem{err.Error(), ErrInvalid}
}

// answer writes a value, or nothing (204), or what went wrong.
func answer(w http.ResponseWriter, value any, err error) {
	var tooLarge *http.MaxBytesError
	code := http.StatusOK
	switch {
	case err == nil && value == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	case err == nil:
	case errors.Is(err, ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, ErrExists), errors.Is(err, ErrOffline):
		code = http.StatusConflict
	case errors.Is(err, ErrDenied):
		code = http.StatusForbidden
	case errors.Is(err, ErrInvalid):
		code = http.StatusBadRequest
	case errors.As(err, &tooLarge):
		code = http.StatusRequestEntityTooLarge
	default:
		code = http.StatusInternalServerError
	}
	if err != nil {
		value = failure{err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The client went away: nobody is left to tell.
	_ = json.NewEncoder(w).Encode(value)
}

type failure struct {
	Error string `json:"error"`
}
