//! Taking in the rows that a bundle tells: many revisions in one transaction, a few statements for each.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::json as object;

use super::{
    Catalog, Fence, FileId, RepositoryId,
    rows::{BATCH, Columns as _, WIDE, built, json, list, plain, sql, tuples},
    told::{approval_line, history_line},
    write::{Marks, Write},
};
use crate::{
    bundle::{CarriedApproval, CarriedArtifact, CarriedFile, CarriedRevision, CarriedVerdict},
    digest::Sha256Digest,
    error::{Error, Result},
    lifecycle::{HistoryEntry, Revision, RevisionId, Status, Transition},
    name::{Actor, ArtifactName, RevisionName},
    path::ContentPath,
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

/// A revision after it was taken in.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) revision: Revision,
    /// Whether its status changed.
    pub(crate) changed: bool,
    /// Whether all of its bytes are those of what was refused here: then a person decides.
    pub(crate) is_alias: bool,
    /// Files that stay with a revision that was refused here, in words.
    pub(crate) kept: Vec<String>,
}

impl Taken {
    fn untouched(revision: Revision) -> Self {
        Self { revision, changed: false, is_alias: false, kept: Vec::new() }
    }
}

impl Catalog {
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
    /// stays so: no bundle takes a file away from it, and the same bytes under another name wait for a person. What the
    /// sender rejected or blocked stops being served here too. Doing it twice changes nothing,
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
            return Ok(told.into_iter().map(Taken::untouched).collect());
        }
        let mut write = self.fenced_relaxed("receive revisions", fence).await?;
        write.marks = Marks::Leaving;
        let mut taken = Vec::with_capacity(revisions.len());
        let mut rows = Rows::default();
        let refused = write.refused_bytes(repository, revisions).await?;
        let (mut revisions_written, mut files_written) = (0, 0);
        for ((carried, files), told) in revisions.iter().zip(told) {
            if let Some(revision) = told {
                taken.push(Taken::untouched(revision));
                continue;
            }
            let is_alias = reception == Reception::Admit && is_all_among(files, &refused);
            let reception = if is_alias { Reception::Ask } else { reception };
            (revisions_written, files_written) = (revisions_written + 1, files_written + files.len());
            let (now, is_new) =
                write.received_revision(repository, carried, &mut rows.artifacts, actor).await?;
            // Large revisions come in parts, and where one stands is written behind them all.
            let now = rows.standing.get(&now.id).cloned().unwrap_or(now);
            let history = write.new_history(now.id, &carried.history, is_new).await?;
            rows.history.extend(history.into_iter().map(|entry| (now.id, entry)));
            write.receive_approvals(now.id, &carried.approvals).await?;
            let admit = reception == Reception::Admit
                && carried.status == Status::Available
                && !now.status.is_refused();
            let mut kept = Vec::new();
            for file in files {
                let id = write.receive_file(repository, now.id, file, admit && file.admitted).await?;
                if id.is_none() {
                    kept.extend(write.kept_file(repository, &file.path).await?);
                }
                if let (Some(id), Some(blob)) = (id, &file.blob) {
                    rows.derived.insert(id, &file.derived);
                    rows.verdicts.extend(file.verdicts.iter().map(|said| (blob.sha256, said)));
                }
            }
            // Clients are told why, in the words of who refused it.
            let theirs = carried.history.last().map_or(reason, |entry| entry.reason.as_str());
            let steps = steps(carried.status, now.status, reception);
            let changed = !steps.is_empty();
            let now = rows.lead(now, steps, |to| Transition {
                revision: RevisionId(0),
                from: to,
                attempt: 0,
                to,
                actor: actor.clone(),
                reason: if to.is_refused() { theirs } else { reason }.to_owned(),
            });
            taken.push(Taken { changed, revision: now, is_alias, kept });
        }
        for revision in write.receive_rows(&rows).await? {
            for taken in taken.iter_mut().filter(|taken| taken.revision.id == revision.id) {
                taken.revision = revision.clone();
            }
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
}

