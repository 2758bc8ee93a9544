//! What a bundle tells that is known here already: bundles overlap, so that nothing is lost between two of them, and most
//! of what they tell again has not changed.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::any::AnyRow;

use super::{
    Catalog, FileId, FileRow, RepositoryId, VerdictRow,
    revisions::revision,
    rows::{BATCH, Columns as _, built, list, plain},
    taken::{Reception, steps},
};
use crate::{
    bundle::{CarriedArtifact, CarriedFile, CarriedRevision},
    digest::Sha256Digest,
    error::Result,
    lifecycle::{Revision, RevisionId, Status},
    name::{ArtifactName, RevisionName},
    path::ContentPath,
    store::Blob,
};

/// A line of a revision's history: when, who, to where, in which attempt, why.
pub(super) type HistoryLine = (i64, String, String, i64, String);
/// A decision on it: when, who, what, why.
pub(super) type ApprovalLine = (i64, String, bool, String);

/// A revision as it is here.
#[derive(Debug)]
struct Held {
    revision: Revision,
    history: BTreeSet<HistoryLine>,
    approvals: BTreeSet<ApprovalLine>,
    /// Those that are told.
    files: HashMap<ContentPath, FileRow>,
}

impl Catalog {
    /// Those of these blobs, with this size and tree, that files here have.
    pub(crate) async fn known_blobs(&self, blobs: &[Blob]) -> Result<HashSet<Blob>> {
        let mut known = HashSet::with_capacity(blobs.len());
        for part in blobs.chunks(BATCH) {
            let names = list(1, part.len());
            let query = built(format!(
                "SELECT stored_sha256 AS sha256, stored_blake3 AS blake3, stored_size AS size FROM file \
                 WHERE stored_sha256 IN ({names}) \
                 UNION SELECT sha256, blake3, size FROM derived WHERE sha256 IN ({names})"
            ));
            let query = part.iter().fold(query, |query, blob| query.bind(blob.sha256.to_string()));
            for row in self.all("look for blobs", query).await? {
                known.insert(blob(&row)?);
            }
        }
        Ok(known)
    }

    /// Those of the artifacts that are not here just as they are told.
    pub(super) async fn untold_artifacts<'a>(
        &self,
        repository: RepositoryId,
        artifacts: &'a [CarriedArtifact],
    ) -> Result<Vec<&'a CarriedArtifact>> {
        let mut untold = Vec::new();
        for part in artifacts.chunks(BATCH) {
            let query = built(format!(
                "SELECT name, attributes, quarantined FROM artifact WHERE repository = $1 AND name IN ({})",
                list(2, part.len())
            ));
            let query = query.bind(repository.0);
            let query = part.iter().fold(query, |query, artifact| query.bind(artifact.name.to_string()));
            let mut known = HashMap::with_capacity(part.len());
            for row in self.all("read artifacts", query).await? {
                let name: ArtifactName = row.parsed("name")?;
                known.insert(name, (row.decoded("attributes")?, row.text_or_none("quarantined")?));
            }
            untold.extend(part.iter().filter(|artifact| {
                let told = (artifact.attributes.clone(), artifact.quarantined.as_deref().map(plain));
                known.get(&artifact.name) != Some(&told)
            }));
        }
        Ok(untold)
    }

    /// For each revision that is told: how it stands here, if taking it in would change nothing.
    pub(super) async fn told(
        &self,
        repository: RepositoryId,
        revisions: &[(CarriedRevision, Vec<CarriedFile>)],
        reception: Reception,
    ) -> Result<Vec<Option<Revision>>> {
        let mut held = self.held(repository, revisions).await?;
        let digests: Vec<Sha256Digest> = revisions
            .iter()
            .flat_map(|(_, files)| files)
            .filter(|file| !file.verdicts.is_empty())
            .filter_map(|file| Some(file.blob?.sha256))
            .collect();
        let verdicts = if held.is_empty() { HashMap::new() } else { self.verdicts_of(&digests).await? };
        let mut told = Vec::with_capacity(revisions.len());
        for (carried, files) in revisions {
            let key = (carried.artifact.clone(), carried.revision.clone());
            let is_told =
                held.get(&key).is_some_and(|held| held.is_told(carried, files, reception, &verdicts));
            // Large revisions come in parts.
            told.push(if is_told { held.get(&key).map(|held| held.revision.clone()) } else { None });
            if !is_told {
                held.remove(&key);
            }
        }
        Ok(told)
    }

    async fn held(
        &self,
        repository: RepositoryId,
        revisions: &[(CarriedRevision, Vec<CarriedFile>)],
    ) -> Result<HashMap<(ArtifactName, RevisionName), Held>> {
        let mut found: HashMap<RevisionId, Held> = HashMap::new();
        for part in revisions.chunks(BATCH) {
            // More pairs than asked for, never fewer.
            let query = built(format!(
                "SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
                 FROM artifact a JOIN revision r ON r.artifact = a.id \
                 WHERE a.repository = $1 AND a.name IN ({}) AND r.name IN ({})",
                list(2, part.len()),
                list(2 + part.len(), part.len())
            ));
            let query = query.bind(repository.0);
            let query = part.iter().fold(query, |query, (told, _)| query.bind(told.artifact.to_string()));
            let query = part.iter().fold(query, |query, (told, _)| query.bind(told.revision.to_string()));
            let wanted: HashSet<(&ArtifactName, &RevisionName)> =
                part.iter().map(|(told, _)| (&told.artifact, &told.revision)).collect();
            for row in self.all("read revisions", query).await? {
                let revision = revision(&row)?;
                if wanted.contains(&(&revision.artifact, &revision.revision)) {
                    let (history, approvals, files) = (BTreeSet::new(), BTreeSet::new(), HashMap::new());
                    found.insert(revision.id, Held { revision, history, approvals, files });
                }
            }
        }
        // Only what is told: a revision may have many more files than come together.
        let paths: Vec<ContentPath> =
            revisions.iter().flat_map(|(_, files)| files).map(|file| file.path.clone()).collect();
        let files = if found.is_empty() { Vec::new() } else { self.files_at(repository, &paths).await? };
        for file in self.with_derived(files).await? {
            if let Some(held) = found.get_mut(&file.revision) {
                held.files.insert(file.path.clone(), file);
            }
        }
        let ids: Vec<RevisionId> = found.keys().copied().collect();
        for part in ids.chunks(BATCH) {
            let ids = list(1, part.len());
            let query = built(format!(
                "SELECT revision, at, actor, to_status, attempt, reason FROM history WHERE revision IN ({ids})"
            ));
            let query = part.iter().fold(query, |query, id| query.bind(id.0));
            for row in self.all("read histories", query).await? {
                if let Some(held) = found.get_mut(&RevisionId(row.int("revision")?)) {
                    held.history.insert(history_line(&row)?);
                }
            }
            let query = built(format!(
                "SELECT revision, at, actor, decision, reason FROM approval WHERE revision IN ({ids})"
            ));
            let query = part.iter().fold(query, |query, id| query.bind(id.0));
            for row in self.all("read approvals", query).await? {
                if let Some(held) = found.get_mut(&RevisionId(row.int("revision")?)) {
                    held.approvals.insert(approval_line(&row)?);
                }
            }
        }
        let name = |held: &Held| (held.revision.artifact.clone(), held.revision.revision.clone());
        Ok(found.into_values().map(|held| (name(&held), held)).collect())
    }

    /// Files, with what was taken out of them.
    async fn with_derived(&self, mut files: Vec<FileRow>) -> Result<Vec<FileRow>> {
        files.sort_unstable_by_key(|file| file.id);
        for part in files.chunks_mut(BATCH) {
            let query = built(format!(
                "SELECT file, path, sha256, blake3, size FROM derived WHERE file IN ({}) ORDER BY file, id",
                list(1, part.len())
            ));
            let query = part.iter().fold(query, |query, file| query.bind(file.id.0));
            for row in self.all("list derived files", query).await? {
                let owner = FileId(row.int("file")?);
                if let Ok(place) = part.binary_search_by_key(&owner, |file| file.id) {
                    part[place].derived.push((row.parsed("path")?, blob(&row)?));
                }
            }
        }
        Ok(files)
    }
}

