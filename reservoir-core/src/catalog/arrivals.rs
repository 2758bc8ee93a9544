//! Many new revisions at once, each from the moment it became known to where policy put it: one transaction, a few
//! statements for hundreds of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json as object};

use super::{
    Catalog, Fence, RepositoryId,
    content::ADOPTED,
    discovery::collision,
    files::FileId,
    history::Line,
    internal::UPLOADED,
    received::ReceivedFile,
    rows::{Columns as _, Statement, WIDE, built, json, list, tuples},
    verdicts::NewVerdict,
    write::Write,
};
use crate::{
    ecosystem::Inspection,
    error::{Error, Result},
    lifecycle::{LifecycleEvent, Revision, RevisionId, Status},
    name::{Actor, ArtifactName, RevisionName},
    path::ContentPath,
    store::Blob,
};

/// A file that is stored, inspected and judged.
#[derive(Debug)]
pub(crate) struct ArrivedFile {
    pub(crate) file: ReceivedFile,
    pub(crate) inspection: Inspection,
    pub(crate) derived: Vec<(ContentPath, Blob)>,
    pub(crate) verdicts: Vec<NewVerdict>,
}

/// A revision that nobody knew, with all its files, and what policy decided.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) artifact: ArtifactName,
    pub(crate) revision: RevisionName,
    pub(crate) files: Vec<ArrivedFile>,
    /// AVAILABLE or `NEEDS_APPROVAL`.
    pub(crate) to: Status,
    pub(crate) reason: String,
}

/// The way of an arrival before policy's decision, and why.
const WAY: [(Status, Status, &str); 3] = [
    (Status::Scanned, Status::Pulling, "uploaded"),
    (Status::Pulling, Status::Pulled, "its files are here"),
    (Status::Pulled, Status::Verifying, "its files are here"),
];

impl Catalog {
    /// Records arrivals whose blobs are durable, as [`record_received`](Self::record_received), inspection, scanners
    /// and policy would one after the other, with the same history. `None` for those that have something in common
    /// with what is known already (the revision, a path, a quarantined artifact, a name that a registry offers):
    /// nothing is recorded of them.
    pub(crate) async fn take_in(
        &self,
        repository: RepositoryId,
        arrivals: &[Arrival],
        actor: &Actor,
        fence: &Fence,
    ) -> Result<Vec<Option<Revision>>> {
        let mut write = self.fenced("take in", Some(fence)).await?;
        let is_new = write.which_are_new(repository, arrivals).await?;
        let new: Vec<&Arrival> =
            arrivals.iter().zip(&is_new).filter(|(_, new)| **new).map(|(arrival, _)| arrival).collect();
        let mut made = write.make(repository, &new, actor).await?.into_iter();
        write.commit().await?;
        Ok(is_new.into_iter().map(|new| if new { made.next() } else { None }).collect())
    }
}

/// Binds texts one after the other.
fn with<'t>(statement: Statement, texts: impl IntoIterator<Item = &'t str>) -> Statement {
    texts.into_iter().fold(statement, |statement, text| statement.bind(text.to_owned()))
}