/// What is written for all revisions of a batch at once.
#[derive(Debug, Default)]
struct Rows<'a> {
    artifacts: HashMap<ArtifactName, i64>,
    history: Vec<(RevisionId, &'a HistoryEntry)>,
    derived: BTreeMap<FileId, &'a [(ContentPath, Blob)]>,
    verdicts: Vec<(Sha256Digest, &'a CarriedVerdict)>,
    changes: Vec<Transition>,
    /// Where revisions will stand.
    standing: HashMap<RevisionId, Revision>,
}

impl Rows<'_> {
    /// Adds changes of status, each from where the one before leaves the revision, which is given back as it will be.
    fn lead(
        &mut self,
        mut now: Revision,
        steps: Vec<Status>,
        change: impl Fn(Status) -> Transition,
    ) -> Revision {
        for to in steps {
            let (revision, from, attempt) = (now.id, now.status, now.attempt);
            self.changes.push(Transition { revision, from, attempt, ..change(to) });
            // A new attempt, as the catalog counts them.
            now.attempt += i64::from((from, to) == (Status::Failed, Status::Pulling));
            now.status = to;
        }
        self.standing.insert(now.id, now.clone());
        now
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

/// Whether a revision has bytes, and no others than these.
fn is_all_among(files: &[CarriedFile], refused: &HashSet<Sha256Digest>) -> bool {
    let mut digests = files.iter().filter_map(|file| Some(file.blob?.sha256)).peekable();
    digests.peek().is_some() && digests.all(|sha256| refused.contains(&sha256))
}

impl Write {
    /// The revision as it is here, made when it is new, and whether it is.
    async fn received_revision(
        &mut self,
        repository: RepositoryId,
        carried: &CarriedRevision,
        artifacts: &mut HashMap<ArtifactName, i64>,
        actor: &Actor,
    ) -> Result<(Revision, bool)> {
        let (name, revision) = (&carried.artifact, &carried.revision);
        let artifact = match artifacts.get(name) {
            Some(&artifact) => artifact,
            None => self.artifact_id(repository, name).await?,
        };
        artifacts.insert(name.clone(), artifact);
        if let Some(known) = self.revision_of(artifact, name, revision).await? {
            return Ok((known, false));
        }
        let names: [&RevisionName; 1] = [revision];
        let made = self.insert_revisions(repository, artifact, &names, actor).await?;
        let (id, _) = made.into_iter().next().ok_or_else(|| Error::not_found("revision", revision))?;
        let (artifact, revision) = (name.clone(), revision.clone());
        let (status, changed_at) = (Status::Scanned, self.now());
        Ok((Revision { id, repository, artifact, revision, status, attempt: 0, changed_at }, true))
    }

    /// Writes what was gathered of a batch; the revisions whose status changed, as they are then.
    async fn receive_rows(&mut self, rows: &Rows<'_>) -> Result<Vec<Revision>> {
        for part in rows.history.chunks(WIDE) {
            let mut insert = built(format!(
                "INSERT INTO history (revision, at, actor, from_status, to_status, attempt, reason) VALUES {}",
                tuples(part.len(), 7)
            ));
            for (revision, entry) in part {
                insert = insert.bind(revision.0).bind(entry.at.as_micros()).bind(entry.actor.to_string());
                insert = insert.bind(entry.from.map(Status::as_str)).bind(entry.to.as_str());
                insert = insert.bind(entry.attempt).bind(plain(&entry.reason));
            }
            self.execute(insert).await?;
        }
        let files: Vec<FileId> = rows.derived.keys().copied().collect();
        self.forget_derived(&files).await?;
        let derived =
            rows.derived.iter().flat_map(|(file, derived)| derived.iter().map(move |one| (*file, one)));
        let derived: Vec<_> = derived.map(|(file, (path, blob))| (file, path, blob)).collect();
        self.insert_derived(&derived).await?;
        for part in rows.verdicts.chunks(WIDE) {
            let mut put = built(format!(
                "INSERT INTO verdict (sha256, scanner, rules, verdict, at) VALUES {} \
                 ON CONFLICT (sha256, scanner, rules) DO NOTHING",
                tuples(part.len(), 5)
            ));
            for (sha256, said) in part {
                put = put.bind(sha256.to_string()).bind(plain(&said.scanner)).bind(plain(&said.rules));
                put = put.bind(json(&said.verdict)?).bind(said.at.as_micros());
            }
            self.execute(put).await?;
        }
        if rows.changes.is_empty() { Ok(Vec::new()) } else { self.change_statuses(&rows.changes).await }
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

    /// The lines that are not here yet; they keep their own times and actors.
    async fn new_history<'a>(
        &mut self,
        revision: RevisionId,
        carried: &'a [HistoryEntry],
        is_new: bool,
    ) -> Result<Vec<&'a HistoryEntry>> {
        let mut known = BTreeSet::new();
        if !is_new && !carried.is_empty() {
            let query = sql("SELECT at, actor, to_status, attempt, reason FROM history WHERE revision = $1");
            for row in self.all(query.bind(revision.0)).await? {
                known.insert(history_line(&row)?);
            }
        }
        let line = |entry: &HistoryEntry| {
            let (at, to) = (entry.at.as_micros(), entry.to.as_str().to_owned());
            (at, entry.actor.to_string(), to, entry.attempt, plain(&entry.reason))
        };
        Ok(carried.iter().filter(|entry| known.insert(line(entry))).collect())
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

    /// Those of the bytes that are told which files of rejected and blocked revisions have here, and none that is
    /// AVAILABLE.
    async fn refused_bytes(
        &mut self,
        repository: RepositoryId,
        revisions: &[(CarriedRevision, Vec<CarriedFile>)],
    ) -> Result<HashSet<Sha256Digest>> {
        let mut refused = HashSet::new();
        let any = sql(
            "SELECT id FROM revision WHERE repository = $1 AND status IN ('REJECTED', 'BLOCKED') LIMIT 1",
        );
        if self.optional(any.bind(repository.0)).await?.is_none() {
            return Ok(refused);
        }
        let told: BTreeSet<Sha256Digest> = revisions
            .iter()
            .flat_map(|(_, files)| files)
            .filter_map(|file| Some(file.blob?.sha256))
            .collect();
        let told: Vec<Sha256Digest> = told.into_iter().collect();
        for part in told.chunks(BATCH) {
            let query = built(format!(
                "SELECT DISTINCT f.stored_sha256 AS sha256 FROM file f JOIN revision r ON r.id = f.revision \
                 WHERE f.repository = $1 AND r.status IN ('REJECTED', 'BLOCKED') AND f.stored_sha256 IN ({}) \
                 AND NOT EXISTS (SELECT 1 FROM file g JOIN revision s ON s.id = g.revision \
                 WHERE g.repository = $1 AND g.stored_sha256 = f.stored_sha256 AND g.admitted = 1 \
                 AND s.status = 'AVAILABLE')",
                list(2, part.len())
            ));
            let query = query.bind(repository.0);
            for row in self.all(part.iter().fold(query, |query, told| query.bind(told.to_string()))).await? {
                refused.insert(row.parsed("sha256")?);
            }
        }
        Ok(refused)
    }

    /// Why a file was not taken over, where that is because of what was refused here.
    async fn kept_file(&mut self, repository: RepositoryId, path: &ContentPath) -> Result<Option<String>> {
        let query = sql("SELECT a.name AS artifact, r.name AS name, r.status AS status FROM file f \
                         JOIN revision r ON r.id = f.revision JOIN artifact a ON a.id = r.artifact \
                         WHERE f.repository = $1 AND f.path = $2 AND r.status IN ('REJECTED', 'BLOCKED')");
        let row = self.optional(query.bind(repository.0).bind(path.as_str().to_owned())).await?;
        row.map(|row| {
            let (artifact, name, status) = (row.text("artifact")?, row.text("name")?, row.text("status")?);
            Ok(format!("`{path}` stays with `{artifact}@{name}`, which is {status} here"))
        })
        .transpose()
    }

    /// A file whose bytes are not here is known only as what its registry says of it. `None` where its path is another's
    /// but for case, or that of a revision that was refused here: who takes its file away would have it served again.
    async fn receive_file(
        &mut self,
        repository: RepositoryId,
        revision: RevisionId,
        file: &CarriedFile,
        admit: bool,
    ) -> Result<Option<FileId>> {
        let collision = Sha256Digest::of(file.path.collision_key().as_bytes()).to_string();
        let upsert = sql(
            "INSERT INTO file (repository, revision, path, collision, registry, url, size, sha256, \
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
                          WHERE file.path = excluded.path AND (file.revision = excluded.revision OR NOT EXISTS \
                          (SELECT 1 FROM revision r WHERE r.id = file.revision \
                          AND r.status IN ('REJECTED', 'BLOCKED'))) RETURNING id",
        );
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
        let row = self.optional(upsert).await?;
        row.map(|row| Ok(FileId(row.int("id")?))).transpose()
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
                    if ours.is_refused() {
                        assert_eq!(at, ours, "what was decided here stays");
                    }
                }
            }
        }
    }
}
