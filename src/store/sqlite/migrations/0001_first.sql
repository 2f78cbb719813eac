-- Times are microseconds since 1970 UTC, amounts nano-dollars.
CREATE TABLE changes (newest INTEGER NOT NULL);
INSERT INTO changes (newest) VALUES (0);

CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    owner      TEXT NOT NULL,
    limits     TEXT NOT NULL,
    created    INTEGER NOT NULL,
    not_before INTEGER,
    expires    INTEGER,
    revoked    INTEGER,
    disabled   INTEGER NOT NULL,
    successor  TEXT,
    grace_ends INTEGER,
    changed    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX keys_changed ON keys (changed);

CREATE TABLE requests (
    id            TEXT PRIMARY KEY,
    node          TEXT NOT NULL,
    key           TEXT NOT NULL,
    operation     TEXT NOT NULL,
    provider      TEXT NOT NULL,
    model         TEXT NOT NULL,
    began         INTEGER NOT NULL,
    ended         INTEGER,
    outcome       TEXT NOT NULL,
    status        INTEGER NOT NULL DEFAULT 0,
    input         INTEGER NOT NULL DEFAULT 0,
    cached        INTEGER NOT NULL DEFAULT 0,
    cache_write   INTEGER NOT NULL DEFAULT 0,
    output        INTEGER NOT NULL DEFAULT 0,
    reasoning     INTEGER NOT NULL DEFAULT 0,
    input_audio   INTEGER NOT NULL DEFAULT 0,
    output_audio  INTEGER NOT NULL DEFAULT 0,
    source        TEXT NOT NULL DEFAULT 'none',
    reserved      INTEGER NOT NULL DEFAULT 0,
    cost          INTEGER,
    first_byte_ms INTEGER,
    total_ms      INTEGER
) WITHOUT ROWID;
CREATE INDEX requests_began ON requests (began);
CREATE INDEX requests_key ON requests (key, began);
CREATE INDEX requests_open ON requests (node) WHERE outcome = 'open';

CREATE TABLE cursors (
    node     TEXT PRIMARY KEY,
    segment  INTEGER NOT NULL,
    position INTEGER NOT NULL
) WITHOUT ROWID;
