-- Which keys, by the first of each family, may call services that want an approval, and which have asked.
CREATE TABLE subscriptions (
    service  TEXT NOT NULL,
    family   TEXT NOT NULL,
    standing TEXT NOT NULL,
    asked    INTEGER NOT NULL,
    decided  INTEGER,
    changed  INTEGER NOT NULL,
    PRIMARY KEY (service, family)
) WITHOUT ROWID;
CREATE INDEX subscriptions_changed ON subscriptions (changed);
