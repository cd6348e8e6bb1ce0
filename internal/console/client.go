package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
)

// Client speaks to a running server over its control socket; its methods are those of Desk.
type Client struct {
	http http.Client
}

// NewClient uses dial to reach the socket.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
	}}}
}

// Close drops the idle connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ping finds out whether a server answers.
func (c *Client) Ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://signalbox/", nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return socketError(err)
	}
	return res.Body.Close()
}

func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Reload makes the server read its users again.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/reload", nil, nil)
}

func (c *Client) Account(ctx context.Context, name string) (a Account, err error) {
	return a, c.do(ctx, http.MethodGet, "/v1/users/"+url.PathEscape(name), nil, &a)
}

func (c *Client) Accounts(ctx context.Context) (list []Account, err error) {
	return list, c.do(ctx, http.MethodGet, "/v1/users", nil, &list)
}

func (c *Client) Add(ctx context.Context, cr Credentials) error {
	return c.do(ctx, http.MethodPost, "/v1/users", jsonBody(cr), nil)
}

func (c *Client) Set(ctx context.Context, cr Credentials) error {
	return c.do(ctx, http.MethodPut, "/v1/users/"+url.PathEscape(cr.User), jsonBody(cr), nil)
}

func (c *Client) Remove(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/v1/users/"+url.PathEscape(name), nil, nil)
}

// Import streams the users; progress counts those that were sent.
func (c *Client) Import(ctx context.Context, list iter.Seq2[Credentials, error], progress func(done int)) (int, error) {
	const every = 256
	body := jsonBodyFrom(func(e *json.Encoder) error {
		n := 0
		for cr, err := range list {
			if err != nil {
				return err
			}
			if err := e.Encode(cr); err != nil {
				return err
			}
			if n++; progress != nil && n%every == 0 {
				progress(n)
			}
		}
		if progress != nil {
			progress(n)
		}
		return nil
	})
	var n imported
	err := c.do(ctx, http.MethodPost, "/v1/import", body, &n)
	return n.Imported, err
}

func (c *Client) Registrations(ctx context.Context) (list []Registration, err error) {
	return list, c.do(ctx, http.MethodGet, "/v1/registrations", nil, &list)
}

func (c *Client) Registration(ctx context.Context, name string) (r Registration, err error) {
	return r, c.do(ctx, http.MethodGet, "/v1/registrations/"+url.PathEscape(name), nil, &r)
}

func (c *Client) Deregister(ctx context.Context, name, contact string) error {
	path := "/v1/registrations/" + url.PathEscape(name)
	if contact != "" {
		path += "?contact=" + url.QueryEscape(contact)
	}
	return c.do(ctx, http.MethodDelete, path, nil, nil)
}

// do makes one request; the server's error comes back as the error Desk would have returned.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://signalbox"+path, body)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return socketError(err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode >= 300:
		return serverError(res)
	case out == nil:
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	return json.NewDecoder(res.Body).Decode(out)
}

// socketError: the wrapping names a host that does not exist; the cause is what helps.
func socketError(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("control socket: %w", err)
}

func serverError(res *http.Response) error {
	var f failure
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&f); err != nil || f.Error == "" {
		f.Error = "control socket: " + res.Status
	}
	e := &problem{text: f.Error}
	switch res.StatusCode {
	case http.StatusNotFound:
		e.kind = ErrNotFound
	case http.StatusConflict:
		e.kind = ErrExists
	case http.StatusForbidden:
		e.kind = ErrDenied
	case http.StatusBadRequest:
		e.kind = ErrInvalid
	}
	return e
}

func jsonBody(v any) io.Reader {
	return jsonBodyFrom(func(e *json.Encoder) error { return e.Encode(v) })
}

// jsonBodyFrom is a body written while it is sent.
func jsonBodyFrom(write func(*json.Encoder) error) io.Reader {
	r, w := io.Pipe()
	go func() {
		buffered := bufio.NewWriterSize(w, 64<<10)
		err := write(json.NewEncoder(buffered))
		if err == nil {
			err = buffered.Flush()
		}
		w.CloseWithError(err)
	}()
	return r
}
