-- A request's place among all is one number, so that its row is found by that alone, and what points at a row is as short. There are 256 of
-- them a microsecond: a request has that of the last two digits of its id, behind when it came, or the first one after it that nobody has.
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
-- Each with its own place: the last ones are those of all after the year 3100.
CREATE VIEW owned AS
    SELECT MAX(MIN(began, 36028797018963711), -36028797018963968) * 256
        + ((last & 15) + (last >> 6) * 9 + 16 * ((other & 15) + (other >> 6) * 9)) % 256 AS place, *
    FROM (SELECT *, COALESCE(unicode(substr(id, -1)), 0) AS last, COALESCE(unicode(substr(id, -2, 1)), 0) AS other FROM ledger);
INSERT OR IGNORE INTO placed SELECT place, id, common, source_address, reserved, ended, input, cached, cache_write, output, reasoning, input_audio, output_audio, cost,
    first_byte_ms, total_ms FROM owned ORDER BY began, id;
-- Those whose places are others'.
CREATE TRIGGER moved INSTEAD OF INSERT ON owned BEGIN
    INSERT INTO placed SELECT taken.place + 1, NEW.id, NEW.common, NEW.source_address, NEW.reserved, NEW.ended, NEW.input, NEW.cached,
        NEW.cache_write, NEW.output, NEW.reasoning, NEW.input_audio, NEW.output_audio, NEW.cost, NEW.first_byte_ms, NEW.total_ms
    FROM placed AS taken WHERE taken.place >= NEW.place AND NOT EXISTS (SELECT 1 FROM placed AS next WHERE next.place = taken.place + 1)
    ORDER BY taken.place LIMIT 1;
END;
INSERT INTO owned SELECT * FROM owned WHERE NOT EXISTS (SELECT 1 FROM placed WHERE placed.place = owned.place AND placed.id = owned.id);
DROP VIEW owned;
DROP TABLE ledger;
ALTER TABLE placed RENAME TO ledger;
CREATE INDEX ledger_common ON ledger (common);
CREATE INDEX ledger_open ON ledger (place) WHERE ended IS NULL;
-- All of it, row by row, for whoever reads: from when to when is asked for by places, which have an index.
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
