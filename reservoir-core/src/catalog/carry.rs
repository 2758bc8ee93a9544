//! Rows that cross the gap: which there are to send, and how they are taken in.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json as object};

use super::{
    Catalog, Fence, RepositoryId,
    rows::{BATCH, Columns as _, built, json, list, plain, sql},
    told::{approval_line, history_line},
    write::{Marks, Write},
};
use crate::{
    bundle::{CarriedApproval, CarriedArtifact, CarriedFile, CarriedRevision},
    clock::Timestamp,
    digest::Sha256Digest,
    error::Result,
    lifecycle::{HistoryEntry, Revision, RevisionId, Status, Transition},
    name::{Actor, ArtifactName, RevisionName},
    path::ContentPath,
    snapshot::Entry,
    store::Blob,
};

/// How far revisions go that the sender says are AVAILABLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reception {
    /// All the way: what travels with them is evidence enough.
    Admit,
    /// To VERIFYING, where the scanners here have their say.
    Judge,
    /// To `NEEDS_APPROVAL`, where a person has it.
    Ask,
}

/// What is asked for of what may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// All that may be now.
    Now,
    /// Without what was decided since the last snapshot.
    Settled,
}

/// A revision after it was taken in.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) revision: Revision,
    /// Whether its status changed.
    pub(crate) changed: bool,
}

impl Catalog {
    /// Revisions that changed at `since` or later, in the order they became known, those after `after`.
    pub(crate) async fn changed_revisions(
        &self,
        repository: RepositoryId,
        since: Timestamp,
        after: Option<RevisionId>,
        limit: u32,
    ) -> Result<Vec<Revision>> {
        let query = sql(
            "SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
                         FROM revision r JOIN artifact a ON a.id = r.artifact \
                         WHERE r.repository = $1 AND r.changed_at >= $2 AND r.id > $3 ORDER BY r.id LIMIT $4",
        );
        let query = query.bind(repository.0).bind(since.as_micros());
        let query = query.bind(after.map_or(0, |id| id.0)).bind(i64::from(limit));
        self.all("list changed revisions", query).await?.iter().map(super::revisions::revision).collect()
    }

    /// Takes over what the sender knows of artifacts. Durable once the load is committed, like all that it receives.
    pub(crate) async fn receive_artifacts(
        &self,
        repository: RepositoryId,
        artifacts: &[CarriedArtifact],
        fence: &Fence,
    ) -> Result<()> {
        let untold = self.untold_artifacts(repository, artifacts).await?;
        if untold.is_empty() {
            return Ok(());
        }
        let mut write = self.fenced_relaxed("receive artifacts", fence).await?;
        for artifact in untold {
            let id = write.artifact_id(repository, &artifact.name).await?;
            let update = sql("UPDATE artifact SET attributes = $1, quarantined = $2 WHERE id = $3");
            let update =
                update.bind(json(&artifact.attributes)?).bind(artifact.quarantined.as_deref().map(plain));
            write.execute(update.bind(id)).await?;
        }
        write.commit().await
    }

