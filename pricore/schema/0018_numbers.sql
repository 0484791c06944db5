-- The order in which rows came, as a column: it was the rowid until now, which SQLite alone has.
CREATE TABLE repositories_anew (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- The kind of Git host, by its name in hosts/table.py.
    provider TEXT NOT NULL,
    identifier TEXT NOT NULL,
    url TEXT NOT NULL,
    -- The address without what makes no difference, so that one repository isn't added twice.
    url_key TEXT NOT NULL,
    -- TRUE: the address came over the API, so that it may not reach inside the network.
    confined INTEGER NOT NULL CHECK (confined IN (0, 1)),
    default_branch TEXT,
    refs_digest TEXT NOT NULL,
    sync_status TEXT NOT NULL CHECK (sync_status IN ('pending', 'ok', 'failed')),
    sync_error TEXT,
    last_synced_at INTEGER,
    -- Sealed with a key that is not in the database; NULL: webhooks are refused.
    webhook_secret BLOB,
    created_at INTEGER NOT NULL,
    -- Seconds between two looks at it, 0 for none; NULL: as the organization's, or the instance's.
    sync_interval INTEGER,
    -- When to look at it next without being asked; NULL: never.
    next_sync_at INTEGER,
    -- Syncs that failed since the last good one, and when the first of them did.
    failures INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    -- What was upstream when a sync failed for good: it fails again as long as that stands.
    failed_digest TEXT,
    -- The credential that it was given; NULL: its organization's for the host.
    credential_id TEXT REFERENCES credentials (id) ON DELETE SET NULL,
    -- What becomes of released versions whose tag is gone upstream; NULL: as the instance has it.
    vanished_versions TEXT CHECK (vanished_versions IN ('keep', 'remove')),
    -- The folders that are packages of their own, a JSON list of patterns; [] where the repository is one package.
    paths TEXT NOT NULL DEFAULT '[]',
    UNIQUE (organization_id, url_key)
) STRICT;

INSERT INTO repositories_anew (number, id, organization_id, provider, identifier, url, url_key, confined,
    default_branch, refs_digest, sync_status, sync_error, last_synced_at, webhook_secret, created_at, sync_interval,
    next_sync_at, failures, failing_since, failed_digest, credential_id, vanished_versions, paths)
SELECT rowid, id, organization_id, provider, identifier, url, url_key, confined,
    default_branch, refs_digest, sync_status, sync_error, last_synced_at, webhook_secret, created_at, sync_interval,
    next_sync_at, failures, failing_since, failed_digest, credential_id, vanished_versions, paths
FROM repositories ORDER BY rowid;

DROP TABLE repositories;

ALTER TABLE repositories_anew RENAME TO repositories;

CREATE INDEX repositories_by_next_sync ON repositories (next_sync_at);

CREATE INDEX repositories_by_credential ON repositories (credential_id);

CREATE TABLE tokens_anew (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    -- NULL: an instance token, which sees every organization.
    organization_id TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- sha256 of the secret; the secret itself is nowhere.
    hash BLOB NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    -- TRUE: it sees only what token_packages names, which may be nothing.
    restricted INTEGER NOT NULL CHECK (restricted IN (0, 1)),
    expires_at INTEGER,
    last_used_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;

INSERT INTO tokens_anew (number, id, organization_id, name, hash, scopes, restricted, expires_at, last_used_at,
    created_at)
SELECT rowid, id, organization_id, name, hash, scopes, restricted, expires_at, last_used_at, created_at
FROM tokens ORDER BY rowid;

DROP TABLE tokens;

ALTER TABLE tokens_anew RENAME TO tokens;

CREATE INDEX tokens_by_organization ON tokens (organization_id);

CREATE TABLE credentials_anew (
    -- What an organization's repositories on a host are read with; the secret is sealed for `credential:<id>`.
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('https', 'ssh')),
    -- In lower case, with the port where it isn't the usual one.
    host TEXT NOT NULL,
    -- Empty for ssh, where it is in the address.
    username TEXT NOT NULL,
    secret BLOB NOT NULL,
    public_key TEXT,
    -- TRUE: it may also go over http://, where anybody on the way can read it.
    plain INTEGER NOT NULL CHECK (plain IN (0, 1)),
    created_at INTEGER NOT NULL,
    UNIQUE (organization_id, name)
) STRICT;

INSERT INTO credentials_anew (number, id, organization_id, name, kind, host, username, secret, public_key, plain,
    created_at)
SELECT rowid, id, organization_id, name, kind, host, username, secret, public_key, plain, created_at
FROM credentials ORDER BY rowid;

DROP TABLE credentials;

ALTER TABLE credentials_anew RENAME TO credentials;

CREATE TABLE sync_runs_anew (
    -- Syncs that found something new or failed; those that found nothing new in a row are one.
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    status TEXT NOT NULL CHECK (status IN ('running', 'ok', 'unchanged', 'failed', 'interrupted')),
    error TEXT,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    -- What set it off: schedule, webhook, api, cli, change (of the repository here), first; NULL: not known.
    cause TEXT,
    -- What came of it as JSON, compressed with zstd; NULL: nothing is known of it.
    report BLOB
) STRICT;

INSERT INTO sync_runs_anew (number, id, repository_id, status, error, started_at, finished_at, cause, report)
SELECT rowid, id, repository_id, status, error, started_at, finished_at, cause, report
FROM sync_runs ORDER BY rowid;

DROP TABLE sync_runs;

ALTER TABLE sync_runs_anew RENAME TO sync_runs;

CREATE INDEX sync_runs_by_repository ON sync_runs (repository_id);

CREATE TABLE jobs_anew (
    -- Syncs that were asked for; a row is there before anybody is told "queued".
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    -- What comes first: 0 a host that says that something was pushed, 1 somebody who asks.
    priority INTEGER NOT NULL DEFAULT 1 CHECK (priority IN (0, 1)),
    cause TEXT NOT NULL DEFAULT 'change',
    created_at INTEGER NOT NULL,
    -- NULL: it waits.
    started_at INTEGER
) STRICT;

INSERT INTO jobs_anew (number, id, repository_id, priority, cause, created_at, started_at)
SELECT rowid, id, repository_id, priority, cause, created_at, started_at
FROM jobs ORDER BY rowid;

DROP TABLE jobs;

ALTER TABLE jobs_anew RENAME TO jobs;

-- However often a sync is asked for, one waits at most; while one runs, one more may wait.
CREATE UNIQUE INDEX jobs_waiting ON jobs (repository_id) WHERE started_at IS NULL;

-- A truth value is no number elsewhere: the index is for who asks WHERE pinned.
DROP INDEX dists_pinned;

CREATE INDEX dists_pinned ON dists (package_id) WHERE pinned;
