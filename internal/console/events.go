package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"signalbox/internal/database"
)

// Events is what the desk needs of the event feed: database.Journal in a server.
type Events interface {
	Events(ctx context.Context, since int64) (database.Page, error)
	NewestEvent(ctx context.Context) (int64, error)
	// Sync waits, for a moment at most, until what has happened can be read.
	Sync(ctx context.Context) error
	// Wait returns when there is more behind a cursor.
	Wait(ctx context.Context, since int64) error
}

// Now is the cursor of what has not happened yet.
const Now = "now"

// Feed writes the events behind a cursor, one JSON value a line: database.Event. "" is the first one that is kept, Now none of those that have happened. If
// follow, it goes on with what happens until ctx or the server ends. Where events are missing because they are not kept any more, a line "gone" says how
// many. Reading takes nothing away: who remembers the cursor of the last line it has dealt with misses nothing, and gets nothing twice.
func (d *Desk) Feed(ctx context.Context, since string, follow bool, out io.Writer) error {
	_ = d.Events.Sync(ctx) // else what is on disk must do
	cursor, err := d.cursor(ctx, since)
	if err != nil {
		return err
	}
	for {
		p, err := d.Events.Events(ctx, cursor)
		if errors.Is(err, database.ErrCursor) {
			return invalidf("cursor %s is ahead of the newest event", since)
		}
		if err != nil {
			return err
		}
		if p.Gone > 0 {
			if err := writeGone(out, cursor, p.Gone); err != nil {
				return err
			}
		}
		if _, err := out.Write(p.Text); err != nil {
			return err
		}
		more := p.Last > cursor
		cursor = p.Last
		if more {
			continue
		}
		if !follow {
			return nil
		}
		if d.Events.Wait(ctx, cursor) != nil {
			return ctx.Err() // nil when it is the server that ends
		}
	}
}

func (d *Desk) cursor(ctx context.Context, since string) (int64, error) {
	switch since {
	case "":
		return 0, nil
	case Now:
		return d.Events.NewestEvent(ctx)
	}
	cursor, err := strconv.ParseInt(since, 10, 64)
	if err != nil || cursor < 0 {
		return 0, invalidf("%q is no cursor: want a number of an event, or %s", since, Now)
	}
	return cursor, nil
}

func writeGone(out io.Writer, cursor, count int64) error {
	return json.NewEncoder(out).Encode(database.Event{
		Cursor: cursor + count, Time: time.Now(), Event: "gone", Count: int(count), Reason: "no longer kept",
	})
}

// feed is GET /v1/events.
func (h *handler) feed(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	follow, err := strconv.ParseBool(query.Get("follow"))
	if err != nil && query.Get("follow") != "" {
		answer(w, nil, invalidf("follow=%s: want 1 or 0", query.Get("follow")))
		return
	}
	stream := &lineStream{w: w}
	err = h.desk.Feed(r.Context(), query.Get("since"), follow, stream)
	switch {
	case err == nil:
		stream.begin()
	case !stream.begun:
		answer(w, nil, err)
	default:
		panic(http.ErrAbortHandler) // the client must not take what it has for everything
	}
}

// lineStream sends lines as they come.
type lineStream struct {
	w     http.ResponseWriter
	begun bool
}

func (s *lineStream) begin() {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/x-ndjson")
		s.w.WriteHeader(http.StatusOK)
	}
}

// Write sends at once; the first call, even of nothing, sends the header, so that a follower knows that it is heard.
func (s *lineStream) Write(b []byte) (int, error) {
	s.begin()
	n, err := s.w.Write(b)
	if err == nil {
		err = http.NewResponseController(s.w).Flush()
	}
	return n, err
}

// Feed is Desk.Feed.
func (c *Client) Feed(ctx context.Context, since string, follow bool, out io.Writer) error {
	query := url.Values{}
	if since != "" {
		query.Set("since", since)
	}
	if follow {
		query.Set("follow", "1")
	}
	return c.stream(ctx, "/v1/events?"+query.Encode(), out)
}

// stream copies the body of an answer as it comes.
func (c *Client) stream(ctx context.Context, path string, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://signalbox"+path, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return socketError(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return serverError(res)
	}
	if _, err = io.Copy(out, res.Body); err != nil && ctx.Err() == nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}
