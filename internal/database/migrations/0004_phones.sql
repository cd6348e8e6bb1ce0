-- +goose Up
-- A device that nobody added: it came into being with its first REGISTER and stays when it is gone. Where it is now, its bindings say.
CREATE TABLE phone (
    user      TEXT    NOT NULL, -- whose address it registered first
    domain    TEXT    NOT NULL,
    instance  TEXT    NOT NULL, -- +sip.instance; '' for a phone without one
    contact   TEXT    NOT NULL, -- of a phone without instance; else ''
    agent     TEXT    NOT NULL,
    transport TEXT    NOT NULL, -- where it was last
    source    TEXT    NOT NULL,
    first     INTEGER NOT NULL, -- Unix seconds
    gone      INTEGER NOT NULL, -- Unix seconds; 0 while it is registered
    PRIMARY KEY (user, domain, instance, contact)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE phone;
