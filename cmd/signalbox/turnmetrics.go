package main

import (
	"net/netip"
	"sync/atomic"

	"signalbox/internal/console"
	"signalbox/media/turn"
)

// turnCounters count what the TURN server tells.
type turnCounters struct {
	relays, wrong, denied, connections, requests, frames, panics atomic.Int64
}

// turnMetrics counts, and logs what an operator wants to know of.
func (s *server) turnMetrics() turn.Metrics {
	t := &s.turnCounters
	return turn.Metrics{
		Allocated: func(string) { t.relays.Add(1) },
		Denied:    func() { t.denied.Add(1) },
		Panicked:  func() { t.panics.Add(1) },
		BadAuth: func(user string, from netip.AddrPort) {
			t.wrong.Add(1)
			s.log.Warn("wrong TURN password", "user", harmless(shorten(user)), "source", from.String())
		},
		Refused: func(why turn.Reason) {
			switch why {
			case turn.TooManyConnections:
				t.connections.Add(1)
			case turn.TooManyRequests:
				t.requests.Add(1)
			case turn.BadFrame:
				t.frames.Add(1)
			}
		},
	}
}

// turnStatus is nil where there is no TURN server.
func (s *server) turnStatus() *console.TURN {
	if s.turn == nil {
		return nil
	}
	c, t := &s.turnCounters, s.turn.Traffic()
	return &console.TURN{
		Clients: s.turn.Active(), RelaysTotal: c.relays.Load(), WrongTotal: c.wrong.Load(), DeniedTotal: c.denied.Load(), PanicsTotal: c.panics.Load(),
		RefusedTotal: console.Refused{Connections: c.connections.Load(), Requests: c.requests.Load(), Frames: c.frames.Load()},
		ToPeers:      console.Relayed{Packets: t.ToPeers, Bytes: t.ToPeersBytes, Dropped: t.ToPeersDropped},
		ToClients:    console.Relayed{Packets: t.ToClient, Bytes: t.ToClientBytes, Dropped: t.ToClientDropped},
	}
}
