CREATE TABLE credentials (
    -- What an organization's repositories on a host are read with; the secret is sealed for `credential:<id>`.
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('https', 'ssh')),
    -- In lower case, with the port where it isn't the usual one.
    host TEXT NOT NULL,
    -- Empty for ssh, where it is in the address.
    username TEXT NOT NULL,
    secret BLOB NOT NULL,
    public_key TEXT,
    -- 1: it may also go over http://, where anybody on the way can read it.
    plain INTEGER NOT NULL CHECK (plain IN (0, 1)),
    created_at INTEGER NOT NULL,
    UNIQUE (organization_id, name)
) STRICT;

-- The credential that a repository was given; NULL: its organization's for the host.
ALTER TABLE repositories ADD COLUMN credential_id TEXT REFERENCES credentials (id) ON DELETE SET NULL;

CREATE INDEX repositories_by_credential ON repositories (credential_id);
