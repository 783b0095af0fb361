-- Sessions that can be resumed. One that was left keeps its row, without rooms,
-- until it is swept. The client is a part of the key, so that none is ever shared.
CREATE TABLE sessions (
    id       TEXT    NOT NULL,
    client   INTEGER NOT NULL REFERENCES clients (id),
    seen_at  INTEGER NOT NULL,
    was_left INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (id, client)
) WITHOUT ROWID;
CREATE INDEX sessions_seen ON sessions (seen_at);

-- The rooms they have joined. A room outlives its job's row: it may just have ended.
CREATE TABLE session_rooms (
    session     TEXT    NOT NULL,
    client      INTEGER NOT NULL,
    n           INTEGER NOT NULL, -- the n-th join
    job         TEXT    NOT NULL, -- '': the client's room
    start_epoch TEXT    NOT NULL,
    start_seq   INTEGER NOT NULL,
    joined_at   INTEGER NOT NULL, -- a seq
    PRIMARY KEY (session, client, n),
    FOREIGN KEY (session, client) REFERENCES sessions (id, client)
) WITHOUT ROWID;
