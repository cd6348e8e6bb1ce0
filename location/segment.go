package location

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"signalbox/internal/wire"
)

// The bindings on disk are a log of segments, one for each commit. A segment is a version, the skew of the clock its times were taken by, and records: user,
// host, bindings; no bindings say that the address has none any more. Of several records of one address the last counts.

// segmentVersion is the first byte of a segment. Version 1 knew fewer flags of a binding, and is read as it is.
const segmentVersion = 2

// segment is what memory knows of one: whose records it holds, dead ones included.
type segment struct {
	id      int64
	entries []*entry
}

// segments is the log, oldest first. It belongs to the committer.
type segments struct {
	list  []*segment
	total int // records in all of them
	live  int // those that are the newest of their address
}

// dead says that e's record on disk counts for nothing: its bindings have expired, and a reader sees that from the record itself.
func (l *segments) dead(e *entry) {
	if e.seg != nil {
		e.seg = nil
		l.live--
	}
}

// batch is the segment in the making, and the old ones that it makes superfluous.
type batch struct {
	number  uint64
	data    []byte
	entries []*entry
	drop    []*segment
}

func (b *batch) reset(skew int64) {
	b.number++
	b.data = binary.AppendVarint(append(b.data[:0], segmentVersion), skew)
	b.entries = b.entries[:0]
	b.drop = b.drop[:0]
}

// add writes the record of an address, unless the batch has one of it already.
func (b *batch) add(e *entry, st *state) {
	if e.mark == b.number {
		return
	}
	e.mark = b.number
	b.data = appendString(b.data, e.aor.User)
	b.data = appendString(b.data, e.aor.Host)
	b.data = appendString(b.data, st.rec)
	b.entries = append(b.entries, e)
}

// clean moves what is alive in the oldest segments into the batch, while more than half of the log is dead. Behind the oldest segment there is nothing that a
// record of no bindings could end: those are dropped.
func (l *segments) clean(b *batch) {
	total, moved := l.total+len(b.entries), 0
	for _, seg := range l.list {
		if total <= 2*l.live+logSlack || moved >= maxMoved || len(b.drop) == maxDropped {
			return
		}
		before := len(b.entries)
		for _, e := range seg.entries {
			if st := e.cur.Load(); e.seg == seg && st != nil {
				b.add(e, st)
			}
		}
		moved += len(b.entries) - before
		total += len(b.entries) - before - len(seg.entries)
		b.drop = append(b.drop, seg)
	}
}

// committed notes that the batch is on disk under id.
func (l *segments) committed(b *batch, id int64) {
	seg := &segment{id: id, entries: slices.Clone(b.entries)}
	for _, e := range seg.entries {
		l.dead(e)
		e.seg = seg
	}
	l.live += len(seg.entries)
	l.total += len(seg.entries)
	for i, old := range b.drop {
		for _, e := range old.entries {
			if e.seg == old {
				l.dead(e)
			}
		}
		l.total -= len(old.entries)
		l.list[i] = nil
	}
	l.list = append(l.list[len(b.drop):], seg)
}

// loadSegment puts the records of a segment into the index, later ones over earlier ones.
func (s *Service) loadSegment(id int64, data string) error {
	r := reader{rest: data}
	if version := r.byte(); version < 1 || version > segmentVersion {
		return fmt.Errorf("segment %d: damaged, or written by a newer version", id)
	}
	skew := r.varint()
	seg := &segment{id: id}
	for r.rest != "" {
		aor := wire.AOR{User: r.string(), Host: r.string()}
		st, err := s.loadRecord(r.string(), skew)
		if r.bad || err != nil {
			return fmt.Errorf("segment %d: %w", id, errRecord)
		}
		sh := s.shard(aor)
		e := sh.find(aor)
		if e == nil {
			e = sh.insert(aor)
		}
		s.log.dead(e)
		e.seg = seg
		e.cur.Store(st)
		seg.entries = append(seg.entries, e)
	}
	s.log.list = append(s.log.list, seg)
	s.log.total += len(seg.entries)
	s.log.live += len(seg.entries)
	return nil
}

// loadRecord checks a record and returns its live bindings; nil when there is none. Times were taken by a clock that was off by skew.
func (s *Service) loadRecord(rec string, skew int64) (*state, error) {
	bs, err := decodeRecord(s.loading[:0], s.clock, rec)
	if err != nil {
		return nil, err
	}
	s.loading = bs
	now := s.clock.now()
	first := firstExpiry(bs, s.clock)
	cut := s.cutOff(bs, now-skew)
	if skew == 0 && now < first && !cut {
		if len(bs) == 0 {
			return nil, nil
		}
		return &state{rec: strings.Clone(rec), first: first}, nil
	}
	for i := range bs {
		b, off := &bs[i], time.Duration(skew)*time.Millisecond
		b.Expires, b.Created, b.Updated = b.Expires.Add(off), b.Created.Add(off), b.Updated.Add(off)
		if !b.Lost.IsZero() {
			b.Lost = b.Lost.Add(off)
		}
	}
	if bs = live(bs, firstExpiry(bs, s.clock), now, s.clock); len(bs) == 0 {
		return nil, nil
	}
	return &state{rec: string(appendRecord(nil, s.clock, bs)), first: firstExpiry(bs, s.clock)}, nil
}

// cutOff marks the bindings that the last process took its connections from: no connection outlives it.
func (s *Service) cutOff(bs []Binding, now int64) (found bool) {
	for i := range bs {
		if bs[i].Usable() && bs[i].DependsOnFlow() {
			bs[i].Lost, found = s.clock.time(now), true
		}
	}
	return found
}

// loaded ends the loading: addresses without bindings go, the others are watched.
func (s *Service) loaded() {
	s.loading = nil
	for i := range s.shards {
		sh := &s.shards[i]
		for _, e := range sh.entries() {
			st := e.cur.Load()
			if st == nil {
				s.log.dead(e)
				sh.forget(e)
				continue
			}
			s.count.Add(int64(st.len()))
			s.wheel.add(e, st.first)
		}
	}
}