fn blob(row: &AnyRow) -> Result<Blob> {
    Ok(Blob { sha256: row.parsed("sha256")?, blake3: row.parsed("blake3")?, size: row.count("size")? })
}

pub(super) fn history_line(row: &AnyRow) -> Result<HistoryLine> {
    Ok((row.int("at")?, row.text("actor")?, row.text("to_status")?, row.int("attempt")?, row.text("reason")?))
}

pub(super) fn approval_line(row: &AnyRow) -> Result<ApprovalLine> {
    Ok((row.int("at")?, row.text("actor")?, row.flag("decision")?, row.text("reason")?))
}

impl Held {
    /// Whether all that is told of the revision is here.
    fn is_told(
        &self,
        carried: &CarriedRevision,
        files: &[CarriedFile],
        reception: Reception,
        verdicts: &HashMap<Sha256Digest, Vec<VerdictRow>>,
    ) -> bool {
        let status = self.revision.status;
        let admits =
            reception == Reception::Admit && carried.status == Status::Available && !status.is_refused();
        steps(carried.status, status, reception).is_empty()
            && carried.history.iter().all(|entry| {
                let (at, to) = (entry.at.as_micros(), entry.to.as_str().to_owned());
                self.history.contains(&(at, entry.actor.to_string(), to, entry.attempt, plain(&entry.reason)))
            })
            && carried.approvals.iter().all(|said| {
                let line = (said.at.as_micros(), said.actor.to_string(), said.decision, plain(&said.reason));
                self.approvals.contains(&line)
            })
            && files.iter().all(|file| {
                let known = self.files.get(&file.path);
                known.is_some_and(|known| is_same(known, file, admits && file.admitted))
                    && file.blob.is_none_or(|blob| said_of(verdicts, &blob.sha256, file))
            })
    }
}

fn is_same(known: &FileRow, told: &CarriedFile, admit: bool) -> bool {
    let claims = (&known.registry, &known.url, known.size, known.sha256, &known.attributes)
        == (&told.registry, &told.url, told.size, told.sha256, &told.attributes);
    let bytes = told.blob.is_none() || (known.blob == told.blob && known.derived == told.derived);
    let found = told.inspection.is_none() || known.inspection == told.inspection;
    claims && bytes && found && (known.admitted || !admit)
}

fn said_of(
    verdicts: &HashMap<Sha256Digest, Vec<VerdictRow>>,
    sha256: &Sha256Digest,
    file: &CarriedFile,
) -> bool {
    let known = verdicts.get(sha256).map_or(&[][..], Vec::as_slice);
    file.verdicts.iter().all(|said| {
        let (scanner, rules) = (plain(&said.scanner), plain(&said.rules));
        known.iter().any(|known| known.scanner == scanner && known.rules == rules)
    })
}
