-- What jobs left behind; the bytes lie in files. A replaced artifact keeps its row.
CREATE TABLE artifacts (
    id           INTEGER PRIMARY KEY,
    job          INTEGER NOT NULL REFERENCES jobs (id),
    name         TEXT    NOT NULL,
    file         TEXT    NOT NULL UNIQUE,
    size         INTEGER NOT NULL,
    content_type TEXT    NOT NULL,
    digest       BLOB    NOT NULL -- SHA-256 of the bytes
);
CREATE UNIQUE INDEX artifacts_job ON artifacts (job, name);

-- Files that no artifact refers to any more and that are still to be deleted.
CREATE TABLE garbage (file TEXT PRIMARY KEY) WITHOUT ROWID;

DROP INDEX events_artifact;
