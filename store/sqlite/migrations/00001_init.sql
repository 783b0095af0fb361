-- Times are Unix milliseconds, UTC. Codes of status and kind: see codes.go.

CREATE TABLE clients (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    last_seq INTEGER NOT NULL DEFAULT 0, -- newest event of the log
    pruned   INTEGER NOT NULL DEFAULT 0  -- highest seq ever deleted
);

-- An epoch covers the log from from_seq up to the next epoch's from_seq - 1.
CREATE TABLE epochs (
    client   INTEGER NOT NULL REFERENCES clients (id),
    from_seq INTEGER NOT NULL,
    epoch    TEXT    NOT NULL,
    PRIMARY KEY (client, from_seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX epochs_name ON epochs (client, epoch);

-- What changes in a job. Kept small, because each change rewrites the row.
CREATE TABLE jobs (
    id            INTEGER PRIMARY KEY,
    uuid          TEXT    NOT NULL UNIQUE,
    client        INTEGER NOT NULL REFERENCES clients (id),
    queue         TEXT    NOT NULL DEFAULT '', -- '': jobs with actions
    status        INTEGER NOT NULL,
    ready         INTEGER NOT NULL,            -- 1: can be claimed now
    due           INTEGER,                     -- pending and not ready: when it becomes so
    priority      INTEGER NOT NULL,
    attempt       INTEGER NOT NULL DEFAULT 0,
    max_attempts  INTEGER NOT NULL,
    timeout_ms    INTEGER NOT NULL,
    lease         BLOB,                        -- SHA-256 of the holder's token
    lease_ttl_ms  INTEGER,
    lease_local   INTEGER NOT NULL DEFAULT 0,
    last_lease    BLOB,                        -- the lease that ended the newest attempt
    last_end      INTEGER NOT NULL DEFAULT 0,  -- and how
    idem_key      TEXT,
    idem_hash     BLOB,
    run_at        INTEGER,
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    completed_at  INTEGER,
    next_at       INTEGER,
    error         TEXT,
    error_message TEXT,
    retry_of      TEXT,
    result        BLOB
);
CREATE INDEX jobs_client ON jobs (client);
CREATE INDEX jobs_status ON jobs (client, status);
CREATE INDEX jobs_ready ON jobs (queue, client, priority DESC) WHERE ready = 1;
CREATE INDEX jobs_due ON jobs (due) WHERE due IS NOT NULL;
CREATE INDEX jobs_running ON jobs (lease_local) WHERE status = 1;
CREATE INDEX jobs_ended ON jobs (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX jobs_gone ON jobs (status) WHERE status = 5;
CREATE UNIQUE INDEX jobs_idem ON jobs (client, idem_key) WHERE idem_key IS NOT NULL;

-- What never changes in a job, and may be large.
CREATE TABLE specs (
    job      INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    actions  BLOB,
    payload  BLOB,
    metadata BLOB
);

-- The log. No foreign keys: this is the hot path, and only the committer writes.
CREATE TABLE events (
    id     INTEGER PRIMARY KEY,
    client INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    job    INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    tail   BLOB    NOT NULL -- the event's JSON after its id
);
CREATE UNIQUE INDEX events_log ON events (client, seq);
CREATE INDEX events_job ON events (job, seq, kind);
CREATE INDEX events_artifact ON events (job, seq) WHERE kind = 9;

CREATE TABLE counts (
    status INTEGER PRIMARY KEY,
    n      INTEGER NOT NULL
);
INSERT INTO counts (status, n) VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0);

CREATE TABLE api_keys (
    id              INTEGER PRIMARY KEY,
    key_id          TEXT    NOT NULL UNIQUE,
    client          INTEGER NOT NULL REFERENCES clients (id),
    name            TEXT    NOT NULL,
    hash            BLOB    NOT NULL UNIQUE,
    scopes          TEXT    NOT NULL, -- separated by blanks
    max_connections INTEGER,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    revoked_at      INTEGER,
    last_used_at    INTEGER
);
CREATE INDEX api_keys_client ON api_keys (client);

CREATE TABLE key_revision (n INTEGER NOT NULL);
INSERT INTO key_revision (n) VALUES (0);
