-- Where a request came from, so that whoever asks about a key is told who used it last.
ALTER TABLE requests ADD COLUMN source_address TEXT;
