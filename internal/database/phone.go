package database

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"signalbox/internal/wire"
)

// Phone is a device that nobody added: its first REGISTER made it. It is known by its instance (RFC 5626, 4.1), without one by its contact, under the address that
// it registers. Only the file has it: the bindings in memory say where it is, so that a phone costs a registration nothing but its first one.
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
	j.expect(eventGather)
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
			j.expect(0)
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

// phoneWriter has the statements of one transaction.
type phoneWriter struct {
	ctx                            context.Context
	insert, update, replace, bound *sql.Stmt
}

func writePhones(ctx context.Context, tx *sql.Tx, list []Phone) error {
	if len(list) == 0 {
		return nil
	}
	w := phoneWriter{ctx: ctx}
	for _, one := range []struct {
		to    **sql.Stmt
		query string
	}{
		{&w.insert, `INSERT INTO phone (user, domain, instance, contact, agent, transport, source, first, gone) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`},
		{&w.update, `UPDATE phone SET agent = ?, transport = ?, source = ?, gone = ? WHERE user = ? AND domain = ? AND instance = ? AND contact = ?`},
		{&w.replace, `DELETE FROM phone WHERE user = ? AND domain = ? AND instance = '' AND contact <> ? AND agent = ? AND gone <> 0`},
		{&w.bound, `DELETE FROM phone WHERE user = ?1 AND domain = ?2 AND (instance, contact) NOT IN (SELECT instance, contact FROM phone
			WHERE user = ?1 AND domain = ?2 ORDER BY gone = 0 DESC, gone DESC, first DESC LIMIT ?3)`},
	} {
		stmt, err := tx.PrepareContext(ctx, one.query)
		if err != nil {
			return err
		}
		defer stmt.Close()
		*one.to = stmt
	}
	for i := range list {
		if err := w.write(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// write adds a phone, or changes what is known of it. A phone without instance that comes with another contact is taken for the one with the same User-Agent that
// is gone: else each start of it would leave a device behind.
func (w *phoneWriter) write(p *Phone) error {
	gone := unix(p.Gone)
	r, err := w.insert.ExecContext(w.ctx, p.AOR.User, p.AOR.Host, p.Instance, p.Contact, p.UserAgent, p.Transport, p.Source, unix(p.First), gone)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		if err == nil {
			_, err = w.update.ExecContext(w.ctx, p.UserAgent, p.Transport, p.Source, gone, p.AOR.User, p.AOR.Host, p.Instance, p.Contact)
		}
		return err
	}
	if p.Instance == "" {
		if _, err := w.replace.ExecContext(w.ctx, p.AOR.User, p.AOR.Host, p.Contact, p.UserAgent); err != nil {
			return err
		}
	}
	_, err = w.bound.ExecContext(w.ctx, p.AOR.User, p.AOR.Host, maxPhones)
	return err
}
