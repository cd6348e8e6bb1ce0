package database

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	errJournalClosed = errors.New("database: the journal is closed")
	errJournalFull   = errors.New("database: too much waits for the disk")
)

// Journal writes what happens beside the registrations: events, phones that come and go, and the state of subscriptions. Callers never wait: one goroutine writes what has gathered in one
// transaction, so that registrations, which use the same file, are held up by few commits and short ones.
//
// Events are written after the fact: a crash loses those of the last eventGather at most. Phones that come are in no hurry: what lists them has them written first, and after a crash
// the bindings and the feed know them. A subscription is told when it is on disk.
type Journal struct {
	db     *DB
	failed func(error) // a commit failed

	mu       sync.Mutex
	events   []Event
	subs     []subscriptionChange
	phones   []Phone
	due      time.Time // when the phones are written
	writing  gathered  // what is being written
	spare    []Event   // room for the next events
	lost     int       // events that found no room
	deadline time.Time // of the next commit; zero when nothing waits
	newest   int64     // cursor on disk
	appended chan struct{}
	settled  chan struct{} // closed and made anew by each commit
	released bool          // nobody waits for events any more
	closed   bool          // nothing is appended any more

	wake, stop, stopped chan struct{}

	// The writer's own.
	upsert, shared *sql.Stmt // for phoneRows phones at once; nil until so many come
	encoded        bytes.Buffer
}

// gathered is what one commit writes.
type gathered struct {
	events []Event
	first  int64 // cursor of the first of them
	subs   []subscriptionChange
	phones []Phone
}

// Journal starts the writer. failed, if not nil, hears of commits that failed; events wait for the next attempt.
func (db *DB) Journal(ctx context.Context, failed func(error)) (*Journal, error) {
	_, newest, err := db.eventRange(ctx)
	if err != nil {
		return nil, explain(db.path, err)
	}
	j := &Journal{
		db: db, failed: failed, newest: newest, appended: make(chan struct{}), settled: make(chan struct{}),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go j.run()
	return j, nil
}

// Append adds events to the feed, in order; those without a time happen now. It never blocks: what finds no room is counted, and the feed says so.
func (j *Journal) Append(list ...Event) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	for _, e := range list {
		if len(j.events) >= maxWaitingEvents {
			j.lost++
			continue
		}
		if e.Time.IsZero() {
			e.Time = now
		}
		j.events = append(j.events, e)
	}
	j.expect(eventGather)
}

// Save writes a subscription; done, if not nil, is called on the writer's goroutine when it is on disk or cannot be, and must not block.
func (j *Journal) Save(s Subscription, done func(error)) {
	j.change(subscriptionChange{s, done})
}

// Remove forgets a subscription.
func (j *Journal) Remove(id string) {
	j.change(subscriptionChange{Subscription: Subscription{ID: id}})
}

func (j *Journal) change(c subscriptionChange) {
	j.mu.Lock()
	var err error
	switch {
	case j.closed:
		err = errJournalClosed
	case len(j.subs) >= maxWaitingSubscriptions:
		err = errJournalFull
	default:
		j.subs = append(j.subs, c)
		j.expect(subscriptionGather)
	}
	j.mu.Unlock()
	if err != nil && c.done != nil {
		c.done(err)
	}
}

