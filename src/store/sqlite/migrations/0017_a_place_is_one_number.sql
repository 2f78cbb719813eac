-- A request's place among all is one number, so that its row is found by that alone, and what points at a row is as short: 256 places a
-- microsecond, of which a request has one behind when it came.
DROP VIEW requests;
CREATE TABLE placed (
    place          INTEGER PRIMARY KEY,
    id             TEXT NOT NULL,
    common         INTEGER NOT NULL,
    source_address TEXT,
    reserved       INTEGER,
    ended          INTEGER,
    input          INTEGER NOT NULL DEFAULT 0,
    cached         INTEGER NOT NULL DEFAULT 0,
    cache_write    INTEGER NOT NULL DEFAULT 0,
    output         INTEGER NOT NULL DEFAULT 0,
    reasoning      INTEGER NOT NULL DEFAULT 0,
    input_audio    INTEGER NOT NULL DEFAULT 0,
    output_audio   INTEGER NOT NULL DEFAULT 0,
    cost           INTEGER,
    first_byte_ms  INTEGER,
    total_ms       INTEGER
);
INSERT INTO placed
    SELECT began * 256 + ROW_NUMBER() OVER (PARTITION BY began ORDER BY id) - 1, id, common, source_address, reserved, ended,
        input, cached, cache_write, output, reasoning, input_audio, output_audio, cost, first_byte_ms, total_ms
    FROM ledger ORDER BY began, id;
DROP TABLE ledger;
ALTER TABLE placed RENAME TO ledger;
CREATE INDEX ledger_common ON ledger (common);
CREATE INDEX ledger_open ON ledger (common) WHERE ended IS NULL;
-- All of it, row by row, for whoever reads.
CREATE VIEW requests AS
    SELECT place, place >> 8 AS began, id, node, key, project, team, prompt, operation, provider, model, source_address, reserved,
        ended, outcome, status, input, cached, cache_write, output, reasoning, input_audio, output_audio, source, cost, first_byte_ms, total_ms
    FROM ledger JOIN commons ON number = common;
-- A row keeps its hour, and a sum never outlives a change of what it sums.
CREATE TRIGGER requests_are_changed AFTER UPDATE ON ledger
WHEN EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = OLD.place / 921600000000 AND NOT pruned)
    OR EXISTS (SELECT 1 FROM rolled WHERE span = 24 AND number = OLD.place / 22118400000000)
BEGIN
    DELETE FROM rollups WHERE span = 1 AND number IN (SELECT number FROM rolled WHERE span = 1 AND number = OLD.place / 921600000000 AND NOT pruned);
    DELETE FROM rolled WHERE span = 1 AND number = OLD.place / 921600000000 AND NOT pruned;
    DELETE FROM rollups WHERE span = 24 AND number = OLD.place / 22118400000000;
    DELETE FROM rolled WHERE span = 24 AND number = OLD.place / 22118400000000;
END;
