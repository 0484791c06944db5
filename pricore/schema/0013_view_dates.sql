-- packages.json of a token that sees some packages alone has dates of its own: they tell nothing of the others.
-- What was handed out before is older.
ALTER TABLE organizations ADD COLUMN views_modified INTEGER NOT NULL DEFAULT 0;
UPDATE organizations SET views_modified = root_modified + 1;

CREATE TABLE package_dates (
    -- What was ever said of a package; it stays when the package goes, by name.
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- How often it changed, came or went.
    changes INTEGER NOT NULL,
    -- The latest date that a document of it had before the package went.
    last_modified INTEGER NOT NULL,
    PRIMARY KEY (organization_id, name)
) STRICT, WITHOUT ROWID;

INSERT INTO package_dates (organization_id, name, changes, last_modified)
SELECT organization_id, name, 0, 0 FROM packages;