    /// Takes in revisions with their files, history, verdicts and decisions. What was rejected or blocked here
    /// stays so; what the sender rejected or blocked stops being served here too. Doing it twice changes nothing,
    /// which is why it need not be durable before the load is committed.
    ///
    /// What becomes available is not marked for a snapshot: the load makes it from the carried content. A load that
    /// stops before has then brought nothing that anybody else publishes.
    pub(crate) async fn receive_revisions(
        &self,
        repository: RepositoryId,
        revisions: &[(CarriedRevision, Vec<CarriedFile>)],
        reception: Reception,
        actor: &Actor,
        reason: &str,
        fence: &Fence,
    ) -> Result<Vec<Taken>> {
        let told = self.told(repository, revisions, reception).await?;
        if let Some(told) = told.iter().cloned().collect::<Option<Vec<Revision>>>() {
            return Ok(told.into_iter().map(|revision| Taken { revision, changed: false }).collect());
        }
        let mut write = self.fenced_relaxed("receive revisions", fence).await?;
        write.marks = Marks::Leaving;
        let mut taken = Vec::with_capacity(revisions.len());
        let (mut revisions_written, mut files_written) = (0, 0);
        for ((carried, files), told) in revisions.iter().zip(told) {
            if let Some(revision) = told {
                taken.push(Taken { revision, changed: false });
                continue;
            }
            (revisions_written, files_written) = (revisions_written + 1, files_written + files.len());
            let (id, mut now) = write.received_revision(repository, carried, actor).await?;
            write.receive_history(id, &carried.history).await?;
            write.receive_approvals(id, &carried.approvals).await?;
            let admit = reception == Reception::Admit
                && carried.status == Status::Available
                && !matches!(now.status, Status::Rejected | Status::Blocked);
            for file in files {
                write.receive_file(repository, id, file, admit && file.admitted).await?;
            }
            let before = now.status;
            // Clients are told why, in the words of who refused it.
            let theirs = carried.history.last().map_or(reason, |entry| entry.reason.as_str());
            for to in steps(carried.status, now.status, reception) {
                let change = Transition {
                    revision: id,
                    from: now.status,
                    attempt: now.attempt,
                    to,
                    actor: actor.clone(),
                    reason: if is_refused(to) { theirs } else { reason }.to_owned(),
                };
                now = write.change_status(&change).await?;
            }
            taken.push(Taken { changed: now.status != before, revision: now });
        }
        let detail = object!({ "repository": repository, "files": files_written, "reason": reason });
        write.audit(actor, "bundle.receive", &format!("{revisions_written} revisions"), &detail).await?;
        write.commit().await?;
        Ok(taken)
    }

    /// Lets the files of a received revision in that were judged here, then changes its status, where it changes. Durable
    /// once the load is committed.
    ///
    /// # Errors
    /// Those of [`transition`](crate::lifecycle::ArtifactLifecycle::transition).
    pub(crate) async fn conclude_received(
        &self,
        revision: &Revision,
        admitted: &[Sha256Digest],
        change: Option<&Transition>,
        fence: &Fence,
    ) -> Result<Revision> {
        let mut write = self.fenced_relaxed("conclude what was received", fence).await?;
        write.marks = Marks::Leaving;
        if !admitted.is_empty() {
            write.admit_files(&[(revision.id, admitted)]).await?;
        }
        let mut now = revision.clone();
        if let Some(change) = change {
            let after = write.transition(std::slice::from_ref(change), Some(fence)).await?;
            now = after.into_iter().next().unwrap_or(now);
        }
        write.commit().await?;
        Ok(now)
    }

    /// The newest files of an artifact that are at least so large: path and bytes.
    pub(crate) async fn large_files(
        &self,
        repository: RepositoryId,
        artifact: &ArtifactName,
        size: u64,
    ) -> Result<Vec<(String, Blob)>> {
        let query = sql("SELECT f.path AS path, f.stored_sha256 AS sha256, f.stored_blake3 AS blake3, \
                         f.stored_size AS size FROM file f JOIN revision r ON r.id = f.revision \
                         JOIN artifact a ON a.id = r.artifact WHERE a.repository = $1 AND a.name = $2 \
                         AND f.stored_sha256 IS NOT NULL AND f.stored_size >= $3 ORDER BY f.id DESC LIMIT 500");
        let query = query.bind(repository.0).bind(artifact.as_str()).bind(size as i64);
        let rows = self.all("look for large files", query).await?;
        let row = |row: &sqlx::any::AnyRow| {
            let (sha256, blake3) = (row.parsed("sha256")?, row.parsed("blake3")?);
            Ok((row.text("path")?, Blob { sha256, blake3, size: row.count("size")? }))
        };
        rows.iter().map(row).collect()
    }

