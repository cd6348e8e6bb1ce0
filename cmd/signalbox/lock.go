package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// dirLock is the right to the data directory: one server, or one command, at a time. The kernel gives it back when its holder dies.
type dirLock struct{ f *os.File }

// heldError says who has the directory.
type heldError struct{ dir, holder string }

func (e *heldError) Error() string {
	return fmt.Sprintf("%s is in use by %s", e.dir, e.holder)
}

// lockDir takes the lock, or returns a *heldError. It makes the directory if need be.
func lockDir(dir, as string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "signalbox.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &heldError{dir, holder(f)}
		}
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	// The text is for the reader of an error message only; failing to write it costs nothing else.
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%s (pid %d)\n", as, os.Getpid())
	return &dirLock{f}, nil
}

func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 128))
	if s := harmless(strings.TrimSpace(string(b))); err == nil && s != "" {
		return s
	}
	return "another signalbox"
}

// waitLock takes the lock for a server: a command that is at work there is waited for.
func waitLock(ctx context.Context, dir, as string) (*dirLock, error) {
	for deadline := time.Now().Add(serverLockWait); ; {
		lock, err := lockDir(dir, as)
		var held *heldError
		if !errors.As(err, &held) {
			return lock, err
		}
		// A server does not go away by waiting.
		if conn, err := dialControl(ctx, dir); err == nil {
			conn.Close()
			return nil, held
		}
		if time.Now().After(deadline) {
			return nil, held
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *dirLock) release() { l.f.Close() }