impl Write {
    async fn which_are_new(&mut self, repository: RepositoryId, arrivals: &[Arrival]) -> Result<Vec<bool>> {
        let keys: Vec<Vec<String>> = arrivals
            .iter()
            .map(|arrival| arrival.files.iter().map(|arrived| collision(&arrived.file.path)).collect())
            .collect();
        let mut taken: HashSet<String> = HashSet::new();
        let all: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
        for part in all.chunks(WIDE) {
            let text = format!(
                "SELECT collision FROM file WHERE repository = $1 AND collision IN ({})",
                list(2, part.len())
            );
            for row in self.all(with(built(text).bind(repository.0), part.iter().copied())).await? {
                taken.insert(row.text("collision")?);
            }
        }
        let names: BTreeSet<&str> = arrivals.iter().map(|arrival| arrival.artifact.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let (mut held_up, mut known) = (HashSet::new(), HashSet::new());
        for part in names.chunks(WIDE) {
            let text = format!(
                "SELECT a.name FROM artifact a WHERE a.repository = $1 AND a.name IN ({}) \
                 AND (a.quarantined IS NOT NULL OR EXISTS (SELECT 1 FROM revision r JOIN file f ON f.revision = r.id \
                 WHERE r.artifact = a.id AND f.registry NOT IN ('{UPLOADED}', '{ADOPTED}')))",
                list(2, part.len())
            );
            for row in self.all(with(built(text).bind(repository.0), part.iter().copied())).await? {
                held_up.insert(row.text("name")?);
            }
        }
        for part in arrivals.chunks(WIDE) {
            // More pairs than asked for, never fewer.
            let text = format!(
                "SELECT a.name AS artifact, r.name FROM artifact a JOIN revision r ON r.artifact = a.id \
                 WHERE a.repository = $1 AND a.name IN ({}) AND r.name IN ({})",
                list(2, part.len()),
                list(2 + part.len(), part.len())
            );
            let query =
                with(built(text).bind(repository.0), part.iter().map(|arrival| arrival.artifact.as_str()));
            for row in self.all(with(query, part.iter().map(|arrival| arrival.revision.as_str()))).await? {
                known.insert((row.text("artifact")?, row.text("name")?));
            }
        }
        let mut new = Vec::with_capacity(arrivals.len());
        for (arrival, keys) in arrivals.iter().zip(keys) {
            let name = (arrival.artifact.to_string(), arrival.revision.to_string());
            let is_new = !held_up.contains(&name.0)
                && !known.contains(&name)
                && keys.iter().collect::<HashSet<_>>().len() == keys.len()
                && !keys.iter().any(|key| taken.contains(key));
            if is_new {
                // The next of the same name is not.
                known.insert(name);
                taken.extend(keys);
            }
            new.push(is_new);
        }
        Ok(new)
    }

    async fn make(
        &mut self,
        repository: RepositoryId,
        arrivals: &[&Arrival],
        actor: &Actor,
    ) -> Result<Vec<Revision>> {
        let mut made = Vec::with_capacity(arrivals.len());
        let artifacts = self.arrived_artifacts(repository, arrivals).await?;
        let mut ids = Vec::with_capacity(arrivals.len());
        for part in arrivals.chunks(WIDE) {
            ids.append(&mut self.insert_arrived(repository, part, &artifacts).await?);
        }
        self.insert_way(arrivals, &ids, actor).await?;
        self.insert_arrived_files(repository, arrivals, &ids).await?;
        for (arrival, id) in arrivals.iter().zip(ids) {
            made.push(Revision {
                id,
                repository,
                artifact: arrival.artifact.clone(),
                revision: arrival.revision.clone(),
                status: arrival.to,
                attempt: 0,
                changed_at: self.now(),
            });
        }
        let files = arrivals.iter().flat_map(|arrival| &arrival.files);
        let verdicts: Vec<_> = files
            .flat_map(|arrived| arrived.verdicts.iter().map(|verdict| (arrived.file.blob.sha256, verdict)))
            .collect();
        self.put_verdicts(&verdicts).await?;
        let served: Vec<RevisionId> = made
            .iter()
            .filter(|revision| revision.status == Status::Available)
            .map(|revision| revision.id)
            .collect();
        if !served.is_empty() {
            self.mark_all_dirty(repository, &served).await?;
            self.touch_epoch().await?;
        }
        self.audit_arrivals(repository, arrivals, actor).await?;
        self.events.extend(
            made.iter()
                .map(|revision| LifecycleEvent { revision: revision.clone(), from: Status::Verifying }),
        );
        Ok(made)
    }

    /// The rows of all artifacts, made where they are new.
    async fn arrived_artifacts(
        &mut self,
        repository: RepositoryId,
        arrivals: &[&Arrival],
    ) -> Result<HashMap<String, i64>> {
        let mut missing: BTreeSet<&str> = arrivals.iter().map(|arrival| arrival.artifact.as_str()).collect();
        let mut ids = HashMap::with_capacity(missing.len());
        let names: Vec<&str> = missing.iter().copied().collect();
        for part in names.chunks(WIDE) {
            let text = format!(
                "SELECT id, name FROM artifact WHERE repository = $1 AND name IN ({})",
                list(2, part.len())
            );
            for row in self.all(with(built(text).bind(repository.0), part.iter().copied())).await? {
                let name = row.text("name")?;
                missing.remove(name.as_str());
                ids.insert(name, row.int("id")?);
            }
        }
        let missing: Vec<&str> = missing.into_iter().collect();
        for part in missing.chunks(WIDE) {
            let text = tuples(part.len(), 2);
            let insert =
                built(format!("INSERT INTO artifact (repository, name) VALUES {text} RETURNING id, name"));
            let insert =
                part.iter().fold(insert, |insert, name| insert.bind(repository.0).bind((*name).to_owned()));
            for row in self.all(insert).await? {
                ids.insert(row.text("name")?, row.int("id")?);
            }
        }
        Ok(ids)
    }

    /// Revisions, where they end up; their ids in the order of `arrivals`.
    async fn insert_arrived(
        &mut self,
        repository: RepositoryId,
        arrivals: &[&Arrival],
        artifacts: &HashMap<String, i64>,
    ) -> Result<Vec<RevisionId>> {
        let now = self.now().as_micros();
        let mut insert = built(format!(
            "INSERT INTO revision (repository, artifact, name, status, attempt, changed_at) VALUES {} \
             RETURNING id, artifact, name",
            tuples(arrivals.len(), 6)
        ));
        for arrival in arrivals {
            let artifact = artifacts.get(arrival.artifact.as_str()).copied().unwrap_or_default();
            insert = insert.bind(repository.0).bind(artifact).bind(arrival.revision.as_str().to_owned());
            insert = insert.bind(arrival.to.as_str()).bind(0_i64).bind(now);
        }
        let mut ids = HashMap::with_capacity(arrivals.len());
        for row in self.all(insert).await? {
            ids.insert((row.int("artifact")?, row.text("name")?), RevisionId(row.int("id")?));
        }
        arrivals
            .iter()
            .map(|arrival| {
                let artifact = artifacts.get(arrival.artifact.as_str()).copied().unwrap_or_default();
                let id = ids.get(&(artifact, arrival.revision.to_string())).copied();
                id.ok_or_else(|| Error::not_found("revision", &arrival.revision))
            })
            .collect()
    }

    /// The lines of history of each revision. A line that many have in common is one statement with few parameters.
    async fn insert_way(&mut self, arrivals: &[&Arrival], ids: &[RevisionId], actor: &Actor) -> Result<()> {
        self.insert_line(&Line::new(None, Status::Scanned, actor, "became known"), ids).await?;
        for (from, to, reason) in WAY {
            self.insert_line(&Line::new(Some(from), to, actor, reason), ids).await?;
        }
        let mut decided: BTreeMap<(Status, &str), Vec<RevisionId>> = BTreeMap::new();
        for (arrival, id) in arrivals.iter().zip(ids) {
            decided.entry((arrival.to, &arrival.reason)).or_default().push(*id);
        }
        for ((to, reason), ids) in decided {
            self.insert_line(&Line::new(Some(Status::Verifying), to, actor, reason), &ids).await?;
        }
        Ok(())
    }

    async fn insert_arrived_files(
        &mut self,
        repository: RepositoryId,
        arrivals: &[&Arrival],
        ids: &[RevisionId],
    ) -> Result<()> {
        let files: Vec<(&ArrivedFile, RevisionId, bool)> = arrivals
            .iter()
            .zip(ids)
            .flat_map(|(arrival, id)| {
                let admitted = arrival.to == Status::Available;
                arrival.files.iter().map(move |file| (file, *id, admitted))
            })
            .collect();
        let mut derived: Vec<(FileId, &ContentPath, &Blob)> = Vec::new();
        for part in files.chunks(WIDE) {
            // What all have in common, or what is there twice, is one parameter.
            let row = |first: usize| {
                let [revision, path, collision, url, size, sha256] = std::array::from_fn(|at| first + at);
                let [attributes, blake3, inspection, admitted] = std::array::from_fn(|at| first + 6 + at);
                format!(
                    "($1, ${revision}, ${path}, ${collision}, '{UPLOADED}', ${url}, ${size}, ${sha256}, \
                     ${attributes}, 1, ${sha256}, ${blake3}, ${size}, ${inspection}, ${admitted})"
                )
            };
            let rows: Vec<String> = (0..part.len()).map(|at| row(2 + at * 10)).collect();
            let mut insert = built(format!(
                "INSERT INTO file (repository, revision, path, collision, registry, url, size, sha256, attributes, \
                 wanted, stored_sha256, stored_blake3, stored_size, inspection, admitted) VALUES {} \
                 RETURNING id, collision",
                rows.join(", ")
            ));
            insert = insert.bind(repository.0);
            let mut owners = HashMap::with_capacity(part.len());
            for (arrived, revision, admitted) in part {
                let ReceivedFile { path, blob, attributes, .. } = &arrived.file;
                let collision = collision(path);
                owners.insert(collision.clone(), *arrived);
                insert = insert.bind(revision.0).bind(path.as_str().to_owned()).bind(collision);
                insert = insert.bind(arrived.file.url()).bind(blob.size as i64).bind(blob.sha256.to_string());
                insert = insert.bind(json(attributes)?).bind(blob.blake3.to_string());
                insert = insert.bind(json(&arrived.inspection)?).bind(i64::from(*admitted));
            }
            for row in self.all(insert).await? {
                let id = FileId(row.int("id")?);
                let Some(owner) = owners.get(&row.text("collision")?) else { continue };
                derived.extend(owner.derived.iter().map(|(path, blob)| (id, path, blob)));
            }
        }
        self.insert_derived(&derived).await
    }

    /// What the single steps would have written: of each, that it was received and admitted; of all together, that
    /// they went along.
    async fn audit_arrivals(
        &mut self,
        repository: RepositoryId,
        arrivals: &[&Arrival],
        actor: &Actor,
    ) -> Result<()> {
        let policy = Actor::policy();
        let mut records: Vec<(&Actor, &'static str, String, Value)> =
            Vec::with_capacity(arrivals.len() * 2 + 1);
        for arrival in arrivals {
            let subject = format!("{}@{}", arrival.artifact, arrival.revision);
            let files = arrival.files.len();
            let mut detail = object!({ "repository": repository, "files": files });
            if let [arrived] = &arrival.files[..] {
                detail["path"] = object!(arrived.file.path);
                detail["sha256"] = object!(arrived.file.blob.sha256);
            }
            records.push((actor, "revision.receive", subject.clone(), detail));
            if arrival.to == Status::Available {
                let detail = object!({ "repository": repository, "files": files });
                records.push((&policy, "revision.admit", subject, detail));
            }
        }
        if let Some(first) = arrivals.first() {
            let subject = match arrivals {
                [only] => format!("{}@{}", only.artifact, only.revision),
                _ => format!("{} revisions", arrivals.len()),
            };
            let ends = arrivals.iter().map(|arrival| arrival.to);
            let to: BTreeSet<Status> = WAY.iter().map(|(_, to, _)| *to).chain(ends).collect();
            let detail = object!({
                "repository": repository,
                "changes": arrivals.len() * (WAY.len() + 1),
                "to": to,
                "reason": first.reason,
            });
            records.push((actor, "revision.transition", subject, detail));
        }
        self.audit_all(&records).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::is_allowed;

    #[test]
    fn arrivals_go_the_way_of_the_table() {
        let mut at = Status::Scanned;
        for (from, to, _) in WAY {
            assert_eq!(from, at);
            assert!(is_allowed(from, to));
            at = to;
        }
        assert!(is_allowed(at, Status::Available) && is_allowed(at, Status::NeedsApproval));
    }
}
