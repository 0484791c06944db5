-- When this version was first served at its commit; NULL: not known yet (a branch of before this column).
ALTER TABLE versions ADD COLUMN published_at INTEGER;

-- A release that never moved came when its row did.
UPDATE versions SET published_at = created_at
WHERE first_reference IS NULL
    AND (ref LIKE 'refs/tags/%' OR (ref = '' AND normalized NOT LIKE 'dev-%' AND normalized NOT LIKE '%-dev'));

-- How the package's documents were built; those of an older format are built anew.
ALTER TABLE packages ADD COLUMN document_format INTEGER NOT NULL DEFAULT 0;

-- What travels inside packages.json is built when it is asked for: by now otherwise.
UPDATE organizations SET root_modified = root_modified + 1 WHERE inline = 1;

-- 1: the archive of a commit that no version was ever made of, for who pinned a branch to it (dev-main#<commit>).
ALTER TABLE dists ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));

CREATE INDEX dists_pinned ON dists (package_id) WHERE pinned = 1;

CREATE TABLE abbreviations (
    -- What the beginning of a commit meant when it was first asked for: lock files name it for years.
    package_id TEXT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    abbreviation TEXT NOT NULL,
    reference TEXT NOT NULL,
    PRIMARY KEY (package_id, abbreviation)
) STRICT, WITHOUT ROWID;

CREATE TABLE withdrawn (
    -- The commits of versions that were deleted on purpose: pinning a branch to one must not bring it back.
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    -- In lower case. By name: a package that is deleted and comes back is the same one.
    package TEXT NOT NULL,
    reference TEXT NOT NULL,
    PRIMARY KEY (repository_id, package, reference)
) STRICT, WITHOUT ROWID;

INSERT INTO withdrawn (repository_id, package, reference)
SELECT DISTINCT repository_id, lower(package), reference FROM refs
WHERE deleted_at IS NOT NULL AND package IS NOT NULL;
