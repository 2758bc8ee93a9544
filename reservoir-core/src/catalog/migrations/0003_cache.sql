-- When a client last used a file of a cache, as far as it is known; older than everything where it is not.
ALTER TABLE file ADD COLUMN used_at BIGINT;

-- 1 for a small file that the registry announced by its digest and that is here without the file it was taken from.
ALTER TABLE derived ADD COLUMN announced BIGINT NOT NULL DEFAULT 0;
