-- What many requests have in common is told once: who asked whom for what, and how it ended. A request's own row is half as long without it.
CREATE TABLE commons (
    number         INTEGER PRIMARY KEY,
    key            TEXT NOT NULL,
    model          TEXT NOT NULL,
    provider       TEXT NOT NULL,
    operation      TEXT NOT NULL,
    project        TEXT NOT NULL,
    team           TEXT NOT NULL,
    prompt         TEXT NOT NULL,
    node           TEXT NOT NULL,
    outcome        TEXT NOT NULL,
    status         INTEGER NOT NULL,
    source         TEXT NOT NULL,
    UNIQUE (key, model, provider, operation, project, team, prompt, node, outcome, status, source)
);
-- One row a request, in the order in which they came; `ended` is NULL while it is open.
CREATE TABLE ledger (
    began          INTEGER NOT NULL,
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
    total_ms       INTEGER,
    PRIMARY KEY (began, id)
) WITHOUT ROWID;
INSERT INTO commons (key, model, provider, operation, project, team, prompt, node, outcome, status, source)
    SELECT DISTINCT key, model, provider, operation, project, team, prompt, node, outcome, status, source FROM requests;
INSERT INTO ledger
    SELECT began, id, number, source_address, reserved, CASE WHEN requests.outcome = 'open' THEN NULL ELSE COALESCE(ended, began) END,
        input, cached, cache_write, output, reasoning, input_audio, output_audio, cost, first_byte_ms, total_ms
    FROM requests JOIN commons ON commons.key = requests.key AND commons.model = requests.model AND commons.provider = requests.provider
        AND commons.operation = requests.operation AND commons.project = requests.project AND commons.team = requests.team
        AND commons.prompt = requests.prompt AND commons.node = requests.node AND commons.outcome = requests.outcome
        AND commons.status = requests.status AND commons.source = requests.source
    ORDER BY began, id;
DROP TABLE requests;
CREATE INDEX ledger_common ON ledger (common, began);
CREATE INDEX ledger_open ON ledger (began) WHERE ended IS NULL;
-- All of it, row by row, for whoever reads.
CREATE VIEW requests AS
    SELECT began, id, node, key, project, team, prompt, operation, provider, model, source_address, reserved,
        ended, outcome, status, input, cached, cache_write, output, reasoning, input_audio, output_audio, source, cost, first_byte_ms, total_ms
    FROM ledger JOIN commons ON number = common;
-- A row keeps its hour, and a sum never outlives a change of what it sums.
CREATE TRIGGER requests_are_changed AFTER UPDATE ON ledger
WHEN EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = OLD.began / 3600000000 AND NOT pruned)
    OR EXISTS (SELECT 1 FROM rolled WHERE span = 24 AND number = OLD.began / 86400000000)
BEGIN
    DELETE FROM rollups WHERE span = 1 AND number IN (SELECT number FROM rolled WHERE span = 1 AND number = OLD.began / 3600000000 AND NOT pruned);
    DELETE FROM rolled WHERE span = 1 AND number = OLD.began / 3600000000 AND NOT pruned;
    DELETE FROM rollups WHERE span = 24 AND number = OLD.began / 86400000000;
    DELETE FROM rolled WHERE span = 24 AND number = OLD.began / 86400000000;
END;
