package console

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

func (c *Client) DeviceList(ctx context.Context, q Query) (list []Device, err error) {
	return list, c.do(ctx, http.MethodGet, "/v1/devices"+q.values(), nil, &list)
}

func (c *Client) DeviceShow(ctx context.Context, name string) (d Device, err error) {
	return d, c.do(ctx, http.MethodGet, "/v1/devices/"+url.PathEscape(name), nil, &d)
}

func (c *Client) DeviceAdd(ctx context.Context, n NewDevice) error {
	return c.do(ctx, http.MethodPost, "/v1/devices", jsonBody(n), nil)
}

func (c *Client) DeviceRemove(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/v1/devices/"+url.PathEscape(name), nil, nil)
}

func (c *Client) DeviceGrant(ctx context.Context, device, user string, until time.Time) error {
	path := grantPath(device, user)
	if !until.IsZero() {
		path += "?until=" + url.QueryEscape(until.Format(time.RFC3339))
	}
	return c.do(ctx, http.MethodPut, path, nil, nil)
}

func (c *Client) DeviceRevoke(ctx context.Context, device, user string) error {
	return c.do(ctx, http.MethodDelete, grantPath(device, user), nil, nil)
}

func grantPath(device, user string) string {
	return "/v1/devices/" + url.PathEscape(device) + "/grants/" + url.PathEscape(user)
}

func (c *Client) AppList(ctx context.Context, q Query) (list []App, err error) {
	return list, c.do(ctx, http.MethodGet, "/v1/apps"+q.values(), nil, &list)
}

func (c *Client) AppShow(ctx context.Context, name string) (a App, err error) {
	return a, c.do(ctx, http.MethodGet, "/v1/apps/"+url.PathEscape(name), nil, &a)
}

func (c *Client) AppAdd(ctx context.Context, n NewApp) error {
	return c.do(ctx, http.MethodPost, "/v1/apps", jsonBody(n), nil)
}

func (c *Client) AppRemove(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/v1/apps/"+url.PathEscape(name), nil, nil)
}

func (c *Client) LoginList(ctx context.Context, q Query) (list []Login, err error) {
	return list, c.do(ctx, http.MethodGet, "/v1/logins"+q.values(), nil, &list)
}

func (c *Client) LoginAdd(ctx context.Context, n NewLogin) error {
	return c.do(ctx, http.MethodPost, "/v1/logins", jsonBody(n), nil)
}

func (c *Client) LoginRemove(ctx context.Context, user, device string) error {
	return c.do(ctx, http.MethodDelete, "/v1/logins?user="+url.QueryEscape(user)+"&device="+url.QueryEscape(device), nil, nil)
}
