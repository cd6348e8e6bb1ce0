package main

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"signalbox/internal/console"
	"signalbox/media/turn"
)

// What the TURN server tells is what the status shows, and where there is none, nothing is shown.
func TestTURNStatus(t *testing.T) {
	s := &server{log: slog.New(slog.DiscardHandler)}
	if s.turnStatus() != nil {
		t.Error("a server without TURN has a status of it")
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	var err error
	s.turn, err = turn.New(turn.Config{
		UDP: []string{"127.0.0.1:0"}, Realm: "example.org", Secret: make([]byte, 32), Users: nobody{}, Relays: []turn.Relay{{Local: loopback, Public: loopback}},
		FirstPort: 40000, LastPort: 40010, Metrics: s.turnMetrics(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.turn.Close()
	c, err := net.Dial("udp4", s.turn.UDP()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("no STUN")); err != nil {
		t.Fatal(err)
	}
	// The answer to what follows says that it has been looked at.
	if _, err := c.Write(append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1500)); err != nil {
		t.Fatal(err)
	}
	m := s.turnMetrics()
	m.Allocated("alice")
	m.Denied()
	m.Panicked()
	m.BadAuth("alice", netip.AddrPortFrom(loopback, 9))
	m.Refused(turn.TooManyConnections)
	m.Refused(turn.TooManyRequests)
	want := console.TURN{RelaysTotal: 1, WrongTotal: 1, DeniedTotal: 1, PanicsTotal: 1, RefusedTotal: console.Refused{Connections: 1, Requests: 1, Frames: 1}}
	if got := s.turnStatus(); *got != want {
		t.Errorf("%+v, want %+v", *got, want)
	}
}

type nobody struct{}

func (nobody) HA1(string, string) (string, string, bool) { return "", "", false }
