-- What lists say of a package whose composer.json, on its default branch, else of its latest version, has "abandoned":
-- the package to use instead, empty where it names none.
ALTER TABLE packages ADD COLUMN abandoned TEXT;

UPDATE packages SET abandoned = (
    SELECT CASE json_type(CAST(entry AS TEXT), '$.abandoned')
        WHEN 'true' THEN ''
        WHEN 'text' THEN json_extract(CAST(entry AS TEXT), '$.abandoned')
    END
    FROM versions WHERE package_id = packages.id AND (default_branch OR version = latest_version)
    ORDER BY default_branch DESC LIMIT 1
);
