package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"signalbox/internal/console"
	"signalbox/media"
)

// mediaCounters count what the media bridge tells.
type mediaCounters struct {
	opened, closed, silent, handshakes, failed atomic.Int64
}

func (m *mediaCounters) metrics() media.Metrics {
	return media.Metrics{
		Opened: func() { m.opened.Add(1) },
		Closed: func() { m.closed.Add(1) },
		Silent: func() { m.silent.Add(1) },
		Handshake: func(failed bool) {
			m.handshakes.Add(1)
			if failed {
				m.failed.Add(1)
			}
		},
	}
}

// mediaStatus is nil where no media are bridged.
func (s *server) mediaStatus() *console.Media {
	if s.media == nil {
		return nil
	}
	m, t := &s.calls, s.media.Traffic()
	closed := m.closed.Load() // first: there are never more closed than opened
	opened := m.opened.Load()
	return &console.Media{
		Calls: opened - closed, CallsTotal: opened, SilentTotal: m.silent.Load(),
		HandshakesTotal: m.handshakes.Load(), HandshakesFailed: m.failed.Load(), Sockets: s.media.Sockets(),
		Received: t.Received.Packets, ReceivedBytes: t.Received.Octets, Lost: t.Received.Lost, Sent: t.Sent.Packets, SentBytes: t.Sent.Octets,
	}
}

// serveMetrics serves the metrics to Prometheus, if [observe] metrics says where.
func (s *server) serveMetrics(context.Context) error {
	if s.config.metrics == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.config.metrics)
	if err != nil {
		return s.config.places.errorf("observe.metrics", "%v", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", console.Metrics(s))
	web := &http.Server{Handler: mux, ReadHeaderTimeout: webHeaderTimeout, WriteTimeout: webReadTimeout, IdleTimeout: webIdleTimeout, MaxHeaderBytes: maxWebHeader}
	done := make(chan error, 1)
	go func() { done <- web.Serve(l) }()
	s.log.Info("metrics", "url", fmt.Sprintf("http://%s/metrics", l.Addr()))
	s.onStop(func(context.Context) error {
		err := web.Close()
		<-done
		return err
	})
	return nil
}

var errMetricsAddress = errors.New(`want "IP:PORT" of an address that only your Prometheus reaches, such as "127.0.0.1:9464"`)

// metrics is [observe] metrics: an address without a host would show them to everybody.
func (k *checker) metrics(c *config, text string) {
	if text == "" {
		return
	}
	if host, _, err := net.SplitHostPort(text); err != nil || host == "" || checkAddress(text) != nil {
		k.bad("observe.metrics", "%q: %v", text, errMetricsAddress)
		return
	}
	c.metrics = text
}
