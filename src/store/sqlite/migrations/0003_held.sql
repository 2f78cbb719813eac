-- What providers keep for whom: files, batches, responses, conversations. Two providers may give out the same id, and so may two keys.
CREATE TABLE held (
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    key      TEXT NOT NULL,
    provider TEXT NOT NULL,
    created  INTEGER NOT NULL,
    PRIMARY KEY (kind, id, key)
) WITHOUT ROWID;
CREATE INDEX held_by_key ON held (key, kind, created);
-- What a key's predecessors made is its own too.
CREATE INDEX keys_successor ON keys (successor) WHERE successor IS NOT NULL;
