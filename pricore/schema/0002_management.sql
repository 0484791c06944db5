-- The table anew: SQLite cannot change a CHECK, and gitea came as a provider.
CREATE TABLE repositories_anew (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    provider TEXT NOT NULL CHECK (provider IN ('github', 'gitlab', 'bitbucket', 'gitea', 'git')),
    identifier TEXT NOT NULL,
    url TEXT NOT NULL,
    -- The address without what makes no difference, so that one repository isn't added twice.
    url_key TEXT NOT NULL,
    -- 1: the address came over the API, so that it may not reach inside the network.
    confined INTEGER NOT NULL CHECK (confined IN (0, 1)),
    default_branch TEXT,
    default_name TEXT,
    refs_digest TEXT NOT NULL,
    sync_status TEXT NOT NULL CHECK (sync_status IN ('pending', 'ok', 'failed')),
    sync_error TEXT,
    last_synced_at INTEGER,
    -- Sealed with a key that is not in the database; NULL: webhooks are refused.
    webhook_secret BLOB,
    created_at INTEGER NOT NULL,
    UNIQUE (organization_id, url_key)
) STRICT;

INSERT INTO repositories_anew (id, organization_id, provider, identifier, url, url_key, confined, default_branch,
    default_name, refs_digest, sync_status, sync_error, last_synced_at, created_at)
SELECT id, organization_id, provider, identifier, url, url_key, 0, default_branch,
    default_name, refs_digest, sync_status, sync_error, last_synced_at, created_at
FROM repositories ORDER BY rowid;

DROP TABLE repositories;

ALTER TABLE repositories_anew RENAME TO repositories;

-- When the version that a ref made was deleted on purpose: it comes back when the ref moves, not before.
ALTER TABLE refs ADD COLUMN deleted_at INTEGER;

CREATE TABLE sync_runs (
    -- Syncs that found something new or failed; those that found nothing new in a row are one.
    id TEXT PRIMARY KEY,
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    status TEXT NOT NULL CHECK (status IN ('running', 'ok', 'unchanged', 'failed', 'interrupted')),
    error TEXT,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    -- What came of it as JSON, compressed with zstd; NULL: nothing is known of it.
    report BLOB
) STRICT;

CREATE INDEX sync_runs_by_repository ON sync_runs (repository_id);
