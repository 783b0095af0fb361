-- Back-offs do not follow the system's clock, as due (a runAt) does: retry_due is on
-- the process's own clock, see clock.go, and retry_ms is the delay that was asked for.
ALTER TABLE jobs ADD COLUMN retry_due INTEGER;
ALTER TABLE jobs ADD COLUMN retry_ms INTEGER;
UPDATE jobs SET retry_due = due, retry_ms = 600000, due = NULL WHERE due IS NOT NULL AND next_at IS NOT NULL;
CREATE INDEX jobs_retry ON jobs (retry_due) WHERE retry_due IS NOT NULL;
