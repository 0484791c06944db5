-- What set a sync off: schedule, webhook, api, cli, change (of the repository here), first; NULL: of before.
ALTER TABLE sync_runs ADD COLUMN cause TEXT;

ALTER TABLE jobs ADD COLUMN cause TEXT NOT NULL DEFAULT 'change';

UPDATE jobs SET cause = 'webhook' WHERE priority = 0;
