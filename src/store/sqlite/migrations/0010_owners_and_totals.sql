-- Owners whose keys do not work for now, those made later too.
CREATE TABLE disabled_owners (owner TEXT PRIMARY KEY) WITHOUT ROWID;
-- Keys with what holds of their owners.
CREATE VIEW owned_keys AS
    SELECT keys.*, EXISTS (SELECT 1 FROM disabled_owners WHERE disabled_owners.owner = keys.owner) AS owner_disabled FROM keys;
-- What providers have kept for long is forgotten by its age.
CREATE INDEX held_by_age ON held (created);

-- Sums of whole days by one name alone ('key', 'model', …), of all requests (scope '') and of each team's and project's, so that a sum over
-- months need not read every day's sums by all names.
CREATE TABLE totals (
    number   INTEGER NOT NULL,
    scope    TEXT NOT NULL,
    whose    TEXT NOT NULL,
    name     TEXT NOT NULL,
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
    PRIMARY KEY (number, scope, whose, name, value)
) WITHOUT ROWID;
-- They are there for as long as the day's sums are.
CREATE TRIGGER days_are_forgotten AFTER DELETE ON rolled WHEN OLD.span = 24
BEGIN
    DELETE FROM totals WHERE number = OLD.number;
END;
-- Days without them are summed up anew.
DELETE FROM rollups WHERE span = 24;
DELETE FROM rolled WHERE span = 24;
