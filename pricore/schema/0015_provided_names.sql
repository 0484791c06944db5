CREATE TABLE provided_names (
    -- What the versions of a package say that they provide, in lower case; made anew with its documents.
    package_id TEXT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (package_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX provided_names_by_name ON provided_names (name);

INSERT INTO provided_names (package_id, name)
SELECT DISTINCT package_id, lower(provided.key)
FROM versions, json_each(iif(json_valid(CAST(entry AS TEXT)), CAST(entry AS TEXT), '{}'), '$.provide') AS provided
WHERE typeof(provided.key) = 'text';
