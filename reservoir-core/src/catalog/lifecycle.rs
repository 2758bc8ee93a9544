//! The durable state machine over SQL.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::json as object;
use tokio::sync::broadcast;

use super::{
    Catalog, Fence, RepositoryId,
    history::Lines,
    revisions::revision,
    rows::{BATCH, Columns as _, built, list, sql, tuples},
    write::{Marks, Write},
};
use crate::{
    error::{Error, Result},
    lifecycle::{
        ArtifactLifecycle, HistoryEntry, LifecycleEvent, NewRevision, Revision, RevisionId, Status,
        Transition, is_allowed,
    },
    name::{Actor, ArtifactName, RevisionName},
};

#[async_trait]
impl ArtifactLifecycle for Catalog {
    async fn register(
        &self,
        repository: RepositoryId,
        revisions: &[NewRevision],
        actor: &Actor,
    ) -> Result<Vec<RevisionId>> {
        self.repository_by_id(repository).await?;
        let mut write = self.write("register revisions").await?;
        let mut ids = Vec::with_capacity(revisions.len());
        let mut new = 0;
        for wanted in revisions {
            let artifact = write.artifact_id(repository, &wanted.artifact).await?;
            let known = sql("SELECT id FROM revision WHERE artifact = $1 AND name = $2");
            let known = write.optional(known.bind(artifact).bind(wanted.revision.as_str())).await?;
            if let Some(row) = known {
                ids.push(RevisionId(row.int("id")?));
            } else {
                let made = write.insert_revisions(repository, artifact, &[&wanted.revision], actor).await?;
                ids.extend(made.into_iter().map(|(id, _)| id));
                new += 1;
            }
        }
        if new > 0 {
            let subject = format!("{new} revisions");
            write.audit(actor, "revision.register", &subject, &object!({ "repository": repository })).await?;
        }
        write.commit().await?;
        Ok(ids)
    }

    async fn revision(&self, id: RevisionId) -> Result<Revision> {
        let query =
            sql("SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
                         FROM revision r JOIN artifact a ON a.id = r.artifact WHERE r.id = $1");
        let row = self.optional("read a revision", query.bind(id.0)).await?;
        revision(&row.ok_or_else(|| Error::not_found("revision", id.0))?)
    }

    async fn transition(&self, changes: &[Transition], fence: Option<&Fence>) -> Result<Vec<Revision>> {
        let mut write = self.fenced("change a status", fence).await?;
        let after = write.transition(changes, fence).await?;
        write.commit().await?;
        Ok(after)
    }

    async fn history(&self, id: RevisionId) -> Result<Vec<HistoryEntry>> {
        Ok(self.histories(&[id]).await?.remove(&id).unwrap_or_default())
    }

    fn watch(&self) -> broadcast::Receiver<LifecycleEvent> {
        self.inner.events.subscribe()
    }
}

impl Write {
    /// The row of an artifact, made when it is new.
    pub(super) async fn artifact_id(&mut self, repository: RepositoryId, name: &ArtifactName) -> Result<i64> {
        let known = sql("SELECT id FROM artifact WHERE repository = $1 AND name = $2");
        if let Some(row) = self.optional(known.bind(repository.0).bind(name.as_str())).await? {
            return row.int("id");
        }
        let insert = sql("INSERT INTO artifact (repository, name) VALUES ($1, $2) RETURNING id");
        self.one(insert.bind(repository.0).bind(name.as_str())).await?.int("id")
    }

    /// Makes new revisions SCANNED, each with its first line of history.
    pub(super) async fn insert_revisions(
        &mut self,
        repository: RepositoryId,
        artifact: i64,
        names: &[&RevisionName],
        actor: &Actor,
    ) -> Result<Vec<(RevisionId, RevisionName)>> {
        let now = self.now().as_micros();
        let scanned = Status::Scanned.as_str();
        let mut made = Vec::with_capacity(names.len());
        for names in names.chunks(BATCH) {
            let mut insert = built(format!(
                "INSERT INTO revision (repository, artifact, name, status, attempt, changed_at) VALUES {} \
                 RETURNING id, name",
                tuples(names.len(), 6)
            ));
            for name in names {
                insert = insert.bind(repository.0).bind(artifact).bind(name.as_str()).bind(scanned);
                insert = insert.bind(0_i64).bind(now);
            }
            let rows = self.all(insert).await?;
            let mut history = built(format!(
                "INSERT INTO history (revision, at, actor, to_status, attempt, reason) VALUES {}",
                tuples(rows.len(), 6)
            ));
            for row in &rows {
                let id = row.int("id")?;
                history = history.bind(id).bind(now).bind(actor.as_str()).bind(scanned).bind(0_i64);
                history = history.bind("became known");
                made.push((RevisionId(id), row.parsed("name")?));
            }
            self.execute(history).await?;
        }
        Ok(made)
    }

