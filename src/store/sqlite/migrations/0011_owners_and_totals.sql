-- Owners whose keys do not work for now, those made later too.
CREATE TABLE disabled_owners (owner TEXT PRIMARY KEY) WITHOUT ROWID;
-- Keys with what holds of their owners.
CREATE VIEW owned_keys AS
    SELECT keys.*, EXISTS (SELECT 1 FROM disabled_owners WHERE disabled_owners.owner = keys.owner) AS owner_disabled FROM keys;
-- What providers have kept for long is forgotten by its age.
CREATE INDEX held_by_age ON held (created);

-- Sums of whole days by one name alone ('key', 'model', …), so that a sum over months need not read every day's sums by all names.
CREATE TABLE totals (
    name     TEXT NOT NULL,
    number   INTEGER NOT NULL,
    value    TEXT NOT NULL,
    requests INTEGER NOT NULL,
    failed   INTEGER NOT NULL,
    running  INTEGER NOT NULL,
    input    INTEGER NOT NULL,
    cached   INTEGER NOT NULL,
    output   INTEGER NOT NULL,
    cost     INTEGER NOT NULL,
    held     INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (name, number, value)
) WITHOUT ROWID;
-- They are there for as long as the day's sums are.
CREATE TRIGGER days_are_forgotten AFTER DELETE ON rolled WHEN OLD.span = 24
BEGIN
    DELETE FROM totals WHERE name IN ('key', 'project', 'team', 'provider', 'model', 'operation', 'prompt') AND number = OLD.number;
END;
INSERT INTO totals SELECT 'key', number, key, SUM(requests), SUM(failed), SUM(running), SUM(input), SUM(cached), SUM(output), SUM(cost), SUM(held), SUM(unpriced)
    FROM rollups WHERE span = 24 GROUP BY number, key;
INSERT INTO totals SELECT 'project', number, project, SUM(requests), SUM(failed), SUM(running), SUM(input), SUM(cached), SUM(output), SUM(cost), SUM(held), SUM(unpriced)
    FROM rollups WHERE span = 24 GROUP BY number, project;
INSERT INTO totals SELECT 'team', number, team, SUM(requests), SUM(failed), SUM(running), SUM(input), SUM(cached), SUM(output), SUM(cost), SUM(held), SUM(unpriced)
    FROM rollups WHERE span = 24 GROUP BY number, team;
INSERT INTO totals SELECT 'provider', number, provider, SUM(requests), SUM(failed), SUM(running), SUM(input), SUM(cached), SUM(output), SUM(cost), SUM(held), SUM(unpriced)
    FROM rollups WHERE span = 24 GROUP BY number, provider;
INSERT INTO totals SELECT 'model', number, provider || '/' || model, SUM(requests), SUM(failed), SUM(running), SUM(input), SUM(cached), SUM(output), SUM(cost), SUM(held), SUM(unpriced)
    FROM rollups WHERE span = 24 GROUP BY number, provider || '/' || model;
INSERT INTO totals SELECT 'operation', number, operation, SUM(requests), SUM(failed), SUM(running), SUM(input), SUM(cached), SUM(output), SUM(cost), SUM(held), SUM(unpriced)
    FROM rollups WHERE span = 24 GROUP BY number, operation;
INSERT INTO totals SELECT 'prompt', number, prompt, SUM(requests), SUM(failed), SUM(running), SUM(input), SUM(cached), SUM(output), SUM(cost), SUM(held), SUM(unpriced)
    FROM rollups WHERE span = 24 GROUP BY number, prompt;
