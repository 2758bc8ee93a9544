-- Registries whose offers add up: the part of the registry (an index) that offers a file, a digest of what it says,
-- and, where several offer the same file, what each of them says.
ALTER TABLE file ADD COLUMN part TEXT NOT NULL DEFAULT '';
ALTER TABLE file ADD COLUMN claim TEXT;
ALTER TABLE file ADD COLUMN offers TEXT;
CREATE INDEX file_by_part ON file (repository, registry, part);

-- The digest of the configuration under which the last sync left nothing to do; anything that may make a new one
-- necessary clears it.
ALTER TABLE repository ADD COLUMN complete TEXT;