    /// Changes of status, with their record in the audit log.
    pub(super) async fn transition(
        &mut self,
        changes: &[Transition],
        fence: Option<&Fence>,
    ) -> Result<Vec<Revision>> {
        let after = self.change_statuses(changes).await?;
        if let (Some(first), Some(revision)) = (changes.first(), after.first()) {
            let only = changes.iter().all(|change| change.revision == first.revision);
            let subject = if only {
                format!("{}@{}", revision.artifact, revision.revision)
            } else {
                format!("{} revisions", changes.len())
            };
            let to: BTreeSet<Status> = changes.iter().map(|change| change.to).collect();
            let detail = object!({
                "repository": revision.repository,
                "changes": changes.len(),
                "to": to,
                "reason": first.reason,
            });
            self.audit(&first.actor, "revision.transition", &subject, &detail).await?;
        }
        if fence.is_none_or(|fence| !fence.lease.starts_with("sync/")) {
            // The next sync may choose differently.
            let repositories: BTreeSet<i64> = after.iter().map(|revision| revision.repository.0).collect();
            for repository in repositories {
                let forget =
                    sql("UPDATE repository SET complete = NULL WHERE id = $1 AND complete IS NOT NULL");
                self.execute(forget.bind(repository)).await?;
            }
        }
        Ok(after)
    }

    /// One change of status; see [`change_statuses`](Self::change_statuses).
    pub(super) async fn change_status(&mut self, change: &Transition) -> Result<Revision> {
        let after = self.change_statuses(std::slice::from_ref(change)).await?.pop();
        after.ok_or_else(|| Error::not_found("revision", change.revision.0))
    }

    /// Changes of status in this order: compare-and-set, history, denials, and marks for the next snapshot; gives each
    /// revision as it is after each change. A few statements, however many there are.
    pub(super) async fn change_statuses(&mut self, changes: &[Transition]) -> Result<Vec<Revision>> {
        let ids: Vec<RevisionId> = changes.iter().map(|change| change.revision).collect();
        let before = self.standing(&ids).await?;
        let mut standing = before.clone();
        let mut lines = Lines::default();
        let mut after = Vec::with_capacity(changes.len());
        for change in changes {
            let missing = || Error::not_found("revision", change.revision.0);
            let (now, quarantined) = standing.get_mut(&change.revision).ok_or_else(missing)?;
            let from = now.status;
            check(change, now, quarantined.as_deref())?;
            let anew = change.to == Status::Scanned || (from, change.to) == (Status::Failed, Status::Pulling);
            (now.status, now.attempt) = (change.to, change.attempt + i64::from(anew));
            now.changed_at = self.now();
            lines.add(Some(from), now, change);
            self.events.push(LifecycleEvent { revision: now.clone(), from });
            after.push(now.clone());
        }
        self.compare_and_set(&before, &standing).await?;
        lines.insert(self).await?;
        self.offer_or_deny(changes, &before, &standing).await?;
        Ok(after)
    }

    /// Where revisions stand, and why their artifacts are quarantined; those that are not known are not among them.
    pub(super) async fn standing(&mut self, revisions: &[RevisionId]) -> Result<Standing> {
        let ids: Vec<RevisionId> = revisions.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let mut standing = Standing::new();
        for ids in ids.chunks(BATCH) {
            let query = built(format!(
                "SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at, \
                 a.quarantined FROM revision r JOIN artifact a ON a.id = r.artifact WHERE r.id IN ({})",
                list(1, ids.len())
            ));
            for row in self.all(ids.iter().fold(query, |query, id| query.bind(id.0))).await? {
                let found = revision(&row)?;
                standing.insert(found.id, (found, row.text_or_none("quarantined")?));
            }
        }
        Ok(standing)
    }

