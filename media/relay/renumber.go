package relay

import "time"

const (
	// maxForward and maxBack are how far a sequence number may jump and still be the same run of packets: RFC 3550, A.1 takes 3,000 and 100.
	// Beyond that a source has begun anew without saying so; receivers fall silent for seconds when they see it.
	maxForward = 3000
	maxBack    = 100
)

// Renumber makes one stream of packets out of the streams of several sources: another phone of a fork, music on hold, a phone that begins anew. The
// receiver sees one SSRC whose sequence numbers and timestamps go on. RFC 3550, 5.1
type Renumber struct {
	SSRC uint32 // of what leaves

	running bool
	source  uint64 // whose packets these are: the leg and its SSRC
	seqOff  uint16
	tsOff   uint32
	lastSeq uint16
	lastTS  uint32
	lastAt  time.Duration
}

// Map rewrites the numbers of a packet. leg tells sources with the same SSRC apart; clock is the rate of the timestamps; now counts from anything.
func (r *Renumber) Map(h *Header, leg uint32, clock int, now time.Duration) {
	source := uint64(leg)<<32 | uint64(h.SSRC)
	if !r.running || source != r.source || !near(h.Seq+r.seqOff, r.lastSeq) {
		r.restart(h, source, clock, now)
	}
	h.Seq += r.seqOff
	h.TS += r.tsOff
	h.SSRC = r.SSRC
	if int16(h.Seq-r.lastSeq) > 0 {
		r.lastSeq, r.lastTS, r.lastAt = h.Seq, h.TS, now
	}
}

func near(seq, last uint16) bool {
	d := int16(seq - last)
	return d < maxForward && d > -maxBack
}

// restart makes the next packet follow the last one, as much later on its clock as it is.
func (r *Renumber) restart(h *Header, source uint64, clock int, now time.Duration) {
	if !r.running {
		r.running, r.lastSeq, r.lastTS = true, h.Seq-1, h.TS
	} else {
		passed := uint32(max(int64(now-r.lastAt)*int64(clock)/int64(time.Second), 1))
		r.seqOff = r.lastSeq + 1 - h.Seq
		r.tsOff = r.lastTS + passed - h.TS
	}
	r.source = source
}
