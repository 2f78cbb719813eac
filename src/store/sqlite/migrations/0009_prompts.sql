-- Which prompt was called, as 'name@version': a name that requests and their sums are told apart by.
DROP TRIGGER requests_are_added;
DROP TRIGGER requests_are_changed;
ALTER TABLE requests ADD COLUMN prompt TEXT NOT NULL DEFAULT '';
CREATE TABLE rollups_by_prompt (
    span      INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    key       TEXT NOT NULL,
    project   TEXT NOT NULL,
    team      TEXT NOT NULL,
    provider  TEXT NOT NULL,
    model     TEXT NOT NULL,
    operation TEXT NOT NULL,
    prompt    TEXT NOT NULL,
    requests  INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    running   INTEGER NOT NULL,
    input     INTEGER NOT NULL,
    cached    INTEGER NOT NULL,
    output    INTEGER NOT NULL,
    cost      INTEGER NOT NULL,
    held      INTEGER NOT NULL,
    unpriced  INTEGER NOT NULL,
    PRIMARY KEY (span, number, key, project, team, provider, model, operation, prompt)
) WITHOUT ROWID;
INSERT INTO rollups_by_prompt SELECT span, number, key, project, team, provider, model, operation, '', requests, failed, running, input, cached,
    output, cost, held, unpriced FROM rollups;
DROP TABLE rollups;
ALTER TABLE rollups_by_prompt RENAME TO rollups;

-- A sum never outlives a change of what it sums.
CREATE TRIGGER requests_are_added AFTER INSERT ON requests
WHEN EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = NEW.began / 3600000000 AND NOT pruned)
    OR EXISTS (SELECT 1 FROM rolled WHERE span = 24 AND number = NEW.began / 86400000000)
BEGIN
    DELETE FROM rollups WHERE span = 1 AND number = NEW.began / 3600000000
        AND EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = NEW.began / 3600000000 AND NOT pruned);
    DELETE FROM rolled WHERE span = 1 AND number = NEW.began / 3600000000 AND NOT pruned;
    DELETE FROM rollups WHERE span = 24 AND number = NEW.began / 86400000000;
    DELETE FROM rolled WHERE span = 24 AND number = NEW.began / 86400000000;
END;
CREATE TRIGGER requests_are_changed AFTER UPDATE ON requests
WHEN EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number IN (OLD.began / 3600000000, NEW.began / 3600000000) AND NOT pruned)
    OR EXISTS (SELECT 1 FROM rolled WHERE span = 24 AND number IN (OLD.began / 86400000000, NEW.began / 86400000000))
BEGIN
    DELETE FROM rollups WHERE span = 1 AND number IN
        (SELECT number FROM rolled WHERE span = 1 AND number IN (OLD.began / 3600000000, NEW.began / 3600000000) AND NOT pruned);
    DELETE FROM rolled WHERE span = 1 AND number IN (OLD.began / 3600000000, NEW.began / 3600000000) AND NOT pruned;
    DELETE FROM rollups WHERE span = 24 AND number IN (OLD.began / 86400000000, NEW.began / 86400000000);
    DELETE FROM rolled WHERE span = 24 AND number IN (OLD.began / 86400000000, NEW.began / 86400000000);
END;
