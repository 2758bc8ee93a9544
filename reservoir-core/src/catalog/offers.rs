//! Recording what registries offer whose indexes are documents of many artifacts.
//!
//! What several registries, and several parts (indexes) of one registry, say of a file adds up: the file stays while
//! one of them offers it, and its facts are what they say together. An index is recorded again in full whenever it
//! changed; a digest of each claim tells without reading more that most of it did not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json as object};
use sqlx::any::AnyRow;

use super::{
    Alarm, Catalog, DiscoveryOutcome, RepositoryId,
    discovery::{bind_claims, colliding, collision, contradiction, known},
    rows::{BATCH, Columns as _, built, json, list, plain, sql, tuples},
    write::Write,
};
use crate::{
    digest::Sha256Digest,
    ecosystem::{Cursor, DiscoveredArtifact, DiscoveredFile},
    error::{Error, Result},
    lifecycle::{RevisionId, Status},
    name::{Actor, ArtifactName, RegistryName, RevisionName},
    path::ContentPath,
    store::Blob,
};

/// Who offers: a registry, and which of its indexes. The empty part stands for what is in none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The registry.
    pub registry: RegistryName,
    /// The index, in the format's own words.
    pub name: String,
}

impl Part {
    /// As one text; names of registries have no space.
    fn key(&self) -> String {
        format!("{} {}", self.registry, self.name)
    }
}

/// The files of one part that were reported in this pass. Eight bytes a file.
#[derive(Debug, Default)]
pub struct Seen(HashSet<i64>);

/// What one part says of a file, where several say something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Offer {
    url: String,
    claim: String,
    attributes: BTreeMap<String, Value>,
}

/// What all parts say of a file, by the key of the part.
type Offers = BTreeMap<String, Offer>;

/// One file of a batch.
struct Item<'f> {
    artifact: &'f ArtifactName,
    file: &'f DiscoveredFile,
    collision: String,
    claim: String,
}

/// What tells whether a known file has to be looked at.
struct Light {
    id: i64,
    part: String,
    registry: String,
    claim: Option<String>,
    offers: Option<Offers>,
    gone: bool,
}

impl Catalog {
    /// Records units of one part in one transaction; `seen` collects the files, for [`end_part`](Self::end_part).
    /// `stored` are the files whose bytes are in the store already. What has a cursor or facts of its own (a
    /// suite) is taken over as by [`record_discovery`](Self::record_discovery).
    pub async fn record_offers(
        &self,
        repository: RepositoryId,
        part: &Part,
        found: &[DiscoveredArtifact],
        stored: &HashMap<ContentPath, Blob>,
        seen: &mut Seen,
        actor: &Actor,
    ) -> Result<DiscoveryOutcome> {
        let mut write = self.write("record offers").await?;
        let outcome = write.record_offers(repository, part, found, seen, actor).await?;
        for (path, blob) in stored {
            write.store_inline(repository, path, blob).await?;
        }
        write.commit().await?;
        Ok(outcome)
    }

    /// All of a part was reported: its other files are gone from it. Returns how many.
    pub async fn end_part(
        &self,
        repository: RepositoryId,
        part: &Part,
        seen: &Seen,
        actor: &Actor,
    ) -> Result<u64> {
        let mut write = self.write("end a part").await?;
        let withdrawn = write.withdraw(repository, part, &seen.0).await?;
        if withdrawn > 0 {
            let detail = object!({ "repository": repository, "part": part.name, "removed": withdrawn });
            write.audit(actor, "part.withdraw", part.registry.as_str(), &detail).await?;
        }
        write.commit().await?;
        Ok(withdrawn)
    }

    /// Withdraws what parts of a registry offered that are none of `parts` any more. Returns how many files.
    pub async fn keep_parts(
        &self,
        repository: RepositoryId,
        registry: &RegistryName,
        parts: &BTreeSet<String>,
        actor: &Actor,
    ) -> Result<u64> {
        let query = sql("SELECT DISTINCT part FROM file WHERE repository = $1 AND registry = $2 \
                         AND gone_at IS NULL");
        let rows = self.all("list parts", query.bind(repository.0).bind(registry.as_str())).await?;
        let mut withdrawn = 0;
        for row in &rows {
            let name = row.text("part")?;
            if !parts.contains(&name) {
                let part = Part { registry: registry.clone(), name };
                withdrawn += self.end_part(repository, &part, &Seen::default(), actor).await?;
            }
        }
        Ok(withdrawn)
    }

