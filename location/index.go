package location

import (
	"hash/maphash"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"unique"

	"signalbox/internal/wire"
)

// shard is one part of the index.
type shard struct {
	mu  sync.RWMutex // guards the map; held for a moment only
	all map[wire.AOR]*entry

	update  sync.Mutex // puts the updates of the shard's addresses in order; held while the caller's function runs, never while the disk works
	scratch []byte

	hotMu sync.Mutex
	hot   []*entry // a ring, with hotAt the oldest
	hotAt int
}

// entry is an address-of-record.
type entry struct {
	aor  wire.AOR
	cur  atomic.Pointer[state] // committed; nil when there is no binding
	tail *state                // newest one that waits for its commit; nil when there is none. Under shard.update
	seg  *segment              // where the newest record lies on disk. The committer's
	mark uint64                // the commit that wrote it last. The committer's
	due  uint32                // second for which the wheel has it, 0 when it has not. Under shard.update
	gen  uint32                // goes up when a commit fails, and fails what was built on it. Under shard.update, changed by the committer only
	warm bool                  // is in shard.hot. Under shard.hotMu
}

// state is all bindings of an address at one time. It never changes; only its decoded form comes and goes.
type state struct {
	rec   string                    // "" when there is none
	first int64                     // when the first one expires
	view  atomic.Pointer[[]Binding] // decoded; nil when nobody asked lately
}

func (st *state) empty() bool { return st == nil || st.rec == "" }

// len is the number of bindings.
func (st *state) len() int {
	if st.empty() {
		return 0
	}
	r := reader{rest: st.rec}
	return r.count(MaxBindings)
}

// bindings decodes, unless that has been done. Nothing of st can be damaged: it was checked when it was loaded.
func (st *state) bindings(c clock) []Binding {
	if st.empty() {
		return nil
	}
	if v := st.view.Load(); v != nil {
		return *v
	}
	bs, _ := decodeRecord(nil, c, st.rec)
	return bs
}

// live leaves out what has expired. It allocates only between a binding's end and the next turn of the wheel.
func live(bs []Binding, first, now int64, c clock) []Binding {
	if now < first {
		return bs
	}
	var left []Binding
	for i := range bs {
		if now < c.ms(bs[i].Expires) {
			left = append(left, bs[i])
		}
	}
	return left
}

// firstExpiry is when the first of the bindings expires; never when there is none.
func firstExpiry(bs []Binding, c clock) int64 {
	first := int64(math.MaxInt64)
	for i := range bs {
		first = min(first, c.ms(bs[i].Expires))
	}
	return first
}

func (s *Service) shard(aor wire.AOR) *shard {
	return &s.shards[maphash.String(s.seed, aor.User)%shards]
}

func (sh *shard) find(aor wire.AOR) *entry {
	sh.mu.RLock()
	e := sh.all[aor]
	sh.mu.RUnlock()
	return e
}

// insert adds an address, with its own copies of the strings: those of the caller are parts of a message.
func (sh *shard) insert(aor wire.AOR) *entry {
	e := &entry{aor: wire.AOR{User: strings.Clone(aor.User), Host: unique.Make(aor.Host).Value()}}
	sh.mu.Lock()
	sh.all[e.aor] = e
	sh.mu.Unlock()
	return e
}

// forget drops an address that has no bindings, none pending, and is not in the wheel: one that is leaves when its slot comes, so that a phone that comes and
// goes leaves nothing behind in the wheel. The caller holds sh.update.
func (sh *shard) forget(e *entry) {
	if e.cur.Load() != nil || e.tail != nil || e.due != 0 {
		return
	}
	sh.mu.Lock()
	if sh.all[e.aor] == e {
		delete(sh.all, e.aor)
	}
	sh.mu.Unlock()
}

// keep notes that e's bindings are decoded; in exchange those that were noted first are given up.
func (sh *shard) keep(e *entry) {
	sh.hotMu.Lock()
	defer sh.hotMu.Unlock()
	if e.warm {
		return
	}
	e.warm = true
	if len(sh.hot) < hotPerShard {
		sh.hot = append(sh.hot, e)
		return
	}
	old := sh.hot[sh.hotAt]
	old.warm = false
	if st := old.cur.Load(); st != nil {
		st.view.Store(nil)
	}
	sh.hot[sh.hotAt] = e
	sh.hotAt = (sh.hotAt + 1) % hotPerShard
}

// Lookup returns the live bindings, highest q first, most recently updated first among equals. The slice is shared: do not change it. It
// allocates nothing for an address that was called or registered lately (limits.go, hotPerShard), and never waits for the disk.
func (s *Service) Lookup(aor wire.AOR) []Binding {
	sh := s.shard(aor)
	e := sh.find(aor)
	if e == nil {
		return nil
	}
	st := e.cur.Load()
	if st == nil {
		return nil
	}
	v := st.view.Load()
	if v == nil {
		bs := st.bindings(s.clock)
		v = &bs
		st.view.Store(v)
		sh.keep(e)
	}
	return live(*v, st.first, s.clock.now(), s.clock)
}

// All calls yield for every AOR with live bindings until it returns false, in no order. Changes made meanwhile may or may not be seen.
func (s *Service) All(yield func(aor wire.AOR, b []Binding) bool) {
	for i := range s.shards {
		for _, e := range s.shards[i].entries() {
			st := e.cur.Load()
			if st == nil {
				continue
			}
			if bs := live(st.bindings(s.clock), st.first, s.clock.now(), s.clock); len(bs) > 0 && !yield(e.aor, bs) {
				return
			}
		}
	}
}

func (sh *shard) entries() []*entry {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	list := make([]*entry, 0, len(sh.all))
	for _, e := range sh.all {
		list = append(list, e)
	}
	return list
}

// Len is the number of bindings.
func (s *Service) Len() int { return int(s.count.Load()) }
