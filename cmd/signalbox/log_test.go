package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/wire"
)

// slowWriter is a reader of the log that may be made to wait.
type slowWriter struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	wait chan struct{}
}

func (w *slowWriter) Write(b []byte) (int, error) {
	if w.wait != nil {
		<-w.wait
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *slowWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func TestSinkDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out slowWriter
		s := newSink(&out)
		io.WriteString(s, "one\n")
		time.Sleep(logDelay - time.Millisecond)
		io.WriteString(s, "two\n")
		synctest.Wait()
		if got := out.String(); got != "" {
			t.Errorf("written early: %q", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := out.String(); got != "one\ntwo\n" {
			t.Errorf("got %q", got)
		}
		io.WriteString(s, "three\n")
		s.close()
		if got := out.String(); got != "one\ntwo\nthree\n" {
			t.Errorf("after close: %q", got)
		}
	})
}

// hardening 18: an error that quotes a message is cut; what is no error is not.
func TestLongErrors(t *testing.T) {
	long := strings.Repeat("<&\"", 20_000)
	for _, style := range []logStyle{styleText, styleJSON, stylePlain} {
		synctest.Test(t, func(t *testing.T) {
			var out slowWriter
			s := newSink(&out)
			newLogger(s, style, slog.LevelDebug).With("room", "proxy").Debug("refused", "err", errors.New(long), "code", 416)
			s.close()
			if got := out.String(); len(got) > 8*maxLogError || !strings.Contains(got, "proxy") || !strings.Contains(got, "416") {
				t.Errorf("style %d: %d bytes: %.200s", style, len(got), got)
			}
		})
	}
}

func TestErrorsAreWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out slowWriter
		s := newSink(&out)
		defer s.close()
		newLogger(s, styleText, slog.LevelInfo).With("room", "proxy").Error("gone")
		synctest.Wait()
		if got := out.String(); !strings.Contains(got, "level=ERROR msg=gone room=proxy") {
			t.Errorf("got %q", got)
		}
	})
}

// A log that nobody reads costs memory up to logBuffer and then lines, never a request.
func TestSinkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := slowWriter{wait: make(chan struct{})}
		s := newSink(&out)
		io.WriteString(s, "first\n")
		time.Sleep(logDelay)
		synctest.Wait() // the writer is stuck now
		line := strings.Repeat("x", 1<<20-1) + "\n"
		for range 8 {
			io.WriteString(s, line)
		}
		s.mu.Lock()
		held, lost := len(s.buf), s.lost
		s.mu.Unlock()
		if held > logBuffer+len(line) || lost != 3 {
			t.Errorf("%d bytes held, %d lines lost", held, lost)
		}
		close(out.wait)
		s.close()
		if got := out.String(); !strings.HasSuffix(got, "\n3 log lines were dropped: the reader of this log is too slow\n") {
			t.Errorf("the end is %q", got[max(0, len(got)-80):])
		}
	})
}

func mustURI(t testing.TB, s string) *wire.URI {
	t.Helper()
	u, err := wire.ParseURI(s)
	if err != nil {
		t.Fatal(err)
	}
	return &u
}

