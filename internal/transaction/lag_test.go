package transaction

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"signalbox/internal/wire"
)

// Overload: who lags behind for long refuses new work, statelessly, and serves what it has begun. hardening 55, figure 6; RFC 3261, 21.5.4
func TestLag(t *testing.T) {
	var lag atomic.Int64
	var log bytes.Buffer
	play(t, func(s *stage) {
		s.serve = func(tx *Server) error { tx.Reply(200, ""); return nil }
		n := 0
		in := func(method string, replace ...string) string {
			n++
			s.in(s.udp, request(method, append(replace, "z9hG4bKa1", fmt.Sprintf("z9hG4bKl%d", n), "c1@", fmt.Sprintf("c%d@", n))...))
			return s.udp.last()[8:11]
		}
		want := func(what, code, got string) {
			t.Helper()
			if got != code {
				t.Errorf("%s: %s, want %s", what, got, code)
			}
		}
		late := func(d time.Duration) { lag.Store(int64(d)) }
		credentials := []string{"Max-Forwards: 70", "Max-Forwards: 70\r\nProxy-Authorization: Digest username=\"alice\""}

		s.serve = func(tx *Server) error { tx.OnCancel(func(*wire.Request) { tx.Reply(487, "") }); return nil }
		s.in(s.udp, request("INVITE", "z9hG4bKa1", "z9hG4bKring"))
		s.serve = func(tx *Server) error { tx.Reply(200, ""); return nil }
		late(300 * time.Millisecond)
		want("a stall of the machine", "200", in("MESSAGE"))
		s.at(0.3)
		late(0)
		want("which has passed", "200", in("MESSAGE"))
		s.at(0.4)
		late(101 * time.Millisecond)
		want("a lag that has begun anew", "200", in("MESSAGE"))
		s.at(0.8)
		want("a lag that has lasted", "503", in("MESSAGE"))
		want("with credentials", "200", in("MESSAGE", credentials...))
		late(201 * time.Millisecond)
		want("with credentials, later still", "503", in("MESSAGE", credentials...))
		late(10 * time.Second)
		want("BYE", "200", in("BYE", "bob@example.org>", "bob@example.org>;tag=b"))
		want("within a dialog", "200", in("INFO", "bob@example.org>", "bob@example.org>;tag=b"))
		want("a forged dialog", "503", in("INFO", "bob@example.org>", "bob@example.org>;tag=forged"))
		want("a BYE of none", "503", in("BYE", "bob@example.org>", "bob@example.org>;tag=forged"))
		want("a CANCEL of nothing", "503", in("CANCEL"))
		s.in(s.udp, request("CANCEL", "z9hG4bKa1", "z9hG4bKring"))
		want("CANCEL", "200", s.udp.sent[len(s.udp.sent)-2][8:11]) // 487 to the INVITE follows
		s.alive(8, 0)
		s.at(0.9)
		late(100 * time.Millisecond)
		want("below the limit", "200", in("MESSAGE"))
		late(101 * time.Millisecond)
		want("overload is remembered", "503", in("MESSAGE"))
		s.at(10.89)
		late(0)
		want("as long as it lasts", "200", in("MESSAGE"))
		if strings.Contains(log.String(), "over\"") {
			t.Error("over too early")
		}
		s.at(10.91)
		want("then it is over", "200", in("MESSAGE"))
		late(time.Second)
		want("and there is patience again", "200", in("MESSAGE"))
		late(0)
		s.lines = nil
		s.at(45)
		s.alive(0, 0)
	}, func(c *Config) {
		c.Lag = func() time.Duration { return time.Duration(lag.Load()) }
		c.Knows = func(req *wire.Request) bool { return req.To.Tag != "forged" }
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "level=WARN msg=\"overload: new requests get 503\"") || !strings.Contains(got, "level=INFO msg=\"overload is over\" refused_so_far=6") {
		t.Errorf("log:\n%s", got)
	}
}

// The ACK to a refusal, which nothing is kept of, ends here: it is known by its tag. RFC 3261, 8.2.7 and 17.2.3
func TestACKToRefusal(t *testing.T) {
	play(t, func(s *stage) {
		s.layer.overload.until.Store(int64(time.Hour))
		s.in(s.udp, request("INVITE"))
		refused := parse(t, s.udp.last()).(*wire.Response)
		tag := func(tag string) []string { return []string{"bob@example.org>", "bob@example.org>;tag=" + tag} }
		s.in(s.udp, request("ACK", tag(refused.To.Tag)...))
		s.in(s.udp, request("ACK", tag("b")...))
		s.want(`0.000 < INVITE
			0.000 > 503
			0.000 < ACK
			0.000 < ACK
			0.000 tu ACK`)
		s.alive(0, 0)
	}, func(c *Config) { c.Lag = func() time.Duration { return time.Second } })
}

// What a room refuses is the peer's doing and no error of ours; what fails for reasons of our own is logged, once a second.
func TestFailureLog(t *testing.T) {
	var log bytes.Buffer
	play(t, func(s *stage) {
		in := func(err error) {
			s.serve = func(tx *Server) error { return err }
			s.layer.ReceiveRequest(s.udp, request("MESSAGE", "z9hG4bKa1", "z9hG4bK"+wire.NewTag()))
		}
		for range 10 {
			in(wire.Errorf(500, "Out Of Order", "CSeq 1 after 2"))
			in(errors.New("disk on fire"))
		}
		s.at(1)
		in(errors.New("still on fire"))
		s.lines = nil
		s.at(40)
	}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "disk on fire") || !strings.Contains(lines[1], "still on fire\" more_since_last=9") {
		t.Errorf("log:\n%s", log.String())
	}
}
