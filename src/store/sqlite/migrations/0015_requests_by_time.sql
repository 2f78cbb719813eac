-- Requests lie in the order in which they came, so that new ones go to the end of one tree, and are found by when they came and their id.
CREATE TABLE requests_by_time (
    began          INTEGER NOT NULL,
    id             TEXT NOT NULL,
    node           TEXT NOT NULL,
    key            TEXT NOT NULL,
    project        TEXT NOT NULL DEFAULT '',
    team           TEXT NOT NULL DEFAULT '',
    prompt         TEXT NOT NULL DEFAULT '',
    operation      TEXT NOT NULL,
    provider       TEXT NOT NULL,
    model          TEXT NOT NULL,
    source_address TEXT,
    reserved       INTEGER,
    ended          INTEGER,
    outcome        TEXT NOT NULL,
    status         INTEGER NOT NULL DEFAULT 0,
    input          INTEGER NOT NULL DEFAULT 0,
    cached         INTEGER NOT NULL DEFAULT 0,
    cache_write    INTEGER NOT NULL DEFAULT 0,
    output         INTEGER NOT NULL DEFAULT 0,
    reasoning      INTEGER NOT NULL DEFAULT 0,
    input_audio    INTEGER NOT NULL DEFAULT 0,
    output_audio   INTEGER NOT NULL DEFAULT 0,
    source         TEXT NOT NULL DEFAULT 'none',
    cost           INTEGER,
    first_byte_ms  INTEGER,
    total_ms       INTEGER,
    PRIMARY KEY (began, id)
) WITHOUT ROWID;
INSERT INTO requests_by_time (began, id, node, key, project, team, prompt, operation, provider, model, source_address, reserved, ended, outcome,
    status, input, cached, cache_write, output, reasoning, input_audio, output_audio, source, cost, first_byte_ms, total_ms)
    SELECT began, id, node, key, project, team, prompt, operation, provider, model, source_address, reserved, ended, outcome,
    status, input, cached, cache_write, output, reasoning, input_audio, output_audio, source, cost, first_byte_ms, total_ms
    FROM requests ORDER BY began, id;
DROP TABLE requests;
ALTER TABLE requests_by_time RENAME TO requests;
CREATE INDEX requests_key ON requests (key, began);
CREATE INDEX requests_open ON requests (node) WHERE outcome = 'open';
-- A row keeps its hour, and a sum never outlives a change of what it sums.
CREATE TRIGGER requests_are_changed AFTER UPDATE ON requests
WHEN EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = OLD.began / 3600000000 AND NOT pruned)
    OR EXISTS (SELECT 1 FROM rolled WHERE span = 24 AND number = OLD.began / 86400000000)
BEGIN
    DELETE FROM rollups WHERE span = 1 AND number IN (SELECT number FROM rolled WHERE span = 1 AND number = OLD.began / 3600000000 AND NOT pruned);
    DELETE FROM rolled WHERE span = 1 AND number = OLD.began / 3600000000 AND NOT pruned;
    DELETE FROM rollups WHERE span = 24 AND number = OLD.began / 86400000000;
    DELETE FROM rolled WHERE span = 24 AND number = OLD.began / 86400000000;
END;
