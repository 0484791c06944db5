-- How often the archive was sent, beside the installs that clients reported (count).
ALTER TABLE downloads ADD COLUMN archives INTEGER NOT NULL DEFAULT 0;
