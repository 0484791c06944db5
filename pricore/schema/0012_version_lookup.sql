-- Clients report installs by the normalized version: one that nobody has must not cost a look at all of a package's.
CREATE INDEX versions_by_normalized ON versions (package_id, normalized);