func testEntry(t testing.TB) entry {
	return entry{
		at:     time.Date(2026, 3, 1, 12, 0, 3, 42e6, time.UTC),
		method: "INVITE",
		from:   mustURI(t, "sip:alice@example.org"),
		to:     mustURI(t, "sip:bob@example.org;user=phone"),
		code:   486,
		took:   1234567 * time.Nanosecond,
		callID: "a84b4c76e66710@192.0.2.7",
		source: wire.FlowID{Proto: wire.UDP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.7:5062")},
	}
}

func TestRequestLine(t *testing.T) {
	e := testEntry(t)
	for style, want := range map[logStyle]string{
		styleText: "time=2026-03-01T12:00:03.042Z level=INFO msg=request method=INVITE from=alice@example.org to=bob@example.org code=486 ms=1.234 " +
			"call-id=a84b4c76e66710@192.0.2.7 source=UDP:192.0.2.7:5062\n",
		styleJSON: `{"time":"2026-03-01T12:00:03.042Z","level":"INFO","msg":"request","method":"INVITE","from":"alice@example.org","to":"bob@example.org",` +
			`"code":486,"ms":1.234,"call-id":"a84b4c76e66710@192.0.2.7","source":"UDP:192.0.2.7:5062"}` + "\n",
		stylePlain: "12:00:03 INVITE    alice@example.org -> bob@example.org  486 Busy Here  1.234 ms  UDP:192.0.2.7:5062  a84b4c76e66710@192.0.2.7\n",
	} {
		if got := string(e.append(nil, style)); got != want {
			t.Errorf("style %d:\ngot  %swant %s", style, got, want)
		}
	}
}

// hardening 71: whatever a message holds, it is one line of the log, without an escape sequence.
func FuzzRequestLine(f *testing.F) {
	f.Add("INVITE", "alice", "call-1")
	f.Add("IN VITE", "a%0d%0alice", "x\r\nlevel=ERROR msg=forged")
	f.Add("M\x1b[31m", "\u202e=cmd|", "\xff\xfe\"\\")
	f.Fuzz(func(t *testing.T, method, user, callID string) {
		e := testEntry(t)
		e.method, e.callID = method, callID
		e.from = &wire.URI{Raw: "sip:" + user + "@example.org", Scheme: "sip", User: user, Host: "example.org"}
		e.to = &wire.URI{Raw: "tel:" + user, Scheme: "tel"}
		for _, style := range []logStyle{styleText, styleJSON, stylePlain} {
			line := e.append(nil, style)
			if n := bytes.Count(line, []byte("\n")); n != 1 || line[len(line)-1] != '\n' {
				t.Errorf("%d lines: %q", n, line)
			}
			if i := bytes.IndexFunc(line[:len(line)-1], func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
				t.Errorf("control character at %d: %q", i, line)
			}
			if style == styleJSON && !json.Valid(line) {
				t.Errorf("not JSON: %q", line)
			}
		}
	})
}

func TestTrace(t *testing.T) {
	msg := []byte("OPTIONS sip:example.org SIP/2.0\r\nCall-ID: a\x1b\r\nContent-Length: 0\r\n\r\n")
	for style, want := range map[logStyle]string{
		styleText: "UDP:192.0.2.7:5062 -> signalbox  OPTIONS sip:example.org",
		styleJSON: `"ladder":"  0.000s  UDP:192.0.2.7:5062 -> signalbox  OPTIONS sip:example.org`,
	} {
		synctest.Test(t, func(t *testing.T) {
			var out slowWriter
			s := newSink(&out)
			l := requestLog{sink: s, style: style, started: time.Now()}
			l.trace(true, testEntry(t).source, msg)
			s.close()
			got := out.String()
			if !strings.Contains(got, want) || strings.Contains(got, "\x1b") {
				t.Errorf("got %s", got)
			}
			if style == styleJSON && !json.Valid([]byte(got)) {
				t.Errorf("not JSON: %s", got)
			}
		})
	}
}

func TestHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"alice":             "alice",
		"Zoë 🙂 \"x\"":       "Zoë 🙂 \"x\"",
		"a\x1b[2Jb\r\nc":    `a\x1b[2Jb\r\nc`,
		"\u202egnp.exe":     `\u202egnp.exe`,
		"bad \xff utf":      `bad \xff utf`,
		`back\slash "quote`: `back\slash "quote`,
	} {
		if got := harmless(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func BenchmarkRequestLine(b *testing.B) {
	for style, name := range map[logStyle]string{styleText: "text", styleJSON: "json"} {
		b.Run(name, func(b *testing.B) {
			e := testEntry(b)
			var line []byte
			b.ReportAllocs()
			for b.Loop() {
				line = e.append(line[:0], style)
			}
		})
	}
}

// BenchmarkSlogLine is what the same line costs through slog: why requestLog exists.
func BenchmarkSlogLine(b *testing.B) {
	e := testEntry(b)
	s := newSink(io.Discard)
	defer s.close()
	log := newLogger(s, styleText, slog.LevelInfo)
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "request", slog.String("method", e.method), slog.String("from", party(e.from)), slog.String("to", party(e.to)),
			slog.Int("code", e.code), slog.Duration("took", e.took), slog.String("call-id", e.callID), slog.String("source", e.source.Remote.String()))
	}
}
