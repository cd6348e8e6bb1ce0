-- +goose Up
-- A device that somebody added: a television, a public phone. A plain softphone has no row here: its binding tells all.
CREATE TABLE device (
    name        TEXT    NOT NULL,
    domain      TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    instance    TEXT    NOT NULL DEFAULT '', -- +sip.instance; '' until its first registration
    certificate TEXT    NOT NULL DEFAULT '', -- SHA-256 of its client certificate in hex, 'ca' for one that names it, '' for a password
    created     INTEGER NOT NULL,            -- Unix seconds
    PRIMARY KEY (name, domain)
) WITHOUT ROWID;
CREATE UNIQUE INDEX device_instance ON device (instance) WHERE instance <> '';

-- A device may log a user in without the user's password.
CREATE TABLE login_grant (
    device        TEXT    NOT NULL,
    device_domain TEXT    NOT NULL,
    user          TEXT    NOT NULL,
    user_domain   TEXT    NOT NULL,
    until         INTEGER NOT NULL DEFAULT 0, -- Unix seconds, 0 for ever
    PRIMARY KEY (device, device_domain, user, user_domain)
) WITHOUT ROWID;

-- A user on a device. It is deleted when it ends.
CREATE TABLE login (
    user          TEXT    NOT NULL,
    user_domain   TEXT    NOT NULL,
    device        TEXT    NOT NULL,
    device_domain TEXT    NOT NULL,
    method        TEXT    NOT NULL,           -- own, device, admin
    start         INTEGER NOT NULL,           -- Unix seconds; in the future when scheduled
    stop          INTEGER NOT NULL DEFAULT 0, -- Unix seconds, 0 for ever
    PRIMARY KEY (user, user_domain, device, device_domain)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE login;
DROP TABLE login_grant;
DROP TABLE device;
