-- Codes that a person signs in with, once. hash: SHA-256 of the text.
CREATE TABLE sign_in_codes (
    hash       BLOB    PRIMARY KEY,
    client     INTEGER NOT NULL REFERENCES clients (id),
    scopes     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
