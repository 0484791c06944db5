-- Tokens of several organizations, with rules for what they see of each.
CREATE TABLE tokens_anew (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    -- TRUE: an instance token, which sees every organization.
    instance INTEGER NOT NULL CHECK (instance IN (0, 1)),
    name TEXT NOT NULL,
    -- sha256 of the secret; the secret itself is nowhere.
    hash BLOB NOT NULL UNIQUE,
    -- That of the secret before, and until when it is still good; NULL: there is none.
    former_hash BLOB UNIQUE,
    former_until INTEGER,
    scopes TEXT NOT NULL,
    expires_at INTEGER,
    -- TRUE: the log has said that it expires soon.
    expiry_told INTEGER NOT NULL CHECK (expiry_told IN (0, 1)),
    last_used_at INTEGER,
    -- From which network address, and with which client, as it called itself.
    last_used_from TEXT,
    last_used_by TEXT,
    created_at INTEGER NOT NULL
) STRICT;

INSERT INTO tokens_anew (number, id, instance, name, hash, scopes, expires_at, expiry_told, last_used_at, created_at)
SELECT number, id, organization_id IS NULL, name, hash, scopes, expires_at, 0, last_used_at, created_at
FROM tokens ORDER BY number;

-- Names are unique among an organization's tokens from now on: later ones of a name are CI (2), CI (3). What has expired is
-- in nobody's way. Once more with the row's number, since there may have been a CI (2).
UPDATE tokens_anew SET name = substr(tokens_anew.name, 1, 220) || ' (' || place || ')'
FROM (
    SELECT tokens_anew.id AS token_id, row_number() OVER (
        PARTITION BY organization_id, tokens_anew.name ORDER BY tokens_anew.number
    ) AS place
    FROM tokens_anew JOIN tokens ON tokens.id = tokens_anew.id
    WHERE coalesce(tokens_anew.expires_at, 1e12) > CAST(strftime('%s', 'now') AS INTEGER)
) AS places
WHERE token_id = tokens_anew.id AND place > 1;

UPDATE tokens_anew SET name = substr(tokens_anew.name, 1, 220) || ' #' || tokens_anew.number
FROM (
    SELECT tokens_anew.id AS token_id, row_number() OVER (
        PARTITION BY organization_id, tokens_anew.name ORDER BY tokens_anew.number
    ) AS place
    FROM tokens_anew JOIN tokens ON tokens.id = tokens_anew.id
    WHERE coalesce(tokens_anew.expires_at, 1e12) > CAST(strftime('%s', 'now') AS INTEGER)
) AS places
WHERE token_id = tokens_anew.id AND place > 1;

CREATE TABLE token_organizations (
    -- The organizations of a token; one that lost the last of them is deleted.
    token_id TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- The order in which they were given: it was made in the first one.
    number INTEGER NOT NULL,
    -- How many sets of rules it has here, each of which has to let something through; 0: it sees everything.
    layers INTEGER NOT NULL,
    -- When they were changed last; 0: never.
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (token_id, organization_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX token_organizations_by_organization ON token_organizations (organization_id);

INSERT INTO token_organizations (token_id, organization_id, number, layers, changed_at)
SELECT id, organization_id, 1, restricted, 0 FROM tokens WHERE organization_id IS NOT NULL;

CREATE TABLE token_rules (
    token_id TEXT NOT NULL,
    organization_id TEXT NOT NULL,
    -- The set that the rule is of, from 1 on, and its place there. A set without rules lets nothing through.
    layer INTEGER NOT NULL,
    number INTEGER NOT NULL,
    -- A name of a package in lower case, or the beginning of names and *. By name: a package that is removed and added
    -- again is the same one to whoever made the token.
    pattern TEXT NOT NULL,
    -- The versions of those, '' for any, and until when they were published, 0 for whenever.
    versions TEXT NOT NULL,
    published_before INTEGER NOT NULL,
    PRIMARY KEY (token_id, organization_id, layer, number),
    FOREIGN KEY (token_id, organization_id) REFERENCES token_organizations (token_id, organization_id)
        ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO token_rules (token_id, organization_id, layer, number, pattern, versions, published_before)
SELECT token_id, organization_id, 1, row_number() OVER (PARTITION BY token_id ORDER BY package), package, '', 0
FROM token_packages JOIN tokens ON tokens.id = token_id WHERE organization_id IS NOT NULL;

DROP TABLE token_packages;

DROP TABLE tokens;

ALTER TABLE tokens_anew RENAME TO tokens;

CREATE TABLE view_dates (
    -- The dates of what is shown of a document to who doesn't see all of it. None was given to two different contents.
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- packages.json where it is '', else the name of a package with ~stable or ~dev behind it.
    document TEXT NOT NULL,
    last_modified INTEGER NOT NULL,
    -- What the view and its content are known by: hashes.
    view BLOB NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (organization_id, document, last_modified)
) STRICT, WITHOUT ROWID;

CREATE INDEX view_dates_by_view ON view_dates (organization_id, document, view, last_modified);

-- What a view shows has dates of its own now; a new organization still has none that one of its name had before.
ALTER TABLE organizations RENAME COLUMN views_modified TO dates_after;

-- What was given to views before was made of the number of changes, and whole documents had odd dates, too.
UPDATE organizations SET dates_after = (
    SELECT max(date) FROM (
        SELECT dates_after + (
            SELECT coalesce(sum(changes), 0) FROM package_dates WHERE organization_id = organizations.id
        ) AS date
        UNION ALL SELECT root_modified
        UNION ALL SELECT max(last_modified) FROM package_dates WHERE organization_id = organizations.id
        UNION ALL SELECT max(documents.last_modified) FROM documents
            JOIN packages ON packages.id = documents.package_id WHERE packages.organization_id = organizations.id
    )
);

ALTER TABLE package_dates DROP COLUMN changes;
