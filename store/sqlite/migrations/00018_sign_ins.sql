-- Keys that were made for a code. They are forgotten once they have expired.
ALTER TABLE api_keys ADD COLUMN sign_in INTEGER NOT NULL DEFAULT 0;
CREATE INDEX api_keys_sign_in ON api_keys (expires_at) WHERE sign_in = 1;
