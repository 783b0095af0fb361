-- What clients entrust to the server: sealed with a key that is not here. See package vault.
CREATE TABLE sealed (
    id         INTEGER PRIMARY KEY,
    client     INTEGER NOT NULL REFERENCES clients (id),
    kind       TEXT    NOT NULL, -- jobs.SealedKind
    name       TEXT    NOT NULL,
    places     BLOB,             -- hosts that it is meant for, JSON; NULL: none are named
    size       INTEGER NOT NULL, -- bytes before they were sealed
    key_id     BLOB    NOT NULL,
    data       BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX sealed_name ON sealed (client, kind, name);
