//! Rows that cross the gap: which there are to send, and which of what is carried may be served.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::{
    Catalog, RepositoryId,
    rows::{BATCH, Columns as _, built, list, sql},
};
use crate::{
    clock::Timestamp, digest::Sha256Digest, error::Result, lifecycle::RevisionId, name::ArtifactName,
    path::ContentPath, snapshot::Entry, store::Blob,
};

/// Rows of two numbers that are read at a time.
const MANY: i64 = 10_000;
/// In the order of the index, so that no row is looked at again for the next ones.
const CHANGED: &str = "SELECT id, changed_at FROM revision WHERE repository = $1 AND (changed_at, id) > ($2, $3) \
                       ORDER BY changed_at, id LIMIT $4";

/// What is asked for of what may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// All that may be now.
    Now,
    /// Without what was decided since the last snapshot.
    Settled,
}

impl Catalog {
    /// The revisions that changed at `since` or later, in the order they became known: few bytes each, as there may be very
    /// many. What changes meanwhile is among them.
    pub(crate) async fn changed_since(
        &self,
        repository: RepositoryId,
        since: Timestamp,
    ) -> Result<Vec<RevisionId>> {
        self.changed_by(repository, since, MANY).await
    }

    async fn changed_by(
        &self,
        repository: RepositoryId,
        since: Timestamp,
        many: i64,
    ) -> Result<Vec<RevisionId>> {
        let (mut ids, mut at, mut id) = (Vec::new(), since.as_micros(), 0);
        loop {
            let query = sql(CHANGED).bind(repository.0).bind(at).bind(id).bind(many);
            let rows = self.all("list changed revisions", query).await?;
            let Some(last) = rows.last() else { break };
            (at, id) = (last.int("changed_at")?, last.int("id")?);
            for row in &rows {
                ids.push(RevisionId(row.int("id")?));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use serde_json::json;

    use super::*;
    use crate::{
        catalog::CatalogOptions,
        clock::Clock,
        ecosystem::{Cursor, DiscoveredArtifact, DiscoveredFile, Registry, RepositoryConfig},
        name::Actor,
    };

    fn found(artifact: &str, revisions: usize) -> DiscoveredArtifact {
        let file = |number| DiscoveredFile {
            revision: format!("{number}.0").parse().unwrap(),
            path: format!("{artifact}/{number}").parse().unwrap(),
            url: format!("http://127.0.0.1:9/{artifact}/{number}").parse().unwrap(),
            size: Some(1),
            sha256: None,
            attributes: BTreeMap::new(),
            bytes: None,
        };
        DiscoveredArtifact {
            artifact: artifact.parse().unwrap(),
            cursor: Cursor::default(),
            attributes: BTreeMap::new(),
            quarantined: None,
            files: (0..revisions).map(file).collect(),
            skipped: Vec::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_changed_is_listed_once_and_looked_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let clock = Clock::manual(Timestamp::now());
        let options = CatalogOptions { clock: clock.clone(), ..CatalogOptions::default() };
        let catalog = Catalog::open(&url, options).await.unwrap();
        let (actor, upstream): (Actor, _) = ("ann".parse().unwrap(), "upstream".parse().unwrap());
        let registry = Registry {
            name: "upstream".parse().unwrap(),
            ecosystem: "toy".parse().unwrap(),
            url: Some("http://127.0.0.1:9/".parse().unwrap()),
            allowed_hosts: Vec::new(),
            options: BTreeMap::new(),
        };
        catalog.put_registry(&registry, &actor).await.unwrap();
        let config = json!({ "name": "tools", "ecosystem": "toy", "registries": ["upstream"] });
        let config: RepositoryConfig = serde_json::from_value(config).unwrap();
        catalog.put_repository(&config, &actor).await.unwrap();
        let id = catalog.repository(&config.name).await.unwrap().id;
        // Many in one moment, and some later.
        catalog.record_discovery(id, &upstream, &found("hammer", 7), &actor).await.unwrap();
        clock.advance(Duration::from_hours(1));
        let later = clock.now();
        catalog.record_discovery(id, &upstream, &found("nail", 5), &actor).await.unwrap();
        for many in [1, 2, 3, 100] {
            let all = catalog.changed_by(id, Timestamp::from_micros(0), many).await.unwrap();
            assert!(all.len() == 12 && all.is_sorted_by(|a, b| a < b), "{many}: {all:?}");
            assert_eq!(catalog.changed_by(id, later, many).await.unwrap(), all[7..], "{many}");
        }
        let explained =
            built(format!("EXPLAIN QUERY PLAN {CHANGED}")).bind(id.0).bind(0_i64).bind(0_i64).bind(MANY);
        for step in catalog.all("explain a query", explained).await.unwrap() {
            let step = step.text("detail").unwrap();
            assert!(step.contains("revision_by_change"), "it sorts, or reads everything: {step}");
        }
    }
}
