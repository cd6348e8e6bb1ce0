package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// deviceRoutes adds devices, applications and logins to the API. The lists take the queries user, device, capability and address.
//
//	GET    /v1/devices                       []Device
//	POST   /v1/devices                       NewDevice; 201, 409
//	GET    /v1/devices/NAME                  Device
//	DELETE /v1/devices/NAME
//	PUT    /v1/devices/NAME/grants/USER      ?until=TIME (RFC 3339)
//	DELETE /v1/devices/NAME/grants/USER
//	GET    /v1/apps                          []App
//	POST   /v1/apps                          NewApp; 201, 409
//	GET    /v1/apps/NAME                     App
//	DELETE /v1/apps/NAME
//	GET    /v1/logins                        []Login
//	POST   /v1/logins                        NewLogin; 201, 403 denied by policy, 400 end not after start, 409 the device is offline
//	DELETE /v1/logins                        ?user=&device=
func (h *handler) deviceRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/devices", func(w http.ResponseWriter, r *http.Request) {
		list, err := h.desk.DeviceList(r.Context(), queryOf(r))
		answer(w, list, err)
	})
	mux.HandleFunc("POST /v1/devices", func(w http.ResponseWriter, r *http.Request) {
		create(w, r, func(n NewDevice) error { return h.desk.DeviceAdd(r.Context(), n) })
	})
	mux.HandleFunc("GET /v1/devices/{name}", func(w http.ResponseWriter, r *http.Request) {
		one, err := h.desk.DeviceShow(r.Context(), r.PathValue("name"))
		answer(w, one, err)
	})
	mux.HandleFunc("DELETE /v1/devices/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, h.desk.DeviceRemove(r.Context(), r.PathValue("name")))
	})
	mux.HandleFunc("PUT /v1/devices/{name}/grants/{user}", func(w http.ResponseWriter, r *http.Request) {
		var until time.Time
		var err error
		if s := r.URL.Query().Get("until"); s != "" {
			if until, err = time.Parse(time.RFC3339, s); err != nil {
				err = invalidf("until: %v", err)
			}
		}
		if err == nil {
			err = h.desk.DeviceGrant(r.Context(), r.PathValue("name"), r.PathValue("user"), until)
		}
		answer(w, nil, err)
	})
	mux.HandleFunc("DELETE /v1/devices/{name}/grants/{user}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, h.desk.DeviceRevoke(r.Context(), r.PathValue("name"), r.PathValue("user")))
	})
	mux.HandleFunc("GET /v1/apps", func(w http.ResponseWriter, r *http.Request) {
		list, err := h.desk.AppList(r.Context(), queryOf(r))
		answer(w, list, err)
	})
	mux.HandleFunc("POST /v1/apps", func(w http.ResponseWriter, r *http.Request) {
		create(w, r, func(n NewApp) error { return h.desk.AppAdd(r.Context(), n) })
	})
	mux.HandleFunc("GET /v1/apps/{name}", func(w http.ResponseWriter, r *http.Request) {
		one, err := h.desk.AppShow(r.Context(), r.PathValue("name"))
		answer(w, one, err)
	})
	mux.HandleFunc("DELETE /v1/apps/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, h.desk.AppRemove(r.Context(), r.PathValue("name")))
	})
	mux.HandleFunc("GET /v1/logins", func(w http.ResponseWriter, r *http.Request) {
		list, err := h.desk.LoginList(r.Context(), queryOf(r))
		answer(w, list, err)
	})
	mux.HandleFunc("POST /v1/logins", func(w http.ResponseWriter, r *http.Request) {
		create(w, r, func(n NewLogin) error { return h.desk.LoginAdd(r.Context(), n) })
	})
	mux.HandleFunc("DELETE /v1/logins", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, h.desk.LoginRemove(r.Context(), r.URL.Query().Get("user"), r.URL.Query().Get("device")))
	})
}

func queryOf(r *http.Request) Query {
	q := r.URL.Query()
	return Query{User: q.Get("user"), Device: q.Get("device"), Capability: q.Get("capability"), Address: q.Get("address")}
}

// values is the query as it is sent.
func (q Query) values() string {
	v := url.Values{}
	for name, value := range map[string]string{"user": q.User, "device": q.Device, "capability": q.Capability, "address": q.Address} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// create reads a JSON body, does something with it and answers 201.
func create[T any](w http.ResponseWriter, r *http.Request, do func(T) error) {
	var v T
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(&v)
	if err != nil {
		err = invalidBody(err)
	} else {
		err = do(v)
	}
	if err != nil {
		answer(w, nil, err)
		return
	}
	w.WriteHeader(http.StatusCreated)
}
