package database

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrCursor: events are asked for behind one that has not happened.
var ErrCursor = errors.New("database: the cursor is ahead of the newest event")

// Event is one line of the event feed: a change of state that an administrator may want to know of, once. Fields that say nothing are left out.
type Event struct {
	Cursor int64     `json:"cursor"` // counts up from 1, without gaps, never used again
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`

	AOR       string `json:"aor,omitempty"`
	Contact   string `json:"contact,omitempty"`
	Instance  string `json:"instance,omitempty"`
	RegID     int    `json:"reg_id,omitempty"`
	Device    string `json:"device,omitempty"`
	Transport string `json:"transport,omitempty"`
	Source    string `json:"source,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Expires   int    `json:"expires,omitempty"` // seconds left
	Watcher   string `json:"watcher,omitempty"` // who subscribed
	Reason    string `json:"reason,omitempty"`
	Count     int    `json:"count,omitempty"`
	Recovered bool   `json:"recovered,omitempty"` // written later than it happened: found at a start
}

// Page is a piece of the feed.
type Page struct {
	Text []byte // lines of JSON
	Last int64  // cursor of the last of them; where the page began if there is none
	Gone int64  // so many events behind the cursor asked for are not kept any more
}

// Events reads a piece of the feed behind a cursor; 0 is the beginning. Reading changes nothing: the same cursor gives the same events again, as long
// as they are kept.
func (db *DB) Events(ctx context.Context, since int64) (Page, error) {
	p, err := db.readEvents(ctx, since)
	if err != nil && !errors.Is(err, ErrCursor) {
		err = explain(db.path, err)
	}
	return p, err
}

func (db *DB) readEvents(ctx context.Context, since int64) (Page, error) {
	p := Page{Last: since}
	oldest, newest, err := db.eventRange(ctx)
	if err != nil {
		return p, err
	}
	if since < 0 || since > newest {
		return p, fmt.Errorf("%w, %d", ErrCursor, newest)
	}
	if since < oldest-1 {
		p.Gone = oldest - 1 - since
		p.Last = oldest - 1
	}
	// The row that holds the first event wanted may begin before it.
	rows, err := db.reader.QueryContext(ctx, `SELECT first, count, data FROM event
		WHERE first >= (SELECT coalesce(max(first), 0) FROM event WHERE first <= ?) ORDER BY first LIMIT ?`, p.Last+1, eventPage)
	if err != nil {
		return p, err
	}
	defer rows.Close()
	for len(p.Text) < eventPageBytes && rows.Next() {
		var first, count int64
		var data []byte
		if err := rows.Scan(&first, &count, &data); err != nil {
			return p, err
		}
		for ; first <= p.Last && count > 0; first, count = first+1, count-1 {
			_, data, _ = bytes.Cut(data, newline)
		}
		if count > 0 {
			p.Text = append(p.Text, data...)
			p.Last = first + count - 1
		}
	}
	return p, rows.Err()
}

// NewestEvent is the cursor of the newest event; 0 when there is none.
func (db *DB) NewestEvent(ctx context.Context) (int64, error) {
	_, newest, err := db.eventRange(ctx)
	if err != nil {
		return 0, explain(db.path, err)
	}
	return newest, nil
}

// eventRange is the cursors that are kept; 1 and 0 when there are none.
func (db *DB) eventRange(ctx context.Context) (oldest, newest int64, err error) {
	// Each by the index: min and max in one go would read every row.
	err = db.reader.QueryRowContext(ctx, `SELECT coalesce((SELECT first FROM event ORDER BY first LIMIT 1), 1),
		coalesce((SELECT first + count - 1 FROM event ORDER BY first DESC LIMIT 1), 0)`).Scan(&oldest, &newest)
	return oldest, newest, err
}

var newline = []byte("\n")

// encode numbers the events and writes them as lines.
func (j *Journal) encode(g *gathered) error {
	j.encoded.Reset()
	e := json.NewEncoder(&j.encoded)
	e.SetEscapeHTML(false)
	for i := range g.events {
		g.events[i].Cursor = g.first + int64(i)
		if err := e.Encode(&g.events[i]); err != nil {
			return err
		}
	}
	return nil
}