// expect sees to it that a commit comes after d at the latest. The lock is held.
func (j *Journal) expect(d time.Duration) {
	at := time.Now().Add(d)
	if !j.deadline.IsZero() && !at.Before(j.deadline) {
		return
	}
	j.deadline = at
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Wait returns when there are events on disk behind a cursor, or with the error of ctx, or when the journal closes.
func (j *Journal) Wait(ctx context.Context, since int64) error {
	for {
		j.mu.Lock()
		ready, released, appended := j.newest > since, j.released, j.appended
		j.mu.Unlock()
		switch {
		case ready:
			return nil
		case released:
			return errJournalClosed
		}
		select {
		case <-appended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Events reads the feed: see DB.Events.
func (j *Journal) Events(ctx context.Context, since int64) (Page, error) {
	return j.db.Events(ctx, since)
}

// Sync waits until what has been appended is on disk, for a moment at most: who did something and then asks shall see it.
func (j *Journal) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	j.mu.Lock()
	target := j.newest + int64(len(j.writing.events)+len(j.events))
	if len(j.events) > 0 {
		j.expect(0)
	}
	j.mu.Unlock()
	return j.Wait(ctx, target-1)
}

// NewestEvent is the cursor of the newest event on disk; 0 when there is none.
func (j *Journal) NewestEvent(context.Context) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.newest, nil
}

// Release ends every Wait, now and later: the server is stopping. What is appended is still written.
func (j *Journal) Release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.released {
		j.released = true
		close(j.appended)
	}
}

// Close writes what waits and ends the writer. It may be called once.
func (j *Journal) Close(ctx context.Context) error {
	j.Release()
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	close(j.stop)
	select {
	case <-j.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("database: events not yet on disk: %w", ctx.Err())
	}
}

func (j *Journal) run() {
	defer close(j.stopped)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var last time.Time // end of the last commit
	for {
		select {
		case <-j.wake:
			j.mu.Lock()
			timer.Reset(max(time.Until(j.deadline), time.Until(last.Add(commitPause))))
			j.mu.Unlock()
		case <-timer.C:
			j.commit()
			last = time.Now()
		case <-j.stop:
			j.commitAll()
			return
		}
	}
}

// commitAll writes what waits, at the end: once more each as long as it goes well.
func (j *Journal) commitAll() {
	for before := -1; ; {
		j.commit()
		j.mu.Lock()
		left := len(j.events) + len(j.phones)
		j.mu.Unlock()
		if left == 0 || left == before {
			return
		}
		before = left
	}
}

// commit writes what has gathered. Events and phones that could not be written are kept for the next attempt; subscriptions are told.
func (j *Journal) commit() {
	g := j.take()
	if len(g.events)+len(g.subs)+len(g.phones) == 0 {
		return
	}
	err := j.write(&g)
	j.settle(&g, err)
	for i := range g.subs {
		if g.subs[i].done != nil {
			g.subs[i].done(err)
		}
	}
	if err != nil && j.failed != nil {
		j.failed(err)
	}
}

// take returns what is written next: all subscriptions, and as many events and phones as one commit takes.
func (j *Journal) take() gathered {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost > 0 {
		j.events = append(j.events, Event{Time: time.Now(), Event: "lost", Count: j.lost, Reason: "the disk was too slow"})
		j.lost = 0
	}
	n, m := min(len(j.events), maxCommittedEvents), 0
	if j.closed || !time.Now().Before(j.due) {
		m = min(len(j.phones), maxCommittedPhones)
	}
	g := gathered{events: j.events[:n:n], first: j.newest + 1, subs: j.subs, phones: j.phones[:m:m]}
	if n == len(j.events) {
		j.events, j.spare = j.spare, nil
	} else {
		j.events = j.events[n:]
	}
	j.subs, j.phones, j.deadline, j.writing = nil, j.phones[m:], time.Time{}, g
	switch {
	case len(j.events) > 0:
		j.expect(0)
	case len(j.phones) > 0:
		j.expect(time.Until(j.due))
	}
	return g
}

// settle notes whether events and phones are on disk. Those that are not stand first in the queue again.
func (j *Journal) settle(g *gathered, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing = gathered{}
	if err == nil && cap(g.events) <= maxCommittedEvents {
		clear(g.events)
		j.spare = g.events[:0]
	}
	close(j.settled)
	j.settled = make(chan struct{})
	switch {
	case err != nil:
		room := max(0, maxWaitingEvents-len(g.events))
		j.lost += max(0, len(j.events)-room)
		j.events = append(g.events, j.events[:min(room, len(j.events))]...)
		j.phones = append(g.phones, j.phones[:min(max(0, maxWaitingPhones-len(g.phones)), len(j.phones))]...)
		if len(j.events)+len(j.phones) > 0 {
			j.deadline = time.Time{}
			j.expect(eventRetry)
		}
	case len(g.events) > 0:
		j.newest += int64(len(g.events))
		if !j.released {
			close(j.appended)
			j.appended = make(chan struct{})
		}
	}
}

// write is one transaction. It takes no context of a caller: it belongs to many of them.
func (j *Journal) write(g *gathered) error {
	ctx := context.Background()
	if err := j.encode(g); err != nil {
		return err
	}
	if len(g.phones) >= phoneRows {
		if err := j.prepare(ctx); err != nil {
			return explain(j.db.path, err)
		}
	}
	tx, err := j.db.writer.BeginTx(ctx, nil)
	if err != nil {
		return explain(j.db.path, err)
	}
	defer tx.Rollback()
	if err = writeSubscriptions(ctx, tx, g.subs); err == nil {
		err = j.writePhones(ctx, tx, g.phones)
	}
	if err == nil && len(g.events) > 0 {
		_, err = tx.ExecContext(ctx, "INSERT INTO event (first, count, data) VALUES (?, ?, ?)", g.first, len(g.events), j.encoded.Bytes())
		if err == nil {
			// The newest row always stays: it knows the cursor.
			_, err = tx.ExecContext(ctx, "DELETE FROM event WHERE first + count <= ? AND first <= ?", g.first-MaxEvents, g.first-MaxEvents)
		}
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return explain(j.db.path, err)
	}
	return nil
}
