package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"signalbox/internal/console"
)

// controlSocket is the name of the socket in the data directory. Who may open it may do everything, so it belongs to the owner alone.
const controlSocket = "control.sock"

// maxSocketPath is what sun_path holds on Linux, less its NUL.
const maxSocketPath = 107

// socketPath calls fn with a path to the control socket that is short enough. A long one is reached through the open directory.
func socketPath(dir string, fn func(path string) error) error {
	path := filepath.Join(dir, controlSocket)
	if len(path) <= maxSocketPath {
		return fn(path)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlSocket))
}

func dialControl(ctx context.Context, dir string) (conn net.Conn, err error) {
	err = socketPath(dir, func(path string) error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

func newControlClient(dir string) *console.Client {
	return console.NewClient(func(ctx context.Context) (net.Conn, error) { return dialControl(ctx, dir) })
}

// control serves the API on the socket.
type control struct {
	http http.Server
	dir  string
	done chan struct{}
}

// startControl makes the socket and serves it. The caller holds the lock on the directory, so a socket that is there already is a dead server's.
func startControl(dir string, h http.Handler, log *slog.Logger) (*control, error) {
	if err := os.Remove(filepath.Join(dir, controlSocket)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l *net.UnixListener
	err := socketPath(dir, func(path string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// The path may be one through /proc: the file is removed in stop.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(dir, controlSocket), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	c := &control{dir: dir, done: make(chan struct{})}
	c.http.Handler = h
	c.http.ReadHeaderTimeout = console.HeaderTimeout
	c.http.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	go func() {
		defer close(c.done)
		if err := c.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("control socket died", "error", err)
		}
	}()
	return c, nil
}

func (c *control) stop(ctx context.Context) error {
	err := c.http.Shutdown(ctx)
	if err != nil {
		err = c.http.Close()
	}
	<-c.done
	if rm := os.Remove(filepath.Join(c.dir, controlSocket)); !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}
