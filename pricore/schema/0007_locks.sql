CREATE TABLE locks (
    -- Lock files that are in use somewhere: what they name is neither pruned nor deleted.
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    UNIQUE (organization_id, name)
) STRICT;

CREATE TABLE lock_packages (
    lock_id TEXT NOT NULL REFERENCES locks (id) ON DELETE CASCADE,
    -- In lower case. By name: a package that is removed and added again is the same one to a lock file.
    package TEXT NOT NULL,
    -- As the lock file shows it.
    version TEXT NOT NULL,
    -- What its URL has behind the package: 1.0.0, or dev-main/<commit>.
    address TEXT NOT NULL,
    shasum TEXT NOT NULL,
    PRIMARY KEY (lock_id, package)
) STRICT, WITHOUT ROWID;

CREATE INDEX lock_packages_by_shasum ON lock_packages (shasum);
