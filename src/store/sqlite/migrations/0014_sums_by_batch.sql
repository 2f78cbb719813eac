-- Whoever adds rows takes their hours' and days' sums away, once for all of them; a change of a row still does it by itself.
DROP TRIGGER requests_are_added;
