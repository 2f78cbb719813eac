-- Sums are of parts of an hour too: their 'span' is 0, and twelve are an hour. Whoever changes rows takes away, once for all of them, what
-- these are in.
DROP TRIGGER IF EXISTS requests_are_changed;
