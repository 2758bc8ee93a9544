//! What was stored of files, what was found in it, and what of it is let in: for many files at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json as object;

use super::{
    FileId, RepositoryId,
    rows::{BATCH, Columns as _, WIDE, built, json, list, tuples},
    write::{Marks, Write},
};
use crate::{
    digest::Sha256Digest,
    ecosystem::Inspection,
    error::{Error, Result},
    lifecycle::{Revision, RevisionId},
    name::Actor,
    path::ContentPath,
    store::Blob,
};

/// What the format found in a file, and what it took out of it.
pub(super) type Inspected<'a> = (FileId, &'a Inspection, &'a [(ContentPath, Blob)]);

impl Write {
    /// See [`Catalog::store_file`](super::Catalog::store_file).
    pub(super) async fn store_files(&mut self, stored: &[(FileId, Blob)]) -> Result<()> {
        self.compare_stored(stored).await?;
        for part in stored.chunks(WIDE) {
            // Both engines call the columns of `VALUES` so.
            let update = built(format!(
                "UPDATE file SET stored_sha256 = v.column2, stored_blake3 = v.column3, stored_size = v.column4 \
                 FROM (VALUES {}) AS v WHERE file.id = v.column1",
                tuples(part.len(), 4)
            ));
            let update = part.iter().fold(update, |update, (id, blob)| {
                let update = update.bind(id.0).bind(blob.sha256.to_string()).bind(blob.blake3.to_string());
                update.bind(blob.size as i64)
            });
            self.execute(update).await?;
        }
        Ok(())
    }

    /// Refuses other bytes than registries claim; forgets what was found in other bytes than these.
    async fn compare_stored(&mut self, stored: &[(FileId, Blob)]) -> Result<()> {
        let mut replaced = Vec::new();
        for part in stored.chunks(BATCH) {
            let query = built(format!(
                "SELECT id, path, sha256, stored_sha256 FROM file WHERE id IN ({})",
                list(1, part.len())
            ));
            let rows = self.all(part.iter().fold(query, |query, (id, _)| query.bind(id.0))).await?;
            let mut known = HashMap::with_capacity(rows.len());
            for row in rows {
                known.insert(row.int("id")?, row);
            }
            for (id, blob) in part {
                let row = known.get(&id.0).ok_or_else(|| Error::not_found("file", id.0))?;
                let claimed = row.parsed_or_none::<Sha256Digest>("sha256")?;
                if let Some(claimed) = claimed.filter(|claimed| *claimed != blob.sha256) {
                    return Err(Error::Integrity {
                        what: format!("file `{}`", row.text("path")?),
                        expected: claimed.to_string(),
                        actual: blob.sha256.to_string(),
                    });
                }
                let before = row.parsed_or_none::<Sha256Digest>("stored_sha256")?;
                if before.is_some_and(|before| before != blob.sha256) {
                    replaced.push(*id);
                }
            }
        }
        self.forget_derived(&replaced).await?;
        for part in replaced.chunks(BATCH) {
            let text = list(1, part.len());
            let forget =
                built(format!("UPDATE file SET inspection = NULL, admitted = 0 WHERE id IN ({text})"));
            self.execute(part.iter().fold(forget, |forget, id| forget.bind(id.0))).await?;
        }
        Ok(())
    }

