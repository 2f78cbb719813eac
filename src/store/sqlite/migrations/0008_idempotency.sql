-- Answers to requests with an Idempotency-Key, sealed under the server's secret; NULL until there is one.
CREATE TABLE idempotency (
    scope   TEXT NOT NULL,
    name    TEXT NOT NULL,
    request BLOB NOT NULL,
    answer  BLOB,
    at      INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);
-- Lists of keys go page by page, newest first.
CREATE INDEX keys_created ON keys (created DESC, id);
CREATE INDEX keys_owner ON keys (owner);
