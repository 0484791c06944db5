-- What comes first: 0 a host that says that something was pushed, 1 somebody who asks.
ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 1 CHECK (priority IN (0, 1));

-- Seconds between two looks at a repository, 0 for none; NULL: as the organization's, or the instance's.
ALTER TABLE organizations ADD COLUMN sync_interval INTEGER;

ALTER TABLE repositories ADD COLUMN sync_interval INTEGER;

-- When to look at it next without being asked; NULL: never.
ALTER TABLE repositories ADD COLUMN next_sync_at INTEGER;

-- Syncs that failed since the last good one, and when the first of them did.
ALTER TABLE repositories ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

ALTER TABLE repositories ADD COLUMN failing_since INTEGER;

-- What was upstream when a sync failed for good: it fails again as long as that stands.
ALTER TABLE repositories ADD COLUMN failed_digest TEXT;

CREATE INDEX repositories_by_next_sync ON repositories (next_sync_at);

CREATE TABLE former_organizations (
    -- The latest date that was ever given under a slug: an organization that is made anew must not repeat one.
    slug TEXT PRIMARY KEY,
    last_modified INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
