-- Under which secret the keys here were made: a digest that it alone makes.
CREATE TABLE secret (digest BLOB NOT NULL);

-- What no webhook has taken yet is told again after a restart.
ALTER TABLE alerts ADD COLUMN waiting TEXT;
