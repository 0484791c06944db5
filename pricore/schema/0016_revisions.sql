-- The number of the newest change that is nobody's, such as of an instance token: it can show in every answer.
ALTER TABLE revisions ADD COLUMN common INTEGER NOT NULL DEFAULT 0;

-- The number of the newest change that shows in this organization's answers alone; all are counted together.
ALTER TABLE organizations ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

CREATE INDEX organizations_by_revision ON organizations (revision);
