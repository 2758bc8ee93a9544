//! Artifacts, revisions and files that become known, many at a time.

use std::collections::{BTreeSet, HashMap};

use super::{Part, Seen, claims::Item};
use crate::{
    catalog::{
        RepositoryId,
        discovery::bind_claims,
        rows::{BATCH, Columns as _, built, list, tuples},
        write::Write,
    },
    error::{Error, Result},
    lifecycle::Status,
    name::{Actor, ArtifactName, RevisionName},
};

impl Write {
    /// The rows of artifacts, made when they are new.
    pub(super) async fn artifact_ids(
        &mut self,
        repository: RepositoryId,
        names: impl Iterator<Item = &ArtifactName>,
    ) -> Result<HashMap<ArtifactName, i64>> {
        let names: Vec<&ArtifactName> = names.collect::<BTreeSet<_>>().into_iter().collect();
        let mut ids = HashMap::with_capacity(names.len());
        for names in names.chunks(BATCH) {
            let keys = list(2, names.len());
            let query =
                built(format!("SELECT id, name FROM artifact WHERE repository = $1 AND name IN ({keys})"));
            let query =
                names.iter().fold(query.bind(repository.0), |query, name| query.bind(name.to_string()));
            for row in self.all(query).await? {
                ids.insert(row.parsed("name")?, row.int("id")?);
            }
            let new: Vec<_> = names.iter().filter(|name| !ids.contains_key(**name)).collect();
            if new.is_empty() {
                continue;
            }
            let rows = tuples(new.len(), 2);
            let insert =
                built(format!("INSERT INTO artifact (repository, name) VALUES {rows} RETURNING id, name"));
            let insert =
                new.iter().fold(insert, |insert, name| insert.bind(repository.0).bind(name.to_string()));
            for row in self.all(insert).await? {
                ids.insert(row.parsed("name")?, row.int("id")?);
            }
        }
        Ok(ids)
    }

    /// Makes new files known, with their revisions; how many.
    pub(super) async fn insert_offered(
        &mut self,
        repository: RepositoryId,
        part: &Part,
        artifacts: &HashMap<ArtifactName, i64>,
        new: &[Item<'_>],
        seen: &mut Seen,
        actor: &Actor,
    ) -> Result<u64> {
        let wanted: BTreeSet<(i64, &RevisionName)> =
            new.iter().map(|item| (artifacts[item.artifact], &item.file.revision)).collect();
        let mut revisions =
            self.known_revisions(wanted.iter().map(|(artifact, _)| *artifact).collect()).await?;
        let missing: Vec<(i64, &RevisionName)> = wanted
            .into_iter()
            .filter(|(artifact, name)| !revisions.contains_key(&(*artifact, (*name).clone())))
            .collect();
        self.add_revisions(repository, &missing, &mut revisions, actor).await?;
        for items in new.chunks(BATCH) {
            let mut insert = built(format!(
                "INSERT INTO file (repository, revision, path, collision, registry, part, claim, url, size, sha256, \
                 attributes) VALUES {} RETURNING id",
                tuples(items.len(), 11)
            ));
            for item in items {
                let revision = (artifacts[item.artifact], item.file.revision.clone());
                let revision = revisions.get(&revision);
                let revision = revision.ok_or_else(|| Error::not_found("revision", &item.file.revision))?;
                insert = insert.bind(repository.0).bind(*revision).bind(item.file.path.as_str().to_owned());
                insert = insert.bind(item.collision.clone()).bind(part.registry.to_string());
                insert =
                    insert.bind(part.name.clone()).bind(item.claim.clone()).bind(item.file.url.to_string());
                insert = bind_claims(insert, item.file)?;
            }
            for row in self.all(insert).await? {
                seen.files.insert(row.int("id")?);
            }
        }
        Ok(new.len() as u64)
    }

    async fn known_revisions(
        &mut self,
        artifacts: BTreeSet<i64>,
    ) -> Result<HashMap<(i64, RevisionName), i64>> {
        let artifacts: Vec<i64> = artifacts.into_iter().collect();
        let mut known = HashMap::new();
        for artifacts in artifacts.chunks(BATCH) {
            let keys = list(1, artifacts.len());
            let query = built(format!("SELECT id, artifact, name FROM revision WHERE artifact IN ({keys})"));
            let query = artifacts.iter().fold(query, |query, artifact| query.bind(*artifact));
            for row in self.all(query).await? {
                known.insert((row.int("artifact")?, row.parsed("name")?), row.int("id")?);
            }
        }
        Ok(known)
    }

    async fn add_revisions(
        &mut self,
        repository: RepositoryId,
        missing: &[(i64, &RevisionName)],
        revisions: &mut HashMap<(i64, RevisionName), i64>,
        actor: &Actor,
    ) -> Result<()> {
        let now = self.now().as_micros();
        let scanned = Status::Scanned.as_str();
        for missing in missing.chunks(BATCH) {
            let mut insert = built(format!(
                "INSERT INTO revision (repository, artifact, name, status, attempt, changed_at) VALUES {} \
                 RETURNING id, artifact, name",
                tuples(missing.len(), 6)
            ));
            for (artifact, name) in missing {
                insert = insert.bind(repository.0).bind(*artifact).bind(name.to_string()).bind(scanned);
                insert = insert.bind(0_i64).bind(now);
            }
            let rows = self.all(insert).await?;
            let mut history = built(format!(
                "INSERT INTO history (revision, at, actor, to_status, attempt, reason) VALUES {}",
                tuples(rows.len(), 6)
            ));
            for row in &rows {
                let id = row.int("id")?;
                history = history.bind(id).bind(now).bind(actor.to_string()).bind(scanned).bind(0_i64);
                history = history.bind("became known");
                revisions.insert((row.int("artifact")?, row.parsed("name")?), id);
            }
            self.execute(history).await?;
        }
        Ok(())
    }
}
