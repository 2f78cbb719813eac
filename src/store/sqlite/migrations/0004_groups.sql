-- Whom keys belong to: 'gateway', 'team:ID', 'project:ID'.
CREATE TABLE groups (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    team     TEXT,
    limits   TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    changed  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX groups_changed ON groups (changed);

ALTER TABLE keys ADD COLUMN project TEXT;
ALTER TABLE keys ADD COLUMN role TEXT;
-- The first of a key and its successors: they share their limits, and what they used of them.
ALTER TABLE keys ADD COLUMN family TEXT NOT NULL DEFAULT '';
WITH RECURSIVE chain (id, family) AS (
    SELECT id, id FROM keys WHERE id NOT IN (SELECT successor FROM keys WHERE successor IS NOT NULL)
    UNION SELECT keys.successor, chain.family FROM keys JOIN chain ON keys.id = chain.id WHERE keys.successor IS NOT NULL
)
UPDATE keys SET family = COALESCE((SELECT family FROM chain WHERE chain.id = keys.id), id);
CREATE INDEX keys_family ON keys (family);
CREATE INDEX keys_project ON keys (project) WHERE project IS NOT NULL;

-- Limits of requests and of tokens a minute are rates like any other.
UPDATE keys SET limits = json_object(
    'models', json(COALESCE(json_extract(limits, '$.models'), '[]')),
    'parallel', json_extract(limits, '$.parallel'),
    'rates', (SELECT json_group_array(json_object('unit', unit, 'per', 'minute', 'most', most)) FROM (
        SELECT 'requests' AS unit, json_extract(keys.limits, '$.requests_per_minute') AS most
        UNION ALL SELECT 'tokens', json_extract(keys.limits, '$.tokens_per_minute')
    ) WHERE most IS NOT NULL)
);

ALTER TABLE requests ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN team TEXT NOT NULL DEFAULT '';
CREATE INDEX requests_project ON requests (project, began) WHERE project <> '';
CREATE INDEX requests_team ON requests (team, began) WHERE team <> '';

CREATE TABLE audit (
    number  INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL,
    hash    TEXT NOT NULL
);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit list can only grow'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit list can only grow'); END;

CREATE TABLE alerts (
    name TEXT PRIMARY KEY,
    at   INTEGER NOT NULL
) WITHOUT ROWID;