    /// Where these bytes are known as a file, the longest known first: repository and path, a few at most.
    pub(crate) async fn paths_of_blob(&self, sha256: &Sha256Digest) -> Result<Vec<(RepositoryId, String)>> {
        let query = sql("SELECT repository, path FROM file WHERE stored_sha256 = $1 ORDER BY id LIMIT 16");
        let rows = self.all("look for bytes", query.bind(sha256.to_string())).await?;
        rows.iter().map(|row| Ok((RepositoryId(row.int("repository")?), row.text("path")?))).collect()
    }

    /// Which of these entries of a content manifest may be served here: those whose file is admitted, in an
    /// AVAILABLE revision, with the same bytes.
    pub(crate) async fn served_entries(
        &self,
        repository: RepositoryId,
        entries: &[Entry],
        which: Served,
    ) -> Result<BTreeSet<ContentPath>> {
        let mut by_key: HashMap<String, Vec<&Entry>> = HashMap::new();
        for entry in entries {
            let owner = match entry.attributes.get(super::content::DERIVED_FROM).and_then(Value::as_str) {
                Some(owner) => match owner.parse::<ContentPath>() {
                    Ok(owner) => owner,
                    Err(_) => continue,
                },
                None => entry.path.clone(),
            };
            let key = Sha256Digest::of(owner.collision_key().as_bytes()).to_string();
            by_key.entry(key).or_default().push(entry);
        }
        let keys: Vec<String> = by_key.keys().cloned().collect();
        let mut served = BTreeSet::new();
        for keys in keys.chunks(BATCH) {
            let names = list(2, keys.len());
            let settled = match which {
                Served::Now => "",
                Served::Settled => " AND NOT EXISTS (SELECT 1 FROM dirty x WHERE x.revision = r.id)",
            };
            let text = format!(
                "SELECT f.path AS path, f.stored_sha256 AS sha256, f.collision AS collision FROM file f \
                 JOIN revision r ON r.id = f.revision WHERE f.repository = $1 AND f.collision IN ({names}) \
                 AND f.admitted = 1 AND f.stored_sha256 IS NOT NULL AND r.status = 'AVAILABLE'{settled} \
                 UNION ALL \
                 SELECT d.path, d.sha256, f.collision FROM derived d JOIN file f ON f.id = d.file \
                 JOIN revision r ON r.id = f.revision WHERE f.repository = $1 AND f.collision IN ({names}) \
                 AND f.admitted = 1 AND f.stored_sha256 IS NOT NULL AND r.status = 'AVAILABLE'{settled}"
            );
            let query =
                keys.iter().fold(built(text).bind(repository.0), |query, key| query.bind(key.clone()));
            for row in self.all("ask which files are served", query).await? {
                let (path, sha256): (String, Sha256Digest) = (row.text("path")?, row.parsed("sha256")?);
                let wanted = by_key.get(&row.text("collision")?).map_or(&[][..], Vec::as_slice);
                let found =
                    wanted.iter().find(|entry| entry.path.as_str() == path && entry.blob.sha256 == sha256);
                if let Some(entry) = found {
                    served.insert(entry.path.clone());
                }
            }
        }
        Ok(served)
    }
}

/// The way of a revision from where it stands here to where the sender has it, as far as it goes here.
pub(super) fn steps(theirs: Status, ours: Status, reception: Reception) -> Vec<Status> {
    use Status::{Available, Blocked, Failed, NeedsApproval, Pulled, Pulling, Rejected, Scanned, Verifying};
    match (theirs, ours) {
        (Blocked, Available) => return vec![Blocked],
        (Rejected, Available | NeedsApproval) => return vec![Rejected],
        (Available, _) => {}
        _ => return Vec::new(),
    }
    let last = match reception {
        Reception::Admit => &[Verifying, Available][..],
        Reception::Judge => &[Verifying],
        Reception::Ask => &[Verifying, NeedsApproval],
    };
    let walk = [&[Pulling, Pulled], last].concat();
    match ours {
        Scanned | Failed => walk,
        Pulling => walk[1..].to_vec(),
        Pulled => walk[2..].to_vec(),
        Verifying => last[1..].to_vec(),
        NeedsApproval if reception == Reception::Admit => vec![Available],
        NeedsApproval | Available | Rejected | Blocked => Vec::new(),
    }
}

