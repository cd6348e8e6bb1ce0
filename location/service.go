package location

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"signalbox/internal/wire"
)

// Service answers from memory; the store behind it makes it durable.
type Service struct {
	config Config
	clock  clock
	seed   maphash.Seed
	shards [shards]shard
	count  atomic.Int64 // bindings
	wheel  wheel
	queue  queue
	store  store // nil when volatile

	// The committer's.
	log     segments
	batch   batch
	loading []Binding // scratch while loading

	stop, stopped chan struct{}
}

// Config is what Open needs. Its zero value is good.
type Config struct {
	// Changed is called after every commit and expiry, in order per AOR; nil is silent. It must not block nor call Update. before and after are shared: do not change them.
	Changed func(aor wire.AOR, before, after []Binding, why Reason)
	// Committed hears of every transaction: how many addresses it wrote, how long it took, and why it failed; nil is silent.
	Committed func(addresses int, took time.Duration, err error)
	// Volatile keeps the bindings in memory only: Update's done follows at once, and a restart forgets everything. For tests, and for
	// comparing with servers that do the same.
	Volatile bool
}

// Reason of a change.
type Reason string

const (
	Registered Reason = "registered" // bindings were added or refreshed
	Expired    Reason = "expired"
	Removed    Reason = "removed" // an update left fewer bindings than there were

	// FlowLost: the connection that bindings depend on has died. They are kept, with Binding.Lost, but nothing is sent by them.
	FlowLost Reason = "flow-lost"

	// What is done to bindings from our side, in the words of RFC 3680 (4.7.1).
	Created     Reason = "created"     // made by an administrator
	Shortened   Reason = "shortened"   // they end earlier than was granted
	Deactivated Reason = "deactivated" // taken away; the phone should register again at once
	Probation   Reason = "probation"   // taken away; the phone should register again later
	Rejected    Reason = "rejected"    // taken away; the phone should not register again
)

// Open loads the bindings that have not expired and starts the committer and the expiry wheel. The database must have the table binding (package
// database); a volatile service needs none. A record that cannot be read is an error.
func Open(db *sql.DB, c Config) (*Service, error) {
	if c.Volatile {
		return open(nil, c)
	}
	if db == nil {
		return nil, errors.New("location: no database")
	}
	st, err := newSQLStore(db)
	if err != nil {
		return nil, fmt.Errorf("location: %w", err)
	}
	s, err := open(st, c)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	return s, nil
}

func open(st store, c Config) (*Service, error) {
	s, err := load(st, c)
	if err == nil {
		go s.run()
	}
	return s, err
}

// load makes a service with the bindings of the store; nothing runs yet.
func load(st store, c Config) (*Service, error) {
	s := &Service{
		config:  c,
		clock:   newClock(),
		seed:    maphash.MakeSeed(),
		store:   st,
		queue:   queue{wake: make(chan struct{}, 1)},
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	s.wheel.start = s.clock.baseMS
	for i := range s.shards {
		s.shards[i].all = make(map[wire.AOR]*entry)
	}
	if st != nil {
		if err := st.load(s.loadSegment); err != nil {
			return nil, fmt.Errorf("location: loading bindings: %w", err)
		}
		s.loaded()
	}
	return s, nil
}

// Close commits what is pending and ends the service; updates that come later get 503. Lookup goes on. It may be called once.
func (s *Service) Close(ctx context.Context) error {
	s.queue.close()
	close(s.stop)
	select {
	case <-s.stopped:
	case <-ctx.Done():
		return fmt.Errorf("location: updates not yet on disk: %w", ctx.Err())
	}
	if s.store == nil {
		return nil
	}
	return s.store.close()
}