    /// What a registry's part of the cursor of an artifact says.
    pub async fn cursor_of(
        &self,
        repository: RepositoryId,
        registry: &RegistryName,
        artifact: &ArtifactName,
    ) -> Result<Option<Cursor>> {
        let cursor = self.cursor(repository, artifact).await?.unwrap_or_default();
        let prefix = prefix(registry);
        let own = cursor
            .0
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value)));
        let own: BTreeMap<String, String> = own.collect();
        Ok((!own.is_empty()).then_some(Cursor(own)))
    }
}

/// Before the keys of a registry in a cursor that several share.
fn prefix(registry: &RegistryName) -> String {
    format!("{registry} ")
}

impl Write {
    async fn record_offers(
        &mut self,
        repository: RepositoryId,
        part: &Part,
        found: &[DiscoveredArtifact],
        seen: &mut Seen,
        actor: &Actor,
    ) -> Result<DiscoveryOutcome> {
        let mut outcome = DiscoveryOutcome::default();
        let items = items(found, &mut outcome.alarms)?;
        let mut alarms: Vec<(ArtifactName, Alarm)> = Vec::new();
        let light = self.light(repository, &items).await?;
        let (mut new, mut differing) = (Vec::new(), Vec::new());
        for item in items {
            match light.get(&item.collision) {
                None => new.push(item),
                Some(known) => {
                    if !known.is_offered(part, &item.claim) {
                        differing.push((item, known));
                    } else if !seen.0.insert(known.id) {
                        // The same claim twice in one index says nothing new.
                    }
                }
            }
        }
        outcome.changed = self.update(repository, part, &differing, seen, &mut alarms).await?;
        let artifacts = self.artifact_ids(repository, found).await?;
        outcome.new_files = self.insert(repository, part, &artifacts, &new, seen, actor).await?;
        for found in found.iter().filter(|found| has_own_facts(found)) {
            self.take_facts(repository, part, artifacts[&found.artifact], found).await?;
        }
        for alarm in &outcome.alarms {
            let artifact = found.first().map(|found| found.artifact.clone());
            alarms.extend(artifact.map(|artifact| (artifact, alarm.clone())));
        }
        for (artifact, alarm) in &alarms {
            self.alarm(repository, artifact, alarm).await?;
        }
        outcome.alarms = alarms.into_iter().map(|(_, alarm)| alarm).collect();
        if outcome != DiscoveryOutcome::default() {
            let detail = object!({
                "repository": repository,
                "part": part.name,
                "artifacts": found.len(),
                "new_files": outcome.new_files,
                "changed": outcome.changed,
                "alarms": outcome.alarms.len(),
            });
            self.audit(actor, "part.discover", part.registry.as_str(), &detail).await?;
        }
        Ok(outcome)
    }

