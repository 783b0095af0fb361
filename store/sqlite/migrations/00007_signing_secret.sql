-- What tokens and the ids of Socket.IO sessions are signed with: one row, made when it is
-- asked for first.
CREATE TABLE signing_secret (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    secret BLOB    NOT NULL CHECK (length(secret) = 32)
);
