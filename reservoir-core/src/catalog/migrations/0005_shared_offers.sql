-- Who offers a file that several parts offer, as lines of text: found without reading what each of them says.
ALTER TABLE file ADD COLUMN offered_by TEXT;
CREATE INDEX file_shared ON file (repository, offered_by) WHERE offers IS NOT NULL;
