-- The commit at which the operator let a released version move to this tag's; NULL: none.
ALTER TABLE refs ADD COLUMN accepted TEXT;

-- The commit of a released version before its tag was let move: what was advertised without a commit is made of it.
ALTER TABLE versions ADD COLUMN first_reference TEXT;

-- What becomes of released versions whose tag is gone upstream; NULL: as the instance has it.
ALTER TABLE repositories ADD COLUMN vanished_versions TEXT CHECK (vanished_versions IN ('keep', 'remove'));
