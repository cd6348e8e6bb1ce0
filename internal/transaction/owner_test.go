package transaction

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/wire"
)

// Events of one owner never run at the same time, and those of one goroutine run in their order.
func TestOwnerOneAtATime(t *testing.T) {
	l := New(Config{})
	defer l.Close()
	o := l.NewOwner()
	const posters, events = 8, 500
	var got [posters][]int // no lock: the race detector watches
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range events {
				o.Do(func() { got[p] = append(got[p], i) })
			}
		})
	}
	wg.Wait()
	done := make(chan struct{})
	o.Do(func() { close(done) })
	<-done
	for p := range got {
		if len(got[p]) != events || !slices.IsSorted(got[p]) {
			t.Errorf("poster %d: %d events, sorted %t", p, len(got[p]), slices.IsSorted(got[p]))
		}
	}
}

// What an event posts runs after it, not within it.
func TestOwnerPostsWithin(t *testing.T) {
	l := New(Config{})
	defer l.Close()
	o := l.NewOwner()
	var got []string
	o.Do(func() {
		o.Do(func() {
			o.Do(func() { got = append(got, "third") })
			got = append(got, "second")
		})
		got = append(got, "first")
	})
	if strings.Join(got, " ") != "first second third" {
		t.Errorf("got %q", got)
	}
}

// Messages beyond maxQueued are lost, timers and functions are not.
func TestOwnerBound(t *testing.T) {
	l := New(Config{})
	defer l.Close()
	o := l.NewOwner()
	messages, functions := 0, 0
	o.Do(func() {
		for range 10 * maxQueued {
			o.offer(event{to: call(func() { messages++ })})
		}
		for range maxQueued {
			o.Do(func() { functions++ })
		}
	})
	if messages != maxQueued || functions != maxQueued {
		t.Errorf("%d messages and %d functions ran", messages, functions)
	}
}

// Stop is final, even for a timer that the wheel has posted already.
func TestTimerStop(t *testing.T) {
	play(t, func(s *stage) {
		o := s.layer.NewOwner()
		var early, late, busy *Timer
		o.Do(func() {
			early = o.After(time.Second, func() { s.note("early") })
			late = o.After(3*time.Second, func() { s.note("late") })
		})
		s.at(2)
		o.Do(func() {
			early.Stop()
			late.Stop()
			late.Stop()
			(*Timer)(nil).Stop()
			busy = o.After(time.Second, func() { s.note("busy") })
		})
		o.Do(func() {
			time.Sleep(2 * time.Second) // the wheel posts meanwhile
			busy.Stop()
		})
		s.at(10)
		s.want(`1.000 early`)
	})
}

// A panic costs one transaction: 500, logged with its stack, wherever it happens (hardening: pass rule).
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	config := func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	oops := func() { panic("oops") }
	for _, c := range []struct {
		name  string
		serve func(s *stage, tx *Server) error
		story func(s *stage)
	}{
		{"handler", func(s *stage, tx *Server) error { oops(); return nil }, func(*stage) {}},
		{"timer", func(s *stage, tx *Server) error { tx.Owner().After(time.Second, oops); return nil }, func(s *stage) { s.at(1) }},
		{"posted", func(s *stage, tx *Server) error { return nil }, func(s *stage) { s.tx.Owner().Do(oops) }},
		{"cancel", func(s *stage, tx *Server) error { tx.OnCancel(func(*wire.Request) { oops() }); return nil }, func(s *stage) { s.in(s.udp, request("CANCEL")) }},
		{"twice", func(s *stage, tx *Server) error { tx.Owner().Do(oops); oops(); return nil }, func(*stage) {}},
		{"response", func(s *stage, tx *Server) error {
			s.layer.Start(tx.Owner(), request("INVITE", "z9hG4bKa1", "z9hG4bKb1"), s.tcp, panicking{})
			return nil
		}, func(s *stage) {
			s.inResponse(s.tcp, reply(&Client{Request: request("INVITE", "z9hG4bKa1", "z9hG4bKb1")}, 180, "b"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			log.Reset()
			play(t, func(s *stage) {
				s.serve = func(tx *Server) error { return c.serve(s, tx) }
				s.in(s.udp, request("INVITE"))
				c.story(s)
				synctest.Wait()
				if !strings.HasPrefix(s.udp.last(), "SIP/2.0 500 ") {
					t.Errorf("last sent %s", s.udp.last())
				}
				if !strings.Contains(log.String(), "oops") || !strings.Contains(log.String(), "owner_test.go") {
					t.Errorf("log: %s", log.String())
				}
				s.serve = func(tx *Server) error { tx.Reply(200, ""); return nil }
				s.in(s.udp, request("OPTIONS"))
				if !strings.HasPrefix(s.udp.last(), "SIP/2.0 200 ") {
					t.Error("the next request was not served")
				}
			}, config)
		})
	}
}

type panicking struct{}

func (panicking) ServeResponse(*Client, *wire.Response) { panic("oops") }
func (panicking) ServeFailure(*Client, error)           { panic("oops") }

// One layer, many goroutines: requests, retransmissions, CANCELs and ACKs of many calls at once, each call on its owner.
func TestRace(t *testing.T) {
	l := New(Config{Logger: slog.New(slog.DiscardHandler), Handler: handlerFunc(func(tx *Server) error {
		if tx.Request.Method == "ACK" {
			return nil
		}
		tx.OnCancel(func(*wire.Request) { tx.Reply(487, "") })
		tx.Merged()
		tx.Owner().After(time.Millisecond, func() { tx.Reply(180, "") })
		return nil
	})})
	defer l.Close()
	f := &nullFlow{id: wire.FlowID{Proto: wire.UDP}}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 50 {
				branch := "z9hG4bKrace" + string(rune('a'+i%20))
				for _, method := range []string{"INVITE", "INVITE", "CANCEL", "ACK", "MESSAGE"} {
					l.ReceiveRequest(f, request(method, "z9hG4bKa1", branch))
				}
			}
		})
	}
	wg.Wait()
	if n := l.Counts(); n.Servers > 60 {
		t.Errorf("%d transactions of 60 different ones", n.Servers)
	}
}