    /// From where revisions stood to where they stand, each only if it still stands there.
    async fn compare_and_set(&mut self, before: &Standing, after: &Standing) -> Result<()> {
        let mut groups: BTreeMap<[(Status, i64); 2], Vec<RevisionId>> = BTreeMap::new();
        for (id, (then, _)) in before {
            let (now, _) = &after[id];
            groups.entry([(then.status, then.attempt), (now.status, now.attempt)]).or_default().push(*id);
        }
        let at = self.now().as_micros();
        for ([(from, old), (to, new)], ids) in groups {
            for ids in ids.chunks(BATCH) {
                let update = built(format!(
                    "UPDATE revision SET status = $1, attempt = $2, changed_at = $3 \
                     WHERE status = $4 AND attempt = $5 AND id IN ({})",
                    list(6, ids.len())
                ));
                let update = update.bind(to.as_str()).bind(new).bind(at).bind(from.as_str()).bind(old);
                let changed = self.execute(ids.iter().fold(update, |update, id| update.bind(id.0))).await?;
                if changed != ids.len() as u64 {
                    return Err(Error::Conflict {
                        what: format!("{} revisions", ids.len()),
                        detail: format!("{changed} of them are still {from} (attempt {old})"),
                    });
                }
            }
        }
        Ok(())
    }

    /// Denies what is AVAILABLE no more, lifts the denials of what is now, and has the next snapshot look at both.
    async fn offer_or_deny(
        &mut self,
        changes: &[Transition],
        before: &Standing,
        after: &Standing,
    ) -> Result<()> {
        let (mut offered, mut touched) = (Repositories::new(), Repositories::new());
        for (id, (now, _)) in after {
            let (was, is) = (before[id].0.status == Status::Available, now.status == Status::Available);
            if was && !is {
                let leaving =
                    |change: &&Transition| change.revision == *id && change.from == Status::Available;
                let reason = changes.iter().rfind(leaving).map_or("", |change| &change.reason);
                self.deny(now.repository, *id, reason).await?;
            }
            if is && !was {
                offered.entry(now.repository.0).or_default().push(*id);
            }
            let is_marked = if self.marks == Marks::All { is || was } else { was && !is };
            if is_marked {
                touched.entry(now.repository.0).or_default().push(*id);
            }
        }
        for (repository, ids) in offered {
            self.lift_denials(RepositoryId(repository), &ids).await?;
        }
        for (repository, ids) in touched {
            self.mark_all_dirty(RepositoryId(repository), &ids).await?;
        }
        let is_told = |change: &Transition| change.from.is_refused() || change.to == Status::Rejected;
        if changes.iter().any(is_told) {
            // Clients are told why a path is refused.
            self.touch_epoch().await?;
        }
        Ok(())
    }
}

/// Revisions, and why the artifact of each is quarantined, if it is.
pub(super) type Standing = BTreeMap<RevisionId, (Revision, Option<String>)>;

/// Revisions by their repository.
type Repositories = BTreeMap<i64, Vec<RevisionId>>;

/// Whether a change may be made of a revision as it stands.
fn check(change: &Transition, now: &Revision, quarantined: Option<&str>) -> Result<()> {
    let (from, to) = (change.from, change.to);
    let subject = format!("{}@{}", now.artifact, now.revision);
    if !is_allowed(from, to) {
        return Err(Error::InvalidState { subject, from, to });
    }
    if let Some(reason) = quarantined.filter(|_| to == Status::Available) {
        return Err(in_quarantine(now, reason));
    }
    if (now.status, now.attempt) != (from, change.attempt) {
        return Err(Error::Conflict {
            what: format!("revision `{subject}`"),
            detail: format!(
                "it is {} (attempt {}), not {from} (attempt {}) any more",
                now.status, now.attempt, change.attempt
            ),
        });
    }
    Ok(())
}

/// Why a revision does not become AVAILABLE while its registry has withdrawn the artifact.
pub(crate) fn in_quarantine(revision: &Revision, reason: &str) -> Error {
    let Revision { artifact, revision, .. } = revision;
    Error::Denied {
        what: format!("making `{artifact}@{revision}` available"),
        reason: format!("its registry has quarantined `{artifact}`: {reason}"),
    }
}
