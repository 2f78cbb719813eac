-- Sums of requests that began in one span: 'span' is its hours (1 or 24), 'number' counts spans since 1970.
CREATE TABLE rollups (
    span      INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    key       TEXT NOT NULL,
    project   TEXT NOT NULL,
    team      TEXT NOT NULL,
    provider  TEXT NOT NULL,
    model     TEXT NOT NULL,
    operation TEXT NOT NULL,
    requests  INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    running   INTEGER NOT NULL,
    input     INTEGER NOT NULL,
    cached    INTEGER NOT NULL,
    output    INTEGER NOT NULL,
    cost      INTEGER NOT NULL,
    held      INTEGER NOT NULL,
    unpriced  INTEGER NOT NULL,
    PRIMARY KEY (span, number, key, project, team, provider, model, operation)
) WITHOUT ROWID;

-- Spans whose sums are in 'rollups'. Of a pruned hour they are the sums of the rows that are deleted, and rows that are there count too.
CREATE TABLE rolled (
    span   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    pruned INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (span, number)
) WITHOUT ROWID;

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
