-- The ref that means the same is looked up for each version whose own tag is gone. It has all columns that this takes:
-- SQLite would go through all refs of the repository otherwise, which lie together.
CREATE INDEX refs_by_version ON refs (repository_id, version, package, reference, deleted_at);
