-- +goose Up
-- An account. Only HA1 values are kept (RFC 7616, 3.4.2), in lower-case hex; '' when that algorithm's is unknown.
CREATE TABLE user (
    name    TEXT    NOT NULL,
    domain  TEXT    NOT NULL,
    md5     TEXT    NOT NULL DEFAULT '',
    sha256  TEXT    NOT NULL DEFAULT '',
    created INTEGER NOT NULL, -- Unix seconds
    PRIMARY KEY (name, domain)
) WITHOUT ROWID;

-- Keys for nonces and Record-Route signatures, made on first use.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- The bindings, as a log: one row is one group commit of package location, the latest record of an address-of-record counts.
CREATE TABLE binding (
    id   INTEGER PRIMARY KEY, -- order of commit
    data BLOB NOT NULL
);

-- +goose Down
DROP TABLE binding;
DROP TABLE secret;
DROP TABLE user;
