package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/database"
)

// newFeed is a desk with a feed of three events, and a client of it.
func newFeed(t *testing.T) (*Desk, *Client, *database.Journal) {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "sb.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	j, err := db.Journal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close(context.Background()) })
	j.Append(database.Event{Event: "a"}, database.Event{Event: "b"}, database.Event{Event: "c"})
	if err := j.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	d.Events = j
	return d, newClient(t, Handler(d, &fakeServer{})), j
}

// names are the events of a feed.
func names(t *testing.T, feed string) string {
	t.Helper()
	var s []string
	for d := json.NewDecoder(strings.NewReader(feed)); ; {
		var e database.Event
		if err := d.Decode(&e); err == io.EOF {
			return strings.Join(s, " ")
		} else if err != nil {
			t.Fatal(err)
		}
		s = append(s, e.Event)
	}
}

type feeder interface {
	Feed(ctx context.Context, since string, follow bool, out io.Writer) error
}

// Reading the feed does not empty it: the same cursor gives the same events, over the socket as at the desk.
func TestFeed(t *testing.T) {
	d, c, _ := newFeed(t)
	for _, from := range []feeder{d, c, d, c} {
		for since, want := range map[string]string{"": "a b c", "0": "a b c", "1": "b c", "3": "", Now: ""} {
			var out bytes.Buffer
			if err := from.Feed(t.Context(), since, false, &out); err != nil {
				t.Fatal(err)
			}
			if got := names(t, out.String()); got != want {
				t.Errorf("since %q: %q, want %q", since, got, want)
			}
		}
		for _, since := range []string{"4", "-1", "x", "1 OR 1=1", "99999999999999999999"} {
			if err := from.Feed(t.Context(), since, true, io.Discard); !errors.Is(err, ErrInvalid) {
				t.Errorf("since %q: %v", since, err)
			}
		}
	}
}

// Who follows hears what happens, until it has enough or the server stops.
func TestFeedFollow(t *testing.T) {
	_, c, j := newFeed(t)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- c.Feed(t.Context(), "2", true, w) }()
	next := json.NewDecoder(r)
	var got []string
	read := func() {
		var e database.Event
		if err := next.Decode(&e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Event)
	}
	read()
	j.Append(database.Event{Event: "d"})
	read()
	if diff := cmp.Diff([]string{"c", "d"}, got); diff != "" {
		t.Error(diff)
	}
	j.Release()
	if err := <-ended; err != nil {
		t.Errorf("the server stopped: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Feed(ctx, "", true, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// What is not kept any more is said to be gone, with the cursor to go on from. A feed that breaks in the middle does not look like one that has ended.
func TestFeedGoneAndBroken(t *testing.T) {
	serve := func(e *scripted) (http.Handler, *Client) {
		d := newDesk(t)
		d.Events = e
		h := Handler(d, &fakeServer{})
		return h, newClient(t, h)
	}
	_, c := serve(&scripted{pages: []database.Page{{Text: []byte("{\"cursor\":6,\"event\":\"f\"}\n"), Last: 6, Gone: 4}, {Last: 6}}})
	var out bytes.Buffer
	if err := c.Feed(t.Context(), "1", false, &out); err != nil {
		t.Fatal(err)
	}
	var gone database.Event
	if err := json.NewDecoder(&out).Decode(&gone); err != nil || gone.Event != "gone" || gone.Count != 4 || gone.Cursor != 5 {
		t.Errorf("%+v, %v", gone, err)
	}
	_, c = serve(&scripted{pages: []database.Page{{Text: []byte("{\"cursor\":1}\n"), Last: 1}}, err: errors.New("the disk is gone")})
	if err := c.Feed(t.Context(), "", false, io.Discard); err == nil {
		t.Error("a broken feed ended well")
	}
	h, c := serve(&scripted{err: errors.New("the disk is gone")})
	if err := c.Feed(t.Context(), "", false, io.Discard); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("%v", err)
	}
	res := httptest.NewRecorder()
	h.ServeHTTP(res, httptest.NewRequest("GET", "/v1/events?follow=perhaps", nil))
	if res.Code != http.StatusBadRequest {
		t.Errorf("follow=perhaps: %d", res.Code)
	}
}

// scripted gives pages, then an error.
type scripted struct {
	pages []database.Page
	err   error
}

func (s *scripted) Events(context.Context, int64) (database.Page, error) {
	if len(s.pages) == 0 {
		return database.Page{}, s.err
	}
	p := s.pages[0]
	s.pages = s.pages[1:]
	return p, nil
}

func (s *scripted) Sync(context.Context) error                 { return s.err }
func (s *scripted) NewestEvent(context.Context) (int64, error) { return 0, s.err }
func (s *scripted) Wait(context.Context, int64) error          { return s.err }
