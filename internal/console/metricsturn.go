package console

// TURN is what the TURN server counts.
type TURN struct {
	Clients      int     `json:"clients"` // that have a relay now
	RelaysTotal  int64   `json:"relays_total"`
	WrongTotal   int64   `json:"wrong_passwords_total"`
	DeniedTotal  int64   `json:"denied_peers_total"` // addresses that nobody may reach
	RefusedTotal Refused `json:"refused_total"`
	PanicsTotal  int64   `json:"panics_total"`
	ToPeers      Relayed `json:"to_peers"`
	ToClients    Relayed `json:"to_clients"`
}

// Refused is what was not let in, by reason.
type Refused struct {
	Connections int64 `json:"connections"` // too many
	Requests    int64 `json:"requests"`    // too many
	Frames      int64 `json:"frames"`      // malformed
}

// Relayed is what went one way.
type Relayed struct {
	Packets uint64 `json:"packets_total"`
	Bytes   uint64 `json:"bytes_total"`
	Dropped uint64 `json:"packets_dropped_total"` // without a permission, beyond the bandwidth, or into a full buffer
}

func (m metrics) turn(t *TURN) {
	m.gauge("turn_clients", "Clients of TURN that have a relay.", float64(t.Clients))
	m.counter("turn_relays_total", "Relays that were opened.", float64(t.RelaysTotal))
	m.counter("turn_wrong_passwords_total", "Requests with a wrong name or password.", float64(t.WrongTotal))
	m.counter("turn_denied_peers_total", "Addresses that were asked for and may not be reached.", float64(t.DeniedTotal))
	m.counter("turn_refused_total", "What was not let in.", float64(t.RefusedTotal.Connections), "reason", "connections")
	m.sample("turn_refused_total", float64(t.RefusedTotal.Requests), "reason", "requests")
	m.sample("turn_refused_total", float64(t.RefusedTotal.Frames), "reason", "frames")
	m.counter("turn_panics_total", "Panics while something was handled that a client or a peer had sent.", float64(t.PanicsTotal))
	for _, one := range []struct {
		name, help string
		of         func(*Relayed) uint64
	}{
		{"turn_packets_total", "Datagrams relayed.", func(r *Relayed) uint64 { return r.Packets }},
		{"turn_bytes_total", "Bytes relayed, without headers.", func(r *Relayed) uint64 { return r.Bytes }},
		{"turn_packets_dropped_total", "Datagrams not relayed: no permission, no bandwidth left, or a full buffer.", func(r *Relayed) uint64 { return r.Dropped }},
	} {
		m.counter(one.name, one.help, float64(one.of(&t.ToPeers)), "direction", "to_peers")
		m.sample(one.name, float64(one.of(&t.ToClients)), "direction", "to_clients")
	}
}