    /// Records what the format found in stored files, replacing what was found before.
    pub(super) async fn inspected_files(&mut self, inspected: &[Inspected<'_>]) -> Result<()> {
        let ids: Vec<FileId> = inspected.iter().map(|(id, ..)| *id).collect();
        for part in inspected.chunks(WIDE) {
            let update = built(format!(
                "UPDATE file SET inspection = v.column2 FROM (VALUES {}) AS v \
                 WHERE file.id = v.column1 AND file.stored_sha256 IS NOT NULL",
                tuples(part.len(), 2)
            ));
            let mut bound = update;
            for (id, inspection, _) in part {
                bound = bound.bind(id.0).bind(json(inspection)?);
            }
            if self.execute(bound).await? != part.len() as u64 {
                return Err(self.not_here(&ids).await?);
            }
        }
        self.forget_derived(&ids).await?;
        let derived: Vec<(FileId, &ContentPath, &Blob)> = inspected
            .iter()
            .flat_map(|(id, _, derived)| derived.iter().map(|(path, blob)| (*id, path, blob)))
            .collect();
        self.insert_derived(&derived).await
    }

    /// Why nothing can have been found in one of these.
    async fn not_here(&mut self, ids: &[FileId]) -> Result<Error> {
        let mut known = HashSet::new();
        for part in ids.chunks(BATCH) {
            let text = list(1, part.len());
            let query = built(format!("SELECT id, path, stored_sha256 FROM file WHERE id IN ({text})"));
            for row in self.all(part.iter().fold(query, |query, id| query.bind(id.0))).await? {
                if row.text_or_none("stored_sha256")?.is_none() {
                    let what = format!("file `{}`", row.text("path")?);
                    let detail = "its bytes are not here, so nothing can have been found in them";
                    return Ok(Error::invalid(what, detail));
                }
                known.insert(row.int("id")?);
            }
        }
        let missing = ids.iter().find(|id| !known.contains(&id.0)).map_or(0, |id| id.0);
        Ok(Error::not_found("file", missing))
    }

    pub(super) async fn forget_derived(&mut self, files: &[FileId]) -> Result<()> {
        for part in files.chunks(BATCH) {
            let forget = built(format!("DELETE FROM derived WHERE file IN ({})", list(1, part.len())));
            self.execute(part.iter().fold(forget, |forget, id| forget.bind(id.0))).await?;
        }
        Ok(())
    }

    /// Small files taken out of others.
    pub(super) async fn insert_derived(&mut self, derived: &[(FileId, &ContentPath, &Blob)]) -> Result<()> {
        for part in derived.chunks(WIDE) {
            let text = tuples(part.len(), 5);
            let mut insert =
                built(format!("INSERT INTO derived (file, path, sha256, blake3, size) VALUES {text}"));
            for (file, path, blob) in part {
                insert = insert.bind(file.0).bind(path.as_str().to_owned()).bind(blob.sha256.to_string());
                insert = insert.bind(blob.blake3.to_string()).bind(blob.size as i64);
            }
            self.execute(insert).await?;
        }
        Ok(())
    }

    /// See [`Catalog::admit_files`](super::Catalog::admit_files).
    pub(super) async fn admit_files(&mut self, judged: &[(RevisionId, &[Sha256Digest])]) -> Result<u64> {
        let by_revision: BTreeMap<RevisionId, &[Sha256Digest]> = judged.iter().copied().collect();
        let (mut files, mut counts) = (Vec::new(), BTreeMap::<RevisionId, u64>::new());
        for part in judged.chunks(BATCH) {
            let query = built(format!(
                "SELECT id, revision, stored_sha256 FROM file WHERE admitted = 0 AND inspection IS NOT NULL \
                 AND stored_sha256 IS NOT NULL AND revision IN ({})",
                list(1, part.len())
            ));
            for row in self.all(part.iter().fold(query, |query, (id, _)| query.bind(id.0))).await? {
                let revision = RevisionId(row.int("revision")?);
                // The bytes may have been judged as another revision's.
                if by_revision[&revision].contains(&row.parsed("stored_sha256")?) {
                    files.push(row.int("id")?);
                    *counts.entry(revision).or_default() += 1;
                }
            }
        }
        for part in files.chunks(BATCH) {
            let admit = built(format!("UPDATE file SET admitted = 1 WHERE id IN ({})", list(1, part.len())));
            self.execute(part.iter().fold(admit, |admit, id| admit.bind(*id))).await?;
        }
        self.note_admitted(&counts).await?;
        Ok(files.len() as u64)
    }

    /// Has the next snapshot look at what was admitted, and the audit log say so of each revision.
    async fn note_admitted(&mut self, counts: &BTreeMap<RevisionId, u64>) -> Result<()> {
        let mut repositories: BTreeMap<i64, Vec<RevisionId>> = BTreeMap::new();
        let policy = Actor::policy();
        let mut records = Vec::with_capacity(counts.len());
        let ids: Vec<RevisionId> = counts.keys().copied().collect();
        for (id, (revision, _)) in self.standing(&ids).await? {
            let Revision { repository, artifact, revision, .. } = revision;
            repositories.entry(repository.0).or_default().push(id);
            let detail = object!({ "repository": repository, "files": counts[&id] });
            records.push((&policy, "revision.admit", format!("{artifact}@{revision}"), detail));
        }
        if self.marks == Marks::All {
            for (repository, ids) in repositories {
                self.mark_all_dirty(RepositoryId(repository), &ids).await?;
            }
        }
        self.audit_all(&records).await
    }
}
