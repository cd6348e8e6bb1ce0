package console

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Metrics serves the status as Prometheus reads it: by GET, at any path.
func Metrics(s Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Metrics are read by GET.", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		st := s.Status()
		_ = WriteMetrics(w, &st)
	})
}

// WriteMetrics writes a status in the text format of Prometheus: names begin with signalbox_, counters end in _total, units are seconds and bytes.
func WriteMetrics(w io.Writer, s *Status) error {
	m := metrics{bufio.NewWriter(w)}
	m.gauge("build_info", "The version, as a label.", 1, "version", s.Version)
	m.gauge("start_time_seconds", "When the server started, in seconds since 1970.", float64(s.Started.UnixMilli())/1000)
	m.gauge("users", "Accounts.", float64(s.Users))
	m.gauge("registrations", "Addresses with a registration.", float64(s.Registrations))
	m.gauge("subscriptions", "Subscriptions to registrations.", float64(s.Subscriptions))
	m.gauge("transactions", "Transactions without a final response.", float64(s.Transactions))
	m.gauge("transactions_kept", "Transactions in all, those that only wait for retransmissions included.", float64(s.Kept))
	m.counter("requests_refused_total", "Requests answered 503 for want of room or time.", float64(s.Refused))
	m.gauge("goroutines", "Goroutines.", float64(s.Goroutines))
	m.gauge("heap_bytes", "Heap objects, live and dead.", float64(s.Heap))
	if s.Media != nil {
		m.media(s.Media)
	}
	if s.TURN != nil {
		m.turn(s.TURN)
	}
	return m.w.Flush()
}

func (m metrics) media(s *Media) {
	m.gauge("media_calls", "Calls whose media pass through here, echoes included.", float64(s.Calls))
	m.counter("media_calls_total", "Calls whose media passed through here.", float64(s.CallsTotal))
	m.counter("media_silent_total", "Calls that were ended because a side had fallen silent.", float64(s.SilentTotal))
	m.counter("media_handshakes_total", "DTLS handshakes with browsers.", float64(s.HandshakesTotal-s.HandshakesFailed), "result", "done")
	m.sample("media_handshakes_total", float64(s.HandshakesFailed), "result", "failed")
	m.gauge("media_sockets", "Open sockets of phones.", float64(s.Sockets))
	m.counter("media_packets_total", "RTP packets.", float64(s.Received), "direction", "received")
	m.sample("media_packets_total", float64(s.Sent), "direction", "sent")
	m.counter("media_bytes_total", "Bytes of RTP payload.", float64(s.ReceivedBytes), "direction", "received")
	m.sample("media_bytes_total", float64(s.SentBytes), "direction", "sent")
	m.counter("media_packets_lost_total", "RTP packets that were lost on their way here.", float64(s.Lost))
}

type metrics struct{ w *bufio.Writer }

func (m metrics) gauge(name, help string, value float64, label ...string) {
	m.describe(name, "gauge", help)
	m.sample(name, value, label...)
}

func (m metrics) counter(name, help string, value float64, label ...string) {
	m.describe(name, "counter", help)
	m.sample(name, value, label...)
}

func (m metrics) describe(name, kind, help string) {
	fmt.Fprintf(m.w, "# HELP signalbox_%s %s\n# TYPE signalbox_%s %s\n", name, help, name, kind)
}

// sample writes one value, with one label or none.
func (m metrics) sample(name string, value float64, label ...string) {
	m.w.WriteString("signalbox_" + name)
	if len(label) == 2 {
		m.w.WriteString("{" + label[0] + "=" + strconv.Quote(label[1]) + "}")
	}
	m.w.WriteString(" " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}
