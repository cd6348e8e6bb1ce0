package main

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/lmittmann/tint"
)

// sink gathers log lines and writes them from one goroutine, so that no call waits for a terminal, a pipe or a disk. What does not fit is counted and
// said later. Lines are at most logDelay late; errors are written at once.
type sink struct {
	out  io.Writer
	work chan struct{} // there is something to write
	now  chan struct{} // and it is urgent
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex
	buf     []byte
	lost    int
	spare   []byte
	stopped bool
}

func newSink(out io.Writer) *sink {
	s := &sink{out: out, work: make(chan struct{}, 1), now: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

// Write takes one or several whole lines.
func (s *sink) Write(b []byte) (int, error) {
	s.append(func(dst []byte) []byte { return append(dst, b...) })
	return len(b), nil
}

// append lets fn write straight into the buffer.
func (s *sink) append(fn func(dst []byte) []byte) {
	s.mu.Lock()
	first := len(s.buf) == 0
	if s.stopped || len(s.buf) > logBuffer {
		s.lost++
	} else {
		s.buf = fn(s.buf)
	}
	s.mu.Unlock()
	if first {
		poke(s.work)
	}
}

// hurry has what is gathered written without waiting for more.
func (s *sink) hurry() { poke(s.now) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *sink) run() {
	defer close(s.done)
	delay := time.NewTimer(logDelay)
	for {
		select {
		case <-s.work:
		case <-s.quit:
			s.flush()
			return
		}
		delay.Reset(logDelay)
		select {
		case <-delay.C:
		case <-s.now:
		case <-s.quit:
		}
		s.flush()
	}
}

func (s *sink) flush() {
	s.mu.Lock()
	full, lost := s.buf, s.lost
	s.buf, s.spare, s.lost = s.spare[:0], nil, 0
	s.mu.Unlock()
	// There is nobody to tell that the log cannot be written.
	_, _ = s.out.Write(full)
	if lost > 0 {
		_, _ = io.WriteString(s.out, strconv.Itoa(lost)+" log lines were dropped: the reader of this log is too slow\n")
	}
	if cap(full) > logBuffer/4 {
		full = nil // a burst is over: give its memory back
	}
	s.mu.Lock()
	s.spare = full
	s.mu.Unlock()
}

// close writes what is left.
func (s *sink) close() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	close(s.quit)
	<-s.done
}

// logStyle is how lines look.
type logStyle int

const (
	styleText  logStyle = iota // key=value
	styleJSON                  // one object a line
	stylePlain                 // for people
	styleColor                 // for people at a terminal
)

func styleOf(format string, out any) logStyle {
	switch {
	case format == "json":
		return styleJSON
	case format == "text" || !isTerminal(out):
		return styleText
	case wantsColor(out):
		return styleColor
	}
	return stylePlain
}

// newLogger makes the program's logger on a sink.
func newLogger(s *sink, style logStyle, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: shortenError}
	var h slog.Handler
	switch style {
	case styleJSON:
		h = slog.NewJSONHandler(s, o)
	case styleText:
		h = slog.NewTextHandler(s, o)
	default:
		h = tint.NewTextHandler(s, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: style == stylePlain, ReplaceAttr: shortenError})
	}
	return slog.New(urgentHandler{h, s})
}

// shortenError: what went wrong is often said with the words of a message, and those may be long. hardening 18
func shortenError(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindAny {
		return a
	}
	err, ok := a.Value.Any().(error)
	if !ok {
		return a
	}
	if text := err.Error(); len(text) > maxLogError {
		return slog.String(a.Key, text[:maxLogError])
	}
	return a
}

// urgentHandler has errors written at once: the next thing that happens may be the end of the process.
type urgentHandler struct {
	slog.Handler
	sink *sink
}

func (u urgentHandler) Handle(ctx context.Context, r slog.Record) error {
	err := u.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelError {
		u.sink.hurry()
	}
	return err
}

func (u urgentHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return urgentHandler{u.Handler.WithAttrs(a), u.sink}
}

func (u urgentHandler) WithGroup(name string) slog.Handler {
	return urgentHandler{u.Handler.WithGroup(name), u.sink}
}

func logLevelName(l slog.Level) string {
	switch l {
	case levelTrace:
		return "trace"
	case slog.LevelDebug:
		return "debug"
	case slog.LevelWarn:
		return "warn"
	case slog.LevelError:
		return "error"
	}
	return "info"
}
