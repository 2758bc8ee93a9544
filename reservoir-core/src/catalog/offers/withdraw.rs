//! What a part offers no more.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::{
    Part,
    claims::{Offers, merged},
};
use crate::{
    catalog::{
        RepositoryId,
        rows::{BATCH, Columns as _, built, json, list, sql},
        write::Write,
    },
    ecosystem::DiscoveredFile,
    error::Result,
    lifecycle::{RevisionId, Status},
};

/// A file that nobody offers any more: what was said of it is kept under one name, so that no index is made of it.
/// See [`DiscoveredFile::GONE`].
const GONE: &str =
    "gone_at = $1, offers = NULL, offered_by = NULL, attributes = '{\"gone\":' || attributes || '}'";

impl Write {
    /// Writes what all parts say of a file.
    pub(super) async fn put_offers(
        &mut self,
        id: i64,
        offers: &Offers,
        claims: Option<&DiscoveredFile>,
    ) -> Result<()> {
        let Some((key, first)) = offers.first_key_value() else {
            let now = self.now().as_micros();
            let text = format!("UPDATE file SET {GONE} WHERE id = $2");
            return self.execute(built(text).bind(now).bind(id)).await.map(drop);
        };
        let (registry, part) = key.split_once(' ').unwrap_or((key, ""));
        let several = if offers.len() > 1 { Some(json(offers)?) } else { None };
        let offered_by =
            several.is_some().then(|| offers.keys().fold("\n".to_owned(), |all, key| all + key + "\n"));
        let update = sql(
            "UPDATE file SET gone_at = NULL, registry = $1, part = $2, url = $3, claim = $4, offers = $5, \
             attributes = $6, size = COALESCE($7, size), sha256 = COALESCE($8, sha256), offered_by = $9 WHERE id = $10",
        );
        let update = update.bind(registry.to_owned()).bind(part.to_owned()).bind(first.url.clone());
        let update = update.bind(first.claim.clone()).bind(several).bind(json(&merged(offers))?);
        let update = update.bind(claims.and_then(|file| file.size).and_then(|size| i64::try_from(size).ok()));
        let update = update.bind(claims.and_then(|file| file.sha256).map(|sha256| sha256.to_string()));
        self.execute(update.bind(offered_by).bind(id)).await.map(drop)
    }

    /// Withdraws the offers of a part but those that were seen; how many.
    pub(super) async fn withdraw(
        &mut self,
        repository: RepositoryId,
        part: &Part,
        seen: &HashSet<i64>,
    ) -> Result<u64> {
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
            let served = built(format!(
                "SELECT DISTINCT r.id FROM file f JOIN revision r ON r.id = f.revision \
                 WHERE r.status = $1 AND f.admitted = 1 AND f.id IN ({})",
                list(2, ids.len())
            ));
            let served =
                ids.iter().fold(served.bind(Status::Available.as_str()), |query, id| query.bind(*id));
            for row in self.all(served).await? {
                self.mark_dirty(repository, RevisionId(row.int("id")?)).await?;
            }
            let update = built(format!("UPDATE file SET {GONE} WHERE id IN ({})", list(2, ids.len())));
            self.execute(ids.iter().fold(update.bind(now), |update, id| update.bind(*id))).await?;
        }
        let shared = sql("SELECT id FROM file WHERE repository = $1 AND offers IS NOT NULL \
                          AND (offered_by IS NULL OR offered_by LIKE $2)");
        // A superset: `_` is a wildcard.
        let shared = self.all(shared.bind(repository.0).bind(format!("%\n{key}\n%"))).await?;
        let shared: Vec<i64> = shared.iter().map(|row| row.int("id")).collect::<Result<_>>()?;
        let unseen: Vec<i64> = shared.into_iter().filter(|id| !seen.contains(id)).collect();
        let mut withdrawn = gone.len() as u64;
        for ids in unseen.chunks(BATCH) {
            let query = built(format!(
                "SELECT f.id, f.offers, f.attributes, r.id AS revision, r.status FROM file f \
                 JOIN revision r ON r.id = f.revision WHERE f.id IN ({})",
                list(1, ids.len())
            ));
            for row in self.all(ids.iter().fold(query, |query, id| query.bind(*id))).await? {
                let id = row.int("id")?;
                let mut offers: Offers = row.decoded("offers")?;
                if offers.remove(&key).is_none() {
                    continue;
                }
                withdrawn += 1;
                self.put_offers(id, &offers, None).await?;
                let before: BTreeMap<String, Value> = row.decoded("attributes")?;
                if before != merged(&offers) && row.parsed::<Status>("status")? == Status::Available {
                    self.mark_dirty(repository, RevisionId(row.int("revision")?)).await?;
                }
            }
        }
        Ok(withdrawn)
    }
}
