package database

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"signalbox/internal/wire"
)

// Phone is a device that nobody added: its first REGISTER made it. It is known by its instance (RFC 5626, 4.1), without one by its contact, under the address that
// it registers. Only the file has it: the bindings in memory say where it is, so that a phone costs a registration nothing but its first one, and that one little: it is
// written when there is time, or when somebody asks.
type Phone struct {
	AOR               wire.AOR
	Instance, Contact string // one of them is ""
	UserAgent         string
	Transport, Source string // where it was last
	First             time.Time
	Gone              time.Time // since when it is not registered any more; zero while it is
}

// Sighted notes that a phone has come, or, when it is Gone, that it has left. It never blocks, and is written with what else has gathered: a phone that finds
// no room is noted when it leaves.
func (j *Journal) Sighted(p Phone) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || len(j.phones) >= maxWaitingPhones {
		return
	}
	j.phones = append(j.phones, p)
	switch {
	case !p.Gone.IsZero(): // with its event, which a crash must not leave alone
		j.writePhonesIn(eventGather)
	case len(j.phones) == maxWaitingPhones/2:
		j.writePhonesIn(0)
	case len(j.phones) == 1:
		j.writePhonesIn(phoneGather)
	}
}

// writePhonesIn sees to it that the phones are written after d at the latest. The lock is held.
func (j *Journal) writePhonesIn(d time.Duration) {
	if at := time.Now().Add(d); len(j.phones) == 1 || at.Before(j.due) {
		j.due = at
	}
	j.expect(d)
}

// Phones lists those of an address, all for the zero value, by address and name.
func (j *Journal) Phones(ctx context.Context, of wire.AOR) ([]Phone, error) {
	if err := j.settlePhones(ctx); err != nil {
		return nil, err
	}
	return j.db.Phones(ctx, of)
}

// Forget deletes a phone of an address, or all of them when neither instance nor contact is given; ErrNotFound if there is none.
func (j *Journal) Forget(ctx context.Context, of wire.AOR, instance, contact string) error {
	if err := j.settlePhones(ctx); err != nil {
		return err
	}
	query, args := "DELETE FROM phone WHERE user = ? AND domain = ?", []any{of.User, of.Host}
	if instance != "" || contact != "" {
		query, args = query+" AND instance = ? AND contact = ?", append(args, instance, contact)
	}
	r, err := j.db.writer.ExecContext(ctx, query, args...)
	if err != nil {
		return explain(j.db.path, err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNotFound)
	}
	return nil
}

// settlePhones waits until what has been noted is on disk, for a moment at most.
func (j *Journal) settlePhones(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	for {
		j.mu.Lock()
		left, settled := len(j.phones)+len(j.writing.phones), j.settled
		if left > 0 && !j.closed {
			j.writePhonesIn(0)
		}
		j.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-settled:
		case <-waiting.Done():
			return ctx.Err() // what is on disk must do
		}
	}
}

// Phones reads those of an address, all for the zero value.
func (db *DB) Phones(ctx context.Context, of wire.AOR) ([]Phone, error) {
	var list []Phone
	query, args := "SELECT user, domain, instance, contact, agent, transport, source, first, gone FROM phone", []any(nil)
	if of != (wire.AOR{}) {
		query, args = query+" WHERE user = ? AND domain = ?", []any{of.User, of.Host}
	}
	err := db.each(ctx, query+" ORDER BY domain, user, instance, contact", func(rows *sql.Rows) error {
		var p Phone
		var first, gone int64
		if err := rows.Scan(&p.AOR.User, &p.AOR.Host, &p.Instance, &p.Contact, &p.UserAgent, &p.Transport, &p.Source, &first, &gone); err != nil {
			return err
		}
		p.First = time.Unix(first, 0)
		if gone != 0 {
			p.Gone = time.Unix(gone, 0)
		}
		list = append(list, p)
		return nil
	}, args...)
	if err != nil {
		return nil, explain(db.path, err)
	}
	return list, nil
}

// writePhones adds phones, or changes what is known of them, and then tidies up the addresses that have more than one.
func (j *Journal) writePhones(ctx context.Context, tx *sql.Tx, list []Phone) error {
	for some := range slices.Chunk(list, phoneRows) {
		if err := j.upsertPhones(ctx, tx, some); err != nil {
			return err
		}
		shared, err := j.sharedAddresses(ctx, tx, some)
		if err != nil {
			return err
		}
		if len(shared) > 0 {
			if err := tidyPhones(ctx, tx, some, shared); err != nil {
				return err
			}
		}
	}
	return nil
}

