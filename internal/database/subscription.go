package database

import (
	"context"
	"database/sql"
	"time"
)

// Subscription is one to the state of registrations (RFC 6665, 4.2.1), in the form of the room that keeps it.
type Subscription struct {
	ID      string
	Expires time.Time
	Data    []byte
}

// Subscriptions returns those that have not expired, and forgets the others.
func (db *DB) Subscriptions(ctx context.Context) ([]Subscription, error) {
	list, err := db.readSubscriptions(ctx)
	if err != nil {
		return nil, explain(db.path, err)
	}
	return list, nil
}

func (db *DB) readSubscriptions(ctx context.Context) ([]Subscription, error) {
	if _, err := db.writer.ExecContext(ctx, "DELETE FROM subscription WHERE expires <= ?", time.Now().UnixMilli()); err != nil {
		return nil, err
	}
	rows, err := db.reader.QueryContext(ctx, "SELECT id, expires, data FROM subscription")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Subscription
	for rows.Next() {
		var s Subscription
		var ms int64
		if err := rows.Scan(&s.ID, &ms, &s.Data); err != nil {
			return nil, err
		}
		s.Expires = time.UnixMilli(ms)
		list = append(list, s)
	}
	return list, rows.Err()
}

// subscriptionChange waits to be written. Without data the subscription is removed.
type subscriptionChange struct {
	Subscription
	done func(error) // nil: nobody waits
}

func writeSubscriptions(ctx context.Context, tx *sql.Tx, list []subscriptionChange) error {
	for i := range list {
		c := &list[i]
		var err error
		if c.Data == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM subscription WHERE id = ?", c.ID)
		} else {
			_, err = tx.ExecContext(ctx, `INSERT INTO subscription (id, expires, data) VALUES (?, ?, ?)
				ON CONFLICT DO UPDATE SET expires = excluded.expires, data = excluded.data`, c.ID, c.Expires.UnixMilli(), c.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
