package relay

import "time"

// Received counts the packets of one incoming stream as a receiver report tells them. RFC 3550, 6.4.1 and A.1, A.3, A.8
type Received struct {
	Packets uint32
	SSRC    uint32
	octets  uint64
	before  Volume // of sources that spoke here earlier

	base, max   uint16
	cycles      uint32
	transit     int64
	jitter      uint32 // times 16
	priorWant   uint32
	priorGot    uint32
	lastSR      uint32 // middle bits of the NTP time of the last sender report
	lastSRTaken time.Duration
}

// Volume is what passed in one direction.
type Volume struct {
	Packets, Octets uint64 // of the packets, payload only
	Lost            uint64 // that did not come
}

// Add adds another one.
func (v *Volume) Add(o Volume) {
	v.Packets += o.Packets
	v.Octets += o.Octets
	v.Lost += o.Lost
}

// Volume is all that came, of all sources.
func (r *Received) Volume() Volume {
	v := r.before
	if r.Packets > 0 {
		v.Add(Volume{uint64(r.Packets), r.octets, uint64(max(0, r.lost()))})
	}
	return v
}

// Count takes one packet of that payload size.
func (r *Received) Count(h *Header, size, clock int, now time.Duration) {
	if r.Packets == 0 || h.SSRC != r.SSRC {
		*r = Received{SSRC: h.SSRC, base: h.Seq, max: h.Seq, Packets: 1, octets: uint64(size), before: r.Volume()}
		r.transit = arrival(now, clock) - int64(h.TS)
		return
	}
	r.Packets++
	r.octets += uint64(size)
	if d := int16(h.Seq - r.max); d > 0 {
		if h.Seq < r.max {
			r.cycles += 1 << 16
		}
		r.max = h.Seq
	}
	transit := arrival(now, clock) - int64(h.TS)
	d := transit - r.transit
	r.transit = transit
	if d < 0 {
		d = -d
	}
	if d < 1<<31 { // a jump of the timestamps is no jitter
		r.jitter += uint32(d) - (r.jitter+8)>>4
	}
}

func arrival(now time.Duration, clock int) int64 {
	return int64(now/time.Microsecond) * int64(clock) / 1e6
}

// Report is one report block. RFC 3550, 6.4.1
type Report struct {
	SSRC         uint32
	FractionLost uint8
	Lost         int32
	Highest      uint32
	Jitter       uint32
	LastSR       uint32
	Delay        uint32 // since then, in 1/65536 s
}

func (r *Received) wanted() uint32 { return r.cycles + uint32(r.max) - uint32(r.base) + 1 }

// lost is negative where packets came twice.
func (r *Received) lost() int32 { return int32(r.wanted() - r.Packets) }

// Report tells what came since the last one.
func (r *Received) Report(now time.Duration) Report {
	want, lost := r.wanted(), r.lost()
	wantNow, gotNow := want-r.priorWant, r.Packets-r.priorGot
	r.priorWant, r.priorGot = want, r.Packets
	rep := Report{SSRC: r.SSRC, Lost: min(max(lost, -1<<23), 1<<23-1), Highest: r.cycles + uint32(r.max), Jitter: r.jitter >> 4, LastSR: r.lastSR}
	if wantNow > 0 && wantNow > gotNow {
		rep.FractionLost = uint8(min((wantNow-gotNow)<<8/wantNow, 255))
	}
	if r.lastSR != 0 {
		rep.Delay = uint32(int64(now-r.lastSRTaken) * 65536 / int64(time.Second))
	}
	return rep
}

// Heard notes a sender report.
func (r *Received) Heard(middle uint32, now time.Duration) { r.lastSR, r.lastSRTaken = middle, now }

// Sent counts the packets of one outgoing stream. RFC 3550, 6.4.1
type Sent struct {
	Packets, Octets uint64 // of which reports show the lower 32 bits
	TS              uint32
	At              time.Duration
}

// Count takes one packet of that payload size.
func (s *Sent) Count(ts uint32, size int, now time.Duration) {
	s.Packets++
	s.Octets += uint64(size)
	s.TS, s.At = ts, now
}