// upsertPhones is one statement for all: most of what a row would cost alone is the statement.
func (j *Journal) upsertPhones(ctx context.Context, tx *sql.Tx, list []Phone) error {
	args := make([]any, 0, 9*len(list))
	for i := range list {
		p := &list[i]
		args = append(args, p.AOR.User, p.AOR.Host, p.Instance, p.Contact, p.UserAgent, p.Transport, p.Source, unix(p.First), unix(p.Gone))
	}
	if len(list) == phoneRows {
		_, err := tx.StmtContext(ctx, j.upsert).ExecContext(ctx, args...)
		return err
	}
	_, err := tx.ExecContext(ctx, upsertQuery(len(list)), args...)
	return err
}

// sharedAddresses are those of the list that have more than one phone.
func (j *Journal) sharedAddresses(ctx context.Context, tx *sql.Tx, list []Phone) (map[wire.AOR]bool, error) {
	args := make([]any, 0, 2*len(list))
	for i := range list {
		args = append(args, list[i].AOR.User, list[i].AOR.Host)
	}
	var found *sql.Rows
	var err error
	if len(list) == phoneRows {
		found, err = tx.StmtContext(ctx, j.shared).QueryContext(ctx, args...)
	} else {
		found, err = tx.QueryContext(ctx, sharedQuery(len(list)), args...)
	}
	if err != nil {
		return nil, err
	}
	defer found.Close()
	shared := make(map[wire.AOR]bool)
	for found.Next() {
		var of wire.AOR
		if err := found.Scan(&of.User, &of.Host); err != nil {
			return nil, err
		}
		shared[of] = true
	}
	return shared, found.Err()
}

// tidyPhones forgets what has a successor, and what is too much. A phone without instance that comes with another contact is taken for the one with the same
// User-Agent that is gone: else each start of it would leave a device behind.
func tidyPhones(ctx context.Context, tx *sql.Tx, list []Phone, shared map[wire.AOR]bool) error {
	for i := range list {
		p := &list[i]
		if p.Instance != "" || !p.Gone.IsZero() || !shared[p.AOR] {
			continue
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM phone WHERE user = ? AND domain = ? AND instance = '' AND contact <> ? AND agent = ? AND gone <> 0",
			p.AOR.User, p.AOR.Host, p.Contact, p.UserAgent)
		if err != nil {
			return err
		}
	}
	for of := range shared {
		_, err := tx.ExecContext(ctx, `DELETE FROM phone WHERE user = ?1 AND domain = ?2 AND (instance, contact) NOT IN (SELECT instance, contact FROM phone
			WHERE user = ?1 AND domain = ?2 ORDER BY gone = 0 DESC, gone DESC, first DESC LIMIT ?3)`, of.User, of.Host, maxPhones)
		if err != nil {
			return err
		}
	}
	return nil
}

func upsertQuery(n int) string {
	return "INSERT INTO phone (user, domain, instance, contact, agent, transport, source, first, gone) VALUES " + rows("(?, ?, ?, ?, ?, ?, ?, ?, ?)", n) +
		" ON CONFLICT DO UPDATE SET agent = excluded.agent, transport = excluded.transport, source = excluded.source, gone = excluded.gone"
}

func sharedQuery(n int) string {
	return "SELECT user, domain FROM phone WHERE (user, domain) IN (VALUES " + rows("(?, ?)", n) + ") GROUP BY user, domain HAVING count(*) > 1"
}

// prepare reads the statements of phoneRows once: that takes as long as running them. The writer has one connection, so it comes before a transaction.
func (j *Journal) prepare(ctx context.Context) (err error) {
	if j.shared != nil {
		return nil
	}
	if j.upsert, err = j.db.writer.PrepareContext(ctx, upsertQuery(phoneRows)); err == nil {
		j.shared, err = j.db.writer.PrepareContext(ctx, sharedQuery(phoneRows))
	}
	return err
}

// rows repeats the place of one row.
func rows(one string, n int) string { return one + strings.Repeat(", "+one, n-1) }
