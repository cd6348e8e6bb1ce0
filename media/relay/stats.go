package relay

import "time"

// Received counts the packets of one incoming stream as a receiver report tells them. RFC 3550, 6.4.1 and A.1, A.3, A.8
type Received struct {
	Packets uint32
	SSRC    uint32

	base, max   uint16
	cycles      uint32
	transit     int64
	jitter      uint32 // times 16
	priorWant   uint32
	priorGot    uint32
	lastSR      uint32 // middle bits of the NTP time of the last sender report
	lastSRTaken time.Duration
}

// Count takes one packet.
func (r *Received) Count(h *Header, clock int, now time.Duration) {
	if r.Packets == 0 || h.SSRC != r.SSRC {
		*r = Received{SSRC: h.SSRC, base: h.Seq, max: h.Seq, Packets: 1}
		r.transit = arrival(now, clock) - int64(h.TS)
		return
	}
	r.Packets++
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

// Report tells what came since the last one.
func (r *Received) Report(now time.Duration) Report {
	want := r.cycles + uint32(r.max) - uint32(r.base) + 1
	lost := int32(want - r.Packets)
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
	Packets, Octets uint32
	TS              uint32
	At              time.Duration
}

// Count takes one packet of that payload size.
func (s *Sent) Count(ts uint32, size int, now time.Duration) {
	s.Packets++
	s.Octets += uint32(size)
	s.TS, s.At = ts, now
}
