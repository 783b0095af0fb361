-- What an idempotency key has made that is more than one job. Batches without a key are
-- not kept.
CREATE TABLE batches (
    id        INTEGER PRIMARY KEY,
    client    INTEGER NOT NULL REFERENCES clients (id),
    idem_key  TEXT    NOT NULL,
    idem_hash BLOB    NOT NULL,
    jobs      BLOB    NOT NULL, -- the ids of its jobs in their order, 16 bytes each
    kept      INTEGER NOT NULL  -- of them; with the last one the batch goes
);
CREATE UNIQUE INDEX batches_idem ON batches (client, idem_key);

-- No foreign key: to delete a batch would look through all jobs.
ALTER TABLE jobs ADD COLUMN batch INTEGER;
