-- What a job says of the browser that it needs, as JSON: from which level on its pages log, its state. NULL: nothing.
ALTER TABLE specs ADD COLUMN browsing BLOB;
