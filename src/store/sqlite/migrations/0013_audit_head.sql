-- The newest entry of the audit list, under a code that the server's secret makes: a list whose end was cut off does not fit it.
CREATE TABLE audit_head (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    hash   TEXT NOT NULL,
    code   BLOB NOT NULL
);

-- Keys with what holds of their owners and of what they belong to.
DROP VIEW owned_keys;
CREATE VIEW owned_keys AS
    SELECT keys.*,
        EXISTS (SELECT 1 FROM disabled_owners WHERE disabled_owners.owner = keys.owner) AS owner_disabled,
        EXISTS (
            SELECT 1 FROM groups WHERE disabled AND id IN (
                'gateway', 'project:' || keys.project, (SELECT 'team:' || team FROM groups WHERE id = 'project:' || keys.project)
            )
        ) AS group_disabled
    FROM keys;

-- Those whose limits are counted, so that a list of them need not read all others.
CREATE INDEX limited_keys ON keys (family)
    WHERE limits LIKE '%"rates":[{%' OR limits LIKE '%"budgets":[{%' OR (limits LIKE '%"parallel":%' AND limits NOT LIKE '%"parallel":null%');