fn is_refused(status: Status) -> bool {
    matches!(status, Status::Rejected | Status::Blocked)
}

impl Write {
    async fn received_revision(
        &mut self,
        repository: RepositoryId,
        carried: &CarriedRevision,
        actor: &Actor,
    ) -> Result<(RevisionId, Revision)> {
        let artifact = self.artifact_id(repository, &carried.artifact).await?;
        if let Some(known) = self.revision_of(artifact, &carried.artifact, &carried.revision).await? {
            return Ok((known.id, known));
        }
        let names: [&RevisionName; 1] = [&carried.revision];
        self.insert_revisions(repository, artifact, &names, actor).await?;
        let made = self.revision_of(artifact, &carried.artifact, &carried.revision).await?;
        let made = made.ok_or_else(|| crate::Error::not_found("revision", &carried.revision))?;
        Ok((made.id, made))
    }

    async fn revision_of(
        &mut self,
        artifact: i64,
        name: &ArtifactName,
        revision: &RevisionName,
    ) -> Result<Option<Revision>> {
        let query =
            sql("SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
                         FROM revision r JOIN artifact a ON a.id = r.artifact \
                         WHERE r.artifact = $1 AND r.name = $2 AND a.name = $3");
        let query = query.bind(artifact).bind(revision.as_str()).bind(name.as_str());
        self.optional(query).await?.as_ref().map(super::revisions::revision).transpose()
    }

    /// Adds the lines that are not here yet; they keep their own times and actors.
    async fn receive_history(&mut self, revision: RevisionId, carried: &[HistoryEntry]) -> Result<()> {
        let query = sql("SELECT at, actor, to_status, attempt, reason FROM history WHERE revision = $1");
        let mut known = BTreeSet::new();
        for row in self.all(query.bind(revision.0)).await? {
            known.insert(history_line(&row)?);
        }
        for entry in carried {
            let (at, to, reason) = (entry.at.as_micros(), entry.to.as_str(), plain(&entry.reason));
            let line = (at, entry.actor.to_string(), to.to_owned(), entry.attempt, reason.clone());
            if !known.insert(line) {
                continue;
            }
            let insert =
                sql("INSERT INTO history (revision, at, actor, from_status, to_status, attempt, reason) \
                              VALUES ($1, $2, $3, $4, $5, $6, $7)");
            let insert = insert.bind(revision.0).bind(at).bind(entry.actor.as_str().to_owned());
            let insert = insert.bind(entry.from.map(Status::as_str)).bind(to).bind(entry.attempt);
            self.execute(insert.bind(reason)).await?;
        }
        Ok(())
    }

    async fn receive_approvals(&mut self, revision: RevisionId, carried: &[CarriedApproval]) -> Result<()> {
        if carried.is_empty() {
            return Ok(());
        }
        let query = sql("SELECT at, actor, decision, reason FROM approval WHERE revision = $1");
        let mut known = BTreeSet::new();
        for row in self.all(query.bind(revision.0)).await? {
            known.insert(approval_line(&row)?);
        }
        for approval in carried {
            let (at, reason) = (approval.at.as_micros(), plain(&approval.reason));
            if !known.insert((at, approval.actor.to_string(), approval.decision, reason.clone())) {
                continue;
            }
            let insert = sql("INSERT INTO approval (revision, decision, actor, reason, digests, at) \
                              VALUES ($1, $2, $3, $4, $5, $6)");
            let insert = insert.bind(revision.0).bind(i64::from(approval.decision));
            let insert = insert.bind(approval.actor.as_str().to_owned()).bind(reason);
            self.execute(insert.bind(json(&approval.digests)?).bind(at)).await?;
        }
        Ok(())
    }

    /// A file whose bytes are not here is known only as what its registry says of it.
    async fn receive_file(
        &mut self,
        repository: RepositoryId,
        revision: RevisionId,
        file: &CarriedFile,
        admit: bool,
    ) -> Result<()> {
        let collision = Sha256Digest::of(file.path.collision_key().as_bytes()).to_string();
        let upsert =
            sql("INSERT INTO file (repository, revision, path, collision, registry, url, size, sha256, \
                          attributes, stored_sha256, stored_blake3, stored_size, inspection, admitted) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
                          ON CONFLICT (repository, collision) DO UPDATE SET \
                          revision = excluded.revision, registry = excluded.registry, url = excluded.url, \
                          size = excluded.size, sha256 = excluded.sha256, attributes = excluded.attributes, \
                          stored_sha256 = COALESCE(excluded.stored_sha256, file.stored_sha256), \
                          stored_blake3 = COALESCE(excluded.stored_blake3, file.stored_blake3), \
                          stored_size = COALESCE(excluded.stored_size, file.stored_size), \
                          inspection = COALESCE(excluded.inspection, file.inspection), \
                          admitted = CASE WHEN excluded.admitted = 1 THEN 1 \
                          WHEN excluded.stored_sha256 = file.stored_sha256 THEN file.admitted ELSE 0 END \
                          WHERE file.path = excluded.path RETURNING id");
        let blob = file.blob.as_ref();
        let upsert = upsert.bind(repository.0).bind(revision.0).bind(file.path.as_str().to_owned());
        let upsert =
            upsert.bind(collision).bind(file.registry.as_str().to_owned()).bind(file.url.to_string());
        let upsert =
            upsert.bind(file.size.map(|size| size as i64)).bind(file.sha256.map(|sha256| sha256.to_string()));
        let upsert = upsert.bind(json(&file.attributes)?).bind(blob.map(|blob| blob.sha256.to_string()));
        let upsert =
            upsert.bind(blob.map(|blob| blob.blake3.to_string())).bind(blob.map(|blob| blob.size as i64));
        let upsert = upsert.bind(file.inspection.as_ref().map(json).transpose()?).bind(i64::from(admit));
        let Some(row) = self.optional(upsert).await? else { return Ok(()) };
        let id = row.int("id")?;
        if blob.is_none() {
            return Ok(());
        }
        self.execute(sql("DELETE FROM derived WHERE file = $1").bind(id)).await?;
        for (path, derived) in &file.derived {
            let insert =
                sql("INSERT INTO derived (file, path, sha256, blake3, size) VALUES ($1, $2, $3, $4, $5)");
            let insert = insert.bind(id).bind(path.as_str().to_owned()).bind(derived.sha256.to_string());
            self.execute(insert.bind(derived.blake3.to_string()).bind(derived.size as i64)).await?;
        }
        let Some(blob) = blob else { return Ok(()) };
        for said in &file.verdicts {
            let put =
                sql("INSERT INTO verdict (sha256, scanner, rules, verdict, at) VALUES ($1, $2, $3, $4, $5) \
                           ON CONFLICT (sha256, scanner, rules) DO NOTHING");
            let put = put.bind(blob.sha256.to_string()).bind(plain(&said.scanner)).bind(plain(&said.rules));
            self.execute(put.bind(json(&said.verdict)?).bind(said.at.as_micros())).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::is_allowed;

    #[test]
    fn every_way_is_in_the_table_and_ends_where_it_should() {
        for reception in [Reception::Admit, Reception::Judge, Reception::Ask] {
            for theirs in Status::ALL {
                for ours in Status::ALL {
                    let mut at = ours;
                    for to in steps(theirs, ours, reception) {
                        assert!(is_allowed(at, to), "{theirs} {ours}: {at} -> {to}");
                        at = to;
                    }
                    if at == Status::Available && ours != Status::Available {
                        assert_eq!((theirs, reception), (Status::Available, Reception::Admit));
                    }
                    if matches!(ours, Status::Rejected | Status::Blocked) {
                        assert_eq!(at, ours, "what was decided here stays");
                    }
                }
            }
        }
    }
}
