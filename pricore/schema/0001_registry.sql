-- Times are seconds since 1970, UTC; ids are UUIDs as text. A migration is never edited once it was released.

CREATE TABLE revisions (
    -- Moves with every change that an answer can show; caches live as long as it stands still.
    only INTEGER PRIMARY KEY CHECK (only = 1),
    value INTEGER NOT NULL
) STRICT;

INSERT INTO revisions (only, value) VALUES (1, 1);

CREATE TABLE served_settings (
    -- The settings that are part of every answer: when one changes, every Last-Modified has to move.
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE organizations (
    id TEXT PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    -- Last-Modified of packages.json, strictly increasing.
    root_modified INTEGER NOT NULL,
    -- Whether packages.json carries the versions themselves.
    inline INTEGER NOT NULL CHECK (inline IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE repositories (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    provider TEXT NOT NULL CHECK (provider IN ('github', 'gitlab', 'bitbucket', 'git')),
    identifier TEXT NOT NULL,
    url TEXT NOT NULL,
    -- The address without what makes no difference, so that one repository isn't added twice.
    url_key TEXT NOT NULL,
    default_branch TEXT,
    default_name TEXT,
    refs_digest TEXT NOT NULL,
    sync_status TEXT NOT NULL CHECK (sync_status IN ('pending', 'ok', 'failed')),
    sync_error TEXT,
    last_synced_at INTEGER,
    created_at INTEGER NOT NULL,
    UNIQUE (organization_id, url_key)
) STRICT;

CREATE TABLE refs (
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    reference TEXT NOT NULL,
    package TEXT,
    version TEXT,
    reason TEXT,
    PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE packages (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    -- In lower case, as it stands in URLs.
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    type TEXT NOT NULL,
    latest_version TEXT,
    replaced_by TEXT,
    -- Bytes of all its versions as packages.json would carry them.
    inline_size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (organization_id, name)
) STRICT;

CREATE INDEX packages_by_repository ON packages (repository_id);

CREATE TABLE versions (
    id INTEGER PRIMARY KEY,
    package_id TEXT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    normalized TEXT NOT NULL,
    ref TEXT NOT NULL,
    reference TEXT NOT NULL,
    shasum TEXT NOT NULL,
    -- The metadata as compact JSON, without dist.
    entry BLOB NOT NULL,
    default_branch INTEGER NOT NULL CHECK (default_branch IN (0, 1)),
    released_at INTEGER NOT NULL,
    -- When the tag was first missing upstream; the version goes on being served.
    gone_at INTEGER,
    created_at INTEGER NOT NULL,
    UNIQUE (package_id, version)
) STRICT;

CREATE TABLE documents (
    package_id TEXT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    half TEXT NOT NULL CHECK (half IN ('stable', 'dev')),
    -- Finished and minified, compressed with zstd.
    body BLOB NOT NULL,
    last_modified INTEGER NOT NULL,
    PRIMARY KEY (package_id, half)
) STRICT;

CREATE TABLE dists (
    -- Every archive that was ever advertised: lock files name old commits for years.
    package_id TEXT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    reference TEXT NOT NULL,
    shasum TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (package_id, reference)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    -- NULL: an instance token, which sees every organization.
    organization_id TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- sha256 of the secret; the secret itself is nowhere.
    hash BLOB NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    -- 1: it sees only what token_packages names, which may be nothing.
    restricted INTEGER NOT NULL CHECK (restricted IN (0, 1)),
    expires_at INTEGER,
    last_used_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX tokens_by_organization ON tokens (organization_id);

CREATE TABLE token_packages (
    -- By name: a package that is removed and added again is the same one to whoever made the token.
    token_id TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    package TEXT NOT NULL,
    PRIMARY KEY (token_id, package)
) STRICT, WITHOUT ROWID;

CREATE TABLE downloads (
    -- Installs that clients reported, by the day of the report (days since 1970, UTC).
    package_id TEXT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    day INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (package_id, version, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    -- Syncs that were asked for; a row is there before anybody is told "queued".
    id TEXT PRIMARY KEY,
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    -- NULL: it waits.
    started_at INTEGER
) STRICT;

-- However often a sync is asked for, one waits at most; while one runs, one more may wait.
CREATE UNIQUE INDEX jobs_waiting ON jobs (repository_id) WHERE started_at IS NULL;