    /// The known files of a batch, by collision key.
    async fn light(
        &mut self,
        repository: RepositoryId,
        items: &[Item<'_>],
    ) -> Result<HashMap<String, Light>> {
        let mut known = HashMap::with_capacity(items.len());
        for items in items.chunks(BATCH) {
            let keys = list(2, items.len());
            let query = built(format!(
                "SELECT id, collision, registry, part, claim, offers, gone_at FROM file \
                 WHERE repository = $1 AND collision IN ({keys})"
            ));
            let query =
                items.iter().fold(query.bind(repository.0), |query, item| query.bind(item.collision.clone()));
            for row in self.all(query).await? {
                known.insert(row.text("collision")?, light(&row)?);
            }
        }
        Ok(known)
    }

    /// Takes over what differs from what is known; how many files changed for readers.
    async fn update(
        &mut self,
        repository: RepositoryId,
        part: &Part,
        differing: &[(Item<'_>, &Light)],
        seen: &mut Seen,
        alarms: &mut Vec<(ArtifactName, Alarm)>,
    ) -> Result<u64> {
        let mut changed = 0;
        for differing in differing.chunks(BATCH) {
            let ids = list(1, differing.len());
            let query = built(format!(
                "SELECT f.id, f.path, f.registry, f.url, f.size, f.sha256, f.stored_size, f.attributes, \
                 f.gone_at, r.id AS revision, r.name, r.status, a.name AS artifact FROM file f \
                 JOIN revision r ON r.id = f.revision JOIN artifact a ON a.id = r.artifact WHERE f.id IN ({ids})"
            ));
            let query = differing.iter().fold(query, |query, (_, light)| query.bind(light.id));
            let rows = self.all(query).await?;
            let rows: HashMap<i64, &AnyRow> =
                rows.iter().map(|row| Ok((row.int("id")?, row))).collect::<Result<_>>()?;
            for (item, light) in differing {
                let Some(row) = rows.get(&light.id) else { continue };
                // Even what is contradicted is on offer: what was known of it stays.
                if !seen.0.insert(light.id) {
                    continue;
                }
                let known = known(row)?;
                let other = row.text("artifact")? != item.artifact.as_str() || known.path != item.file.path;
                let alarm = if other {
                    Some(colliding(&item.file.path, &known.path))
                } else {
                    contradiction(&known, item.file)
                };
                if let Some(alarm) = alarm {
                    alarms.push((item.artifact.clone(), alarm));
                    continue;
                }
                let mut offers = light.all_offers(&known.url, &known.attributes);
                offers.insert(part.key(), offer(item));
                self.put_offers(light.id, &offers, Some(item.file)).await?;
                if merged(&offers) != known.attributes {
                    changed += 1;
                    if known.available {
                        self.mark_dirty(repository, known.revision_id).await?;
                    }
                }
            }
        }
        Ok(changed)
    }

    /// Writes what all parts say of a file.
    async fn put_offers(&mut self, id: i64, offers: &Offers, claims: Option<&DiscoveredFile>) -> Result<()> {
        let Some((key, first)) = offers.first_key_value() else {
            let now = self.now().as_micros();
            let update = sql("UPDATE file SET gone_at = $1, offers = NULL WHERE id = $2");
            return self.execute(update.bind(now).bind(id)).await.map(drop);
        };
        let (registry, part) = key.split_once(' ').unwrap_or((key, ""));
        let several = if offers.len() > 1 { Some(json(offers)?) } else { None };
        let update = sql(
            "UPDATE file SET gone_at = NULL, registry = $1, part = $2, url = $3, claim = $4, offers = $5, \
                          attributes = $6, size = COALESCE($7, size), sha256 = COALESCE($8, sha256) WHERE id = $9",
        );
        let update = update.bind(registry.to_owned()).bind(part.to_owned()).bind(first.url.clone());
        let update = update.bind(first.claim.clone()).bind(several).bind(json(&merged(offers))?);
        let update = update.bind(claims.and_then(|file| file.size).map(|size| size as i64));
        let update = update.bind(claims.and_then(|file| file.sha256).map(|sha256| sha256.to_string()));
        self.execute(update.bind(id)).await.map(drop)
    }

    /// The rows of artifacts, made when they are new.
    async fn artifact_ids(
        &mut self,
        repository: RepositoryId,
        found: &[DiscoveredArtifact],
    ) -> Result<HashMap<ArtifactName, i64>> {
        let names: BTreeSet<&ArtifactName> = found.iter().map(|found| &found.artifact).collect();
        let names: Vec<&ArtifactName> = names.into_iter().collect();
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
    async fn insert(
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
                seen.0.insert(row.int("id")?);
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

    /// What a unit says of the artifact itself. The cursors of other registries stay.
    async fn take_facts(
        &mut self,
        repository: RepositoryId,
        part: &Part,
        artifact: i64,
        found: &DiscoveredArtifact,
    ) -> Result<()> {
        let row =
            self.one(sql("SELECT attributes, cursor FROM artifact WHERE id = $1").bind(artifact)).await?;
        let mut cursor: Cursor = row.decoded_or_none("cursor")?.unwrap_or_default();
        let prefix = prefix(&part.registry);
        cursor.0.retain(|key, _| !key.starts_with(&prefix));
        cursor.0.extend(found.cursor.0.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
        let update =
            sql("UPDATE artifact SET attributes = $1, cursor = $2, quarantined = $3, missing_since = NULL \
                          WHERE id = $4");
        let update = update.bind(json(&found.attributes)?).bind(json(&cursor)?);
        self.execute(update.bind(found.quarantined.as_deref().map(plain)).bind(artifact)).await?;
        let before: BTreeMap<String, Value> = row.decoded("attributes")?;
        if before != found.attributes || found.quarantined.is_some() {
            let query = sql("SELECT id FROM revision WHERE artifact = $1 AND status = $2");
            for row in self.all(query.bind(artifact).bind(Status::Available.as_str())).await? {
                self.mark_dirty(repository, RevisionId(row.int("id")?)).await?;
            }
        }
        Ok(())
    }

    /// Withdraws the offers of a part but those that were seen; how many.
    async fn withdraw(&mut self, repository: RepositoryId, part: &Part, seen: &HashSet<i64>) -> Result<u64> {
        let (now, key) = (self.now().as_micros(), part.key());
        let alone = sql("SELECT id FROM file WHERE repository = $1 AND registry = $2 AND part = $3 \
                         AND gone_at IS NULL AND offers IS NULL");
        let alone = alone.bind(repository.0).bind(part.registry.to_string()).bind(part.name.clone());
        let mut gone = Vec::new();
        for row in self.all(alone).await? {
            let id = row.int("id")?;
            if !seen.contains(&id) {
                gone.push(id);
            }
        }
        for ids in gone.chunks(BATCH) {
            let update = built(format!("UPDATE file SET gone_at = $1 WHERE id IN ({})", list(2, ids.len())));
            self.execute(ids.iter().fold(update.bind(now), |update, id| update.bind(*id))).await?;
        }
        let shared = sql("SELECT f.id, f.offers, f.attributes, r.id AS revision, r.status FROM file f \
                          JOIN revision r ON r.id = f.revision \
                          WHERE f.repository = $1 AND f.offers IS NOT NULL AND f.offers LIKE $2");
        // A superset: `_` is a wildcard.
        let shared = self.all(shared.bind(repository.0).bind(format!("%{key}%"))).await?;
        let mut withdrawn = gone.len() as u64;
        for row in &shared {
            let id = row.int("id")?;
            let mut offers: Offers = row.decoded("offers")?;
            if seen.contains(&id) || offers.remove(&key).is_none() {
                continue;
            }
            withdrawn += 1;
            self.put_offers(id, &offers, None).await?;
            let before: BTreeMap<String, Value> = row.decoded("attributes")?;
            if before != merged(&offers) && row.parsed::<Status>("status")? == Status::Available {
                self.mark_dirty(repository, RevisionId(row.int("revision")?)).await?;
            }
        }
        Ok(withdrawn)
    }
}

/// The files of a batch, each path once.
fn items<'f>(found: &'f [DiscoveredArtifact], alarms: &mut Vec<Alarm>) -> Result<Vec<Item<'f>>> {
    let mut items: Vec<Item<'f>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for found in found {
        for file in &found.files {
            let collision = collision(&file.path);
            if let Some(&index) = places.get(&collision) {
                let first: &Item<'_> = &items[index];
                if first.file != file || first.artifact != &found.artifact {
                    alarms.push(colliding(&file.path, &first.file.path));
                }
                continue;
            }
            places.insert(collision.clone(), items.len());
            items.push(Item { artifact: &found.artifact, file, collision, claim: claim(file)? });
        }
    }
    Ok(items)
}

/// Everything that is said of a file, as one digest.
fn claim(file: &DiscoveredFile) -> Result<String> {
    let text = json(&(&file.revision, &file.path, &file.url, file.size, file.sha256, &file.attributes))?;
    Ok(Sha256Digest::of(text.as_bytes()).to_string())
}

fn offer(item: &Item<'_>) -> Offer {
    Offer {
        url: item.file.url.to_string(),
        claim: item.claim.clone(),
        attributes: item.file.attributes.clone(),
    }
}

/// What all say together: the first to say something is right, objects are joined key by key.
fn merged(offers: &Offers) -> BTreeMap<String, Value> {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in offers.values().flat_map(|offer| &offer.attributes) {
        match (all.get_mut(name), value) {
            (None, _) => {
                all.insert(name.clone(), value.clone());
            }
            (Some(Value::Object(known)), Value::Object(more)) => {
                for (key, value) in more {
                    if !known.contains_key(key) {
                        known.insert(key.clone(), value.clone());
                    }
                }
            }
            (Some(_), _) => {}
        }
    }
    all
}

fn has_own_facts(found: &DiscoveredArtifact) -> bool {
    !found.cursor.0.is_empty() || !found.attributes.is_empty() || found.quarantined.is_some()
}

fn light(row: &AnyRow) -> Result<Light> {
    Ok(Light {
        id: row.int("id")?,
        registry: row.text("registry")?,
        part: row.text("part")?,
        claim: row.text_or_none("claim")?,
        offers: row.decoded_or_none("offers")?,
        gone: row.int_or_none("gone_at")?.is_some(),
    })
}

impl Light {
    /// Whether the part is known to say exactly this.
    fn is_offered(&self, part: &Part, claim: &str) -> bool {
        if self.gone {
            return false;
        }
        match &self.offers {
            Some(offers) => offers.get(&part.key()).is_some_and(|offer| offer.claim == claim),
            None => {
                self.claim.as_deref() == Some(claim)
                    && self.part == part.name
                    && self.registry == part.registry.as_str()
            }
        }
    }

    /// What is said of the file so far; nothing where nobody offers it, or where it did not come from an index.
    fn all_offers(&self, url: &str, attributes: &BTreeMap<String, Value>) -> Offers {
        match (&self.offers, &self.claim) {
            _ if self.gone => Offers::new(),
            (Some(offers), _) => offers.clone(),
            (None, Some(claim)) => {
                let key = format!("{} {}", self.registry, self.part);
                let (url, claim, attributes) = (url.to_owned(), claim.clone(), attributes.clone());
                Offers::from([(key, Offer { url, claim, attributes })])
            }
            (None, None) => Offers::new(),
        }
    }
}
