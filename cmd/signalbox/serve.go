package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) serve() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Run the server in the foreground until SIGTERM or SIGINT: it then refuses new requests with 503, lets the running ones end (at most 10 s)\n" +
			"and exits 0. A second signal ends it at once. SIGHUP reads accounts and policy again.",
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load(serveDefaults())
			if err != nil {
				return err
			}
			return a.runServer(cmd.Context(), c, nil)
		},
	}
}

var errKilled = errors.New("stopped by a second signal")

// runServer serves until a signal or the end of ctx. prepare is as in startServer.
func (a *app) runServer(ctx context.Context, c *config, prepare func(context.Context, *server) error) error {
	ballast := make([]byte, ballastSize)
	defer runtime.KeepAlive(ballast)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	out := newSink(a.stderr)
	defer out.close()
	style := styleOf(c.format, a.stderr)
	log := newLogger(out, style, c.level)
	s, err := startServer(ctx, c, &requestLog{sink: out, style: style, started: time.Now()}, log, prepare)
	if err != nil {
		return err
	}
	log.Info("ready", "version", version, "domains", strings.Join(c.domains, ","), "listening", strings.Join(s.listening(), ", "),
		"users", s.users.Len(), "registrations", s.bindings.Len())
	if s.users.Len() == 0 && len(c.edge) == 0 {
		log.Warn("nobody can register yet: signalbox user add NAME makes an account")
	}
	s.untilStopped(ctx, signals)

	log.Info("stopping: new requests are refused, running ones end")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return s.shutdown(ctx, signals)
}

// untilStopped returns when the server is to end.
func (s *server) untilStopped(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return
			}
			if err := s.Reload(); err != nil {
				s.log.Error("reload", "error", err)
			} else {
				s.log.Info("accounts read again", "users", s.users.Len())
			}
		}
	}
}

// shutdown drains and stops, unless a second signal comes.
func (s *server) shutdown(ctx context.Context, signals <-chan os.Signal) error {
	done := make(chan error, 1)
	go func() {
		s.drain(ctx)
		// What remains is closing, flushing and one commit: it gets its own time, so that a drain that took all of it still ends well.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		done <- s.stop(ctx)
	}()
	err := awaitEnd(done, signals)
	if err != errKilled {
		s.log.Info("stopped")
	}
	return err
}

// awaitEnd returns what done says, or errKilled when somebody insists with a second signal. One that follows at once is the first one's echo: timeout(1), and
// who signals a process and its group, send each twice.
func awaitEnd(done <-chan error, signals <-chan os.Signal) error {
	asked := time.Now()
	for {
		select {
		case err := <-done:
			return err
		case sig := <-signals:
			if sig != syscall.SIGHUP && time.Since(asked) > signalEcho {
				return errKilled
			}
		}
	}
}

// blame finds the listen address that cannot be had and says where it was written.
func (c *config) blame(err error) error {
	for _, l := range []struct {
		key, network string
		addrs        []string
	}{{"udp", "udp", c.udp}, {"tcp", "tcp", c.tcp}, {"tls", "tcp", c.tls}, {"https", "tcp", c.https}, {"http", "tcp", c.http}} {
		for i, addr := range l.addrs {
			reason := tryListen(l.network, addr)
			if reason == nil {
				continue
			}
			return c.listenError(l.key, i, addr, reason)
		}
	}
	return err
}

func (c *config) listenError(key string, i int, addr string, reason error) error {
	e := &listenError{key: key, addr: addr, reason: reason}
	if c.places == nil {
		return e
	}
	return c.places.errorf(c.places.item("listen."+key, i), "%s: %v", addr, reason)
}

// listenError is an address that cannot be listened on and stands in no file.
type listenError struct {
	key, addr string
	reason    error
}

func (e *listenError) Error() string { return e.key + " " + e.addr + ": " + e.reason.Error() }

// tryListen says why an address cannot be listened on.
func tryListen(network, addr string) error {
	var err error
	if network == "udp" {
		var c net.PacketConn
		if c, err = net.ListenPacket(network, addr); err == nil {
			c.Close()
		}
	} else {
		var l net.Listener
		if l, err = net.Listen(network, addr); err == nil {
			l.Close()
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
