-- +goose Up
-- Subscriptions to the state of registrations (RFC 6665): what package regevent needs to go on after a restart.
CREATE TABLE subscription (
    id      TEXT    PRIMARY KEY, -- the names of its dialog
    expires INTEGER NOT NULL,    -- Unix milliseconds
    data    BLOB    NOT NULL     -- regevent's own form
) WITHOUT ROWID;

-- The event feed, as a log: one row is one group commit, with its events from cursor first on, each a line of JSON.
CREATE TABLE event (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    data  BLOB    NOT NULL
);

-- +goose Down
DROP TABLE event;
DROP TABLE subscription;
