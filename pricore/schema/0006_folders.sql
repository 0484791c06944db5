-- The folders that are packages of their own, a JSON list of patterns; [] where the repository is one package.
ALTER TABLE repositories ADD COLUMN paths TEXT NOT NULL DEFAULT '[]';

CREATE TABLE default_names (
    -- The package name in each folder ('' is the root) of the default branch: it names all versions of the folder.
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (repository_id, path)
) STRICT, WITHOUT ROWID;

INSERT INTO default_names (repository_id, path, name)
SELECT id, '', default_name FROM repositories WHERE default_name IS NOT NULL;

ALTER TABLE repositories DROP COLUMN default_name;

-- The folder that the package is in on the default branch.
ALTER TABLE packages ADD COLUMN path TEXT NOT NULL DEFAULT '';

-- What the archive is made of where that isn't the whole commit, as commit:folder.
ALTER TABLE dists ADD COLUMN treeish TEXT;
