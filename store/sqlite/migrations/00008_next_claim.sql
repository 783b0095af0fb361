-- The job that was claimed together with the end of an attempt, so that whoever repeats that
-- end is told of it again. It belongs to the end that last_lease stands for if its own lease
-- has the token that follows.
ALTER TABLE jobs ADD COLUMN last_next INTEGER;
