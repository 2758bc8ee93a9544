//! Recording what registries offer whose indexes are documents of many artifacts.
//!
//! What several registries, and several parts (indexes) of one registry, say of a file adds up: the file stays while
//! one of them offers it, and its facts are what they say together. An index is recorded again in full whenever it
//! changed; a digest of each claim tells without reading more that most of it did not.

mod claims;
mod known;
mod withdraw;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json as object};
use sqlx::any::AnyRow;

use self::claims::{Item, Light, items, light, merged, offer};
use super::{
    Alarm, Catalog, DiscoveryOutcome, RepositoryId,
    discovery::{Known, colliding, contradiction, known},
    rows::{BATCH, Columns as _, built, json, list, plain, sql},
    write::Write,
};
use crate::{
    ecosystem::{Cursor, DiscoveredArtifact},
    error::Result,
    lifecycle::{RevisionId, Status},
    name::{Actor, ArtifactName, RegistryName},
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
pub struct Seen {
    files: HashSet<i64>,
    /// What is here of a file is forgotten where the part says that it has other bytes now.
    replaces: bool,
}

impl Seen {
    /// Nothing yet. With `replaces`, other bytes than are here are an alarm and are taken all the same, where one
    /// registry alone offers the file: see
    /// [`Ecosystem::replaces_bytes`](crate::ecosystem::Ecosystem::replaces_bytes).
    #[must_use]
    pub fn new(replaces: bool) -> Self {
        Self { files: HashSet::new(), replaces }
    }
}

impl Catalog {
    /// Records units of one part in one transaction; `seen` collects the files, for [`end_part`](Self::end_part).
    /// `stored` are the files whose bytes are in the store already. What has a cursor or facts of its own (a
    /// suite) is taken over as by [`record_discoveries`](Self::record_discoveries).
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
        let withdrawn = write.withdraw(repository, part, &seen.files).await?;
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
                    } else if !seen.files.insert(known.id) {
                        // The same claim twice in one index says nothing new.
                    }
                }
            }
        }
        outcome.changed = self.update(repository, part, &differing, seen, &mut alarms).await?;
        let own = found.iter().filter(|found| has_own_facts(found)).map(|found| &found.artifact);
        let artifacts =
            self.artifact_ids(repository, new.iter().map(|item| item.artifact).chain(own)).await?;
        outcome.new_files = self.insert_offered(repository, part, &artifacts, &new, seen, actor).await?;
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
                if !seen.files.insert(light.id) {
                    continue;
                }
                let known = known(row)?;
                let other = row.text("artifact")? != item.artifact.as_str() || known.path != item.file.path;
                let alarm = if other {
                    Some(colliding(&item.file.path, &known.path))
                } else if known.was_never_here() && light.is_of_registry(&part.registry) {
                    // Nobody has relied on what was said before, and whoever said it takes it back.
                    None
                } else {
                    contradiction(&known, item.file)
                };
                if let Some(alarm) = alarm {
                    let replaces = seen.replaces && !other && light.is_of_registry(&part.registry);
                    let is_replaced = replaces && alarm.rule != "changed-revision";
                    alarms.push((item.artifact.clone(), alarm));
                    if !is_replaced {
                        continue;
                    }
                    self.forget_bytes(repository, &known, light.id).await?;
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

    /// Nothing of a file is here any more, so that the next sync brings what it is now.
    async fn forget_bytes(&mut self, repository: RepositoryId, known: &Known, id: i64) -> Result<()> {
        let forget = sql("UPDATE file SET stored_sha256 = NULL, stored_blake3 = NULL, stored_size = NULL, \
                          inspection = NULL, admitted = 0 WHERE id = $1");
        self.execute(forget.bind(id)).await?;
        if known.available {
            self.mark_dirty(repository, known.revision_id).await?;
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
}

fn has_own_facts(found: &DiscoveredArtifact) -> bool {
    !found.cursor.0.is_empty() || !found.attributes.is_empty() || found.quarantined.is_some()
}
