CREATE TABLE dist_uses (
    -- When an archive was last asked for. One that was pruned has none: it is not missed until somebody asks again.
    shasum TEXT PRIMARY KEY,
    used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
