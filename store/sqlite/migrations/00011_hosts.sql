-- Which hosts a job's actions may reach, and the jobs of a key: jobs.Hosts as JSON; NULL is any.
-- In jobs, the queue ':browser' is that of jobs with actions that need a browser.
ALTER TABLE specs ADD COLUMN hosts BLOB;
ALTER TABLE api_keys ADD COLUMN hosts BLOB;
