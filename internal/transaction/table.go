package transaction

import (
	"hash/maphash"
	"strings"
	"sync"
)

// key says which transaction a message is about, but for the method.
type key struct {
	branch string // or, for a client of RFC 2543, all that its requests are compared by
	host   string // sent-by
	port   int
}

// hash is seeded at random, so that nobody can choose branches that fall together.
func (k key) hash(seed maphash.Seed) uint64 {
	h := maphash.String(seed, k.branch)
	if k.host != "" {
		h = h*0x9e3779b97f4a7c15 ^ maphash.String(seed, k.host)
	}
	return h + uint64(k.port)
}

// slot is a transaction's place in a table. It owns its strings: a substring would keep the whole message alive.
type slot[T any] struct {
	hash   uint64
	id     string // branch and host
	method string
	next   *slot[T] // same hash
	tx     *T
	branch int32 // length of the branch in id
	port   int32
}

func (s *slot[T]) matches(k key) bool {
	return len(s.id) == len(k.branch)+len(k.host) && int(s.branch) == len(k.branch) && int(s.port) == k.port &&
		s.id[:len(k.branch)] == k.branch && s.id[len(k.branch):] == k.host
}

func (s *slot[T]) fill(hash uint64, k key, method string, tx *T) {
	s.hash, s.id, s.method, s.tx = hash, k.branch+k.host, canonical(method), tx
	if k.host == "" {
		s.id = strings.Clone(k.branch)
	}
	s.branch, s.port = int32(len(k.branch)), int32(k.port)
}

// canonical frees a method from the message it stood in.
func canonical(method string) string {
	switch method {
	case "INVITE":
		return "INVITE"
	case "CANCEL":
		return "CANCEL"
	case "BYE":
		return "BYE"
	case "REGISTER":
		return "REGISTER"
	case "OPTIONS":
		return "OPTIONS"
	case "MESSAGE":
		return "MESSAGE"
	}
	return strings.Clone(method)
}

// table finds transactions by key and method. It is cut into shards with a lock each; no lock is held while anything else runs.
type table[T any] struct {
	seed   maphash.Seed
	shards [tableShards]shard[T]
}

type shard[T any] struct {
	mu    sync.Mutex
	slots map[uint64]*slot[T]
	_     [48]byte // a cache line each
}

func (t *table[T]) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].slots = map[uint64]*slot[T]{}
	}
}

// lock returns the key's hash and its shard, locked.
func (t *table[T]) lock(k key) (uint64, *shard[T]) {
	h := k.hash(t.seed)
	s := &t.shards[h%tableShards]
	s.mu.Lock()
	return h, s
}

// find returns the transaction with that key and method, or nil.
func (t *table[T]) find(k key, method string) *T {
	h, s := t.lock(k)
	defer s.mu.Unlock()
	return s.find(h, k, method)
}

func (t *table[T]) remove(s *slot[T]) {
	sh := &t.shards[s.hash%tableShards]
	sh.mu.Lock()
	sh.remove(s)
	sh.mu.Unlock()
}

func (sh *shard[T]) find(hash uint64, k key, method string) *T {
	for s := sh.slots[hash]; s != nil; s = s.next {
		if s.method == method && s.matches(k) {
			return s.tx
		}
	}
	return nil
}

// other returns a transaction with that key and any method but this one, or nil.
func (sh *shard[T]) other(hash uint64, k key, method string) *T {
	for s := sh.slots[hash]; s != nil; s = s.next {
		if s.method != method && s.matches(k) {
			return s.tx
		}
	}
	return nil
}

func (sh *shard[T]) add(s *slot[T]) {
	s.next = sh.slots[s.hash]
	sh.slots[s.hash] = s
}

func (sh *shard[T]) remove(s *slot[T]) {
	at := sh.slots[s.hash]
	if at == s {
		if s.next == nil {
			delete(sh.slots, s.hash)
		} else {
			sh.slots[s.hash] = s.next
		}
		return
	}
	for ; at != nil; at = at.next {
		if at.next == s {
			at.next = s.next
			return
		}
	}
}
