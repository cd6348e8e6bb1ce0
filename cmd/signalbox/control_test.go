package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var quietLog = slog.New(slog.DiscardHandler)

func echoPath(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }

// A path longer than sun_path works, a socket that a killed server left is replaced, and only the owner may open it (hardening 72).
func TestControlSocket(t *testing.T) {
	for name, dir := range map[string]string{
		"short": t.TempDir(),
		"long":  filepath.Join(t.TempDir(), strings.Repeat("long", 40)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			left, err := startControl(dir, http.HandlerFunc(echoPath), quietLog)
			if err != nil {
				t.Fatal(err)
			}
			c, err := startControl(dir, http.HandlerFunc(echoPath), quietLog)
			if err != nil {
				t.Fatalf("beside a stale socket: %v", err)
			}
			info, err := os.Stat(filepath.Join(dir, controlSocket))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			client := newControlClient(dir)
			if err := client.Reload(t.Context()); err != nil {
				t.Error(err)
			}
			client.Close()
			if err := c.stop(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := dialControl(t.Context(), dir); err == nil {
				t.Error("the socket is still there")
			}
			if err := left.stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	one, err := lockDir(dir, "the first")
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockDir(dir, "the second")
	var held *heldError
	if !errors.As(err, &held) || !strings.HasPrefix(held.holder, "the first (pid ") {
		t.Errorf("got %v", err)
	}
	one.release()
	two, err := lockDir(dir, "the second")
	if err != nil {
		t.Fatal(err)
	}
	two.release()
}

// A server that runs is not waited for; a command that works on the directory is.
func TestWaitLock(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockDir(dir, "a server")
	if err != nil {
		t.Fatal(err)
	}
	c, err := startControl(dir, http.HandlerFunc(echoPath), quietLog)
	if err != nil {
		t.Fatal(err)
	}
	var held *heldError
	if _, err := waitLock(t.Context(), dir, "another"); !errors.As(err, &held) {
		t.Errorf("got %v", err)
	}
	if err := c.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock.release()

	command, err := lockDir(dir, "a command")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		lock, err := waitLock(context.Background(), dir, "a server")
		if err == nil {
			lock.release()
		}
		got <- err
	}()
	command.release()
	if err := want(t, "the lock", got); err != nil {
		t.Error(err)
	}
}

// A server that holds the directory and is stopped, or hangs, is not waited for without end.
func TestSilentServer(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockDir(dir, "a server")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.release()
	l, err := net.Listen("unix", filepath.Join(dir, controlSocket)) // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	client, _, err := reach(ctx, dir)
	if client != nil || err == nil || !strings.Contains(err.Error(), "a server (pid ") || !strings.HasSuffix(err.Error(), "it does not answer") {
		t.Errorf("client %v, %v", client, err)
	}
}

// blame names the listener that cannot be had, with its place in the file.
func TestBlame(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.LocalAddr().String()
	path := writeFile(t, "sb.toml", "domain = \"example.org\"\n[listen]\nudp = [\"127.0.0.1:0\", \""+addr+"\"]\n")
	c, err := loadConfig(path, serveDefaults())
	if err != nil {
		t.Fatal(err)
	}
	c.tcp, c.tls = nil, nil
	_, err = startServer(t.Context(), c, nil, quietLog, nil)
	if err == nil || !strings.Contains(err.Error(), "sb.toml:3:23: listen.udp[1]: "+addr+": address already in use\n") {
		t.Errorf("got %v", err)
	}
	c.places = nil
	if err := c.blame(errors.New("bind")); err == nil || err.Error() != "udp "+addr+": address already in use" {
		t.Errorf("without a file: %v", err)
	}
}
