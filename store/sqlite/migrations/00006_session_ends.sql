-- A room that is over is remembered: the seq of its job's last event; 0: it is not over.
ALTER TABLE session_rooms ADD COLUMN end_seq INTEGER NOT NULL DEFAULT 0;
