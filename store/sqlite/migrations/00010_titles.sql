-- What a job is called, for people. NULL: nothing.
ALTER TABLE specs ADD COLUMN title TEXT;
