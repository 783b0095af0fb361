-- What a client fills. The disk holds files in whole blocks.
ALTER TABLE clients ADD COLUMN open_jobs INTEGER NOT NULL DEFAULT 0;      -- pending and running
ALTER TABLE clients ADD COLUMN artifact_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN artifact_disk INTEGER NOT NULL DEFAULT 0;  -- bytes of the blocks
UPDATE clients SET
    open_jobs = (SELECT count(*) FROM jobs WHERE client = clients.id AND status IN (0, 1)),
    artifact_bytes = (SELECT coalesce(sum(a.size), 0)
        FROM jobs j CROSS JOIN artifacts a ON a.job = j.id WHERE j.client = clients.id),
    artifact_disk = (SELECT coalesce(sum((a.size + 4095) / 4096 * 4096), 0)
        FROM jobs j CROSS JOIN artifacts a ON a.job = j.id WHERE j.client = clients.id);

-- Of files that an older program made garbage the size is not known.
ALTER TABLE garbage ADD COLUMN size INTEGER NOT NULL DEFAULT 0;

-- When a job ends that nobody has begun: expires_at is what its client is told,
-- expires_due the same on the clock that back-offs follow, and expires_ms the time
-- that was asked for. Until runAt nothing is due.
ALTER TABLE jobs ADD COLUMN expires_at INTEGER;
ALTER TABLE jobs ADD COLUMN expires_ms INTEGER;
ALTER TABLE jobs ADD COLUMN expires_due INTEGER;
CREATE INDEX jobs_unbegun ON jobs (client, expires_due)
    WHERE expires_due IS NOT NULL AND status = 0 AND started_at IS NULL;
