-- What is presented to providers, sealed under a key that is not in here; NULL where it was removed.
CREATE TABLE credentials (
    name     TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    sealed   BLOB,
    weight   INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    changed  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX credentials_changed ON credentials (changed);
