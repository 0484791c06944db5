-- The table anew: SQLite cannot take a NOT NULL away.
CREATE TABLE packages_anew (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- NULL: its versions are uploaded, each with its archive, which nothing else has.
    repository_id TEXT REFERENCES repositories (id) ON DELETE CASCADE,
    -- In lower case, as it stands in URLs.
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    type TEXT NOT NULL,
    latest_version TEXT,
    replaced_by TEXT,
    -- Bytes of all its versions as packages.json would carry them.
    inline_size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    -- The folder that the package is in on the default branch.
    path TEXT NOT NULL DEFAULT '',
    UNIQUE (organization_id, name)
) STRICT;

INSERT INTO packages_anew (id, organization_id, repository_id, name, description, type, latest_version, replaced_by,
    inline_size, created_at, path)
SELECT id, organization_id, repository_id, name, description, type, latest_version, replaced_by,
    inline_size, created_at, path
FROM packages ORDER BY rowid;

DROP TABLE packages;

ALTER TABLE packages_anew RENAME TO packages;

CREATE INDEX packages_by_repository ON packages (repository_id);
