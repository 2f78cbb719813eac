-- A reservation is NULL where the model has no price, so that it is not taken for free.
ALTER TABLE requests ADD COLUMN reservation INTEGER;
UPDATE requests SET reservation = reserved;
ALTER TABLE requests DROP COLUMN reserved;
ALTER TABLE requests RENAME COLUMN reservation TO reserved;
